"""Scores of whole question sets on one, two and three processes: the same numbers, not nearly the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

from distill.data.datamodule import SquadDataModule
from distill.distributed.strategy import StagedDDP
from distill.models.loading import EMBEDDED
from distill.modules.single import QuestionAnsweringModule

from .processes import run_processes

pytestmark = pytest.mark.slow


def evaluate(num_processes: int, questions: str, folder: str) -> dict[str, Any]:
    """Return scores and answers of the embedded teacher, and what this process has left in the run's folder."""
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=num_processes,
        strategy=StagedDDP() if num_processes > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    module = QuestionAnsweringModule(model=EMBEDDED)
    data = SquadDataModule(test_files=[questions], cache_dir=f"{folder}/cache")
    trainer.test(module, data, verbose=False)
    result = module.last_evaluation
    assert result is not None
    return {"scores": dict(result.scores), "answers": dict(result.predictions), "outcomes": dict(result.outcomes)}


def check(questions: Path, num_questions: int, folder: Path) -> None:
    one = evaluate(1, str(questions), str(folder))
    assert one["scores"]["num_questions"] == len(one["answers"]) == num_questions
    assert one["scores"]["f1"] > 0
    for num_processes in (2, 3):
        for result in run_processes(
            evaluate, num_processes, folder / str(num_processes), num_processes, str(questions), str(folder)
        ):
            assert result == one


def test_all_questions_of_xquad(real_data, tmp_path):
    check(real_data / "qa" / "xquad_es.json", 1190, tmp_path)


def test_all_embedded_questions(tmp_path):
    check(Path(__file__).parents[2] / "distill" / "assets" / "qa_es" / "dev.json", 1551, tmp_path)
