"""The check-up before the long part of a run: what it is about to do, on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import lightning as L
import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from rich import get_console

from distill.callbacks.pace import StagePace
from distill.callbacks.report import find_callback
from distill.callbacks.stages import StageSchedule
from distill.files import write_json, write_text
from distill.models.layer_map import describe_layer_map
from distill.models.loading import max_positions
from distill.models.similarity import LayerSimilarity
from distill.modules.scoring import evaluate_teacher
from distill.reporting.diagnosis import Diagnosis, diagnosis_screen, duration, model_facts
from distill.reporting.files import run_folder, task_folder
from distill.reporting.page.document import standalone
from distill.reporting.page.layers import similarity_chart
from distill.reporting.run import SIMILARITY
from distill.tasks.base import EvaluationResult
from distill.types import UserError


class Doctor(L.Callback):
    """Shows what a fit is about to do before it does it, and looks the teacher over.

    When training starts it prints both models' sizes, the tokenizer, the length limit, the layer map, what the student
    inherited, the data, the steps of every stage, and the teacher's scores on some validation questions; a teacher
    with a score near that of a random one gets a warning. After the first steps of each stage it says how long the rest
    of that stage will take at their pace. A layer map that was found by similarity is written into the run's folder,
    as numbers (``layer_similarity.json``) and as a picture (``layer_similarity.svg``), and logged to W&B.

    List it after the ``StageSchedule``, which lays the stages out. It changes nothing of the run, not even its random
    state.

    Args:
        num_questions: Validation questions, or blocks of text, that the teacher is scored on; 0 skips it.
        least_score: The teacher's main score, in per cent, below which there is a warning.

    Raises:
        UserError: If a number is out of range.
    """

    def __init__(self, num_questions: int = 200, least_score: float = 20.0) -> None:
        if num_questions < 0:
            raise UserError(f"doctor.num_questions must be at least 0, not {num_questions}")
        if not 0 <= least_score <= 100:
            raise UserError(f"doctor.least_score is a percentage from 0 to 100, not {least_score}")
        self.num_questions = num_questions
        self.least_score = least_score
        #: What was shown; known when training starts.
        self.diagnosis: Diagnosis | None = None
        self._pace = StagePace()

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Look the run over and print what was found."""
        members = pl_module.members
        scores = {name: self._score_teacher(trainer, member) for name, member in members.items()}
        folder = run_folder(trainer)
        schedule = find_callback(trainer, StageSchedule, before=self)
        stages = schedule.plan.describe() if schedule and schedule.plan else []
        warnings = [
            warning for name, member in members.items() for warning in self._warnings(trainer, member, scores[name])
        ]
        models = {label: facts for member in members.values() for label, facts in _models(member).items()}
        facts = {
            key if name is None else f"{name}: {key}": text
            for name, member in members.items()
            for key, text in self._facts(trainer, member, scores[name]).items()
        }
        facts["precision"] = str(trainer.precision)
        self.diagnosis = Diagnosis(models, facts, stages, warnings)
        if not trainer.is_global_zero:
            return
        get_console().print(diagnosis_screen(self.diagnosis))
        for name, member in members.items():
            if (similarity := getattr(member, "similarity", None)) is not None:
                self._keep_similarity(trainer, similarity, None if folder is None else task_folder(folder, name), name)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Say of each stage how long it will take, when a few of its steps are done."""
        schedule = find_callback(trainer, StageSchedule)
        if schedule is None or schedule.plan is None:
            return
        active = schedule.plan.stage_at(trainer.global_step)
        if (pace := self._pace.after(active, monotonic())) is None:
            return
        left = active.num_steps - active.step
        names, lengths = list(schedule.plan.stages)[active.index + 1 :], schedule.plan.lengths[active.index + 1 :]
        later = ", ".join(f"{length:,} of {name}" for name, length in zip(names, lengths, strict=True))
        rank_zero_info(
            "stage %s: about %s for its %s more steps at the pace of the first ones (%.2f s a step), without "
            "validation%s",
            active.name,
            duration(left * pace),
            f"{left:,}",
            pace,
            f"; then {later}, at a pace of their own" if later else "",
        )

    def _keep_similarity(
        self, trainer: L.Trainer, similarity: LayerSimilarity, folder: Path | None, task: str | None
    ) -> None:
        picture = _picture(similarity)
        if folder is not None:
            write_json(folder / SIMILARITY, similarity.as_dict())
            write_text(folder / "layer_similarity.svg", picture)
        key = "layer_similarity" if task is None else f"{task}/layer_similarity"
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.log({key: wandb.Html(picture)})

    def _score_teacher(self, trainer: L.Trainer, module: Any) -> EvaluationResult | None:
        """Score a task's teacher on a sample of the validation part, on every process together."""
        data = _data(trainer, module)
        if not self.num_questions or module.teacher is None or data is None:
            return None
        return evaluate_teacher(module, data.val_dataloader(), self.num_questions)

    def _facts(self, trainer: L.Trainer, module: Any, scores: EvaluationResult | None) -> dict[str, str]:
        data = _data(trainer, module)
        facts: dict[str, str] = {}
        if data is not None:
            facts["tokenizer"] = f"{data.tokenizer_source}: {len(data.tokenizer):,} pieces{_trimming(module)}"
            facts["longest window"] = f"{data.max_length} tokens{_limit(module)}"
            facts["training windows"] = f"{len(data.train_dataloader().dataset):,}"
        if (layer_map := getattr(module, "layer_map", None)) is not None:
            facts["layer map"] = describe_layer_map(layer_map)
        if (inheritance := getattr(module, "inheritance", None)) is not None:
            facts["student starts from"] = inheritance.describe()
        elif (settings := getattr(module, "student_settings", None)) is not None:
            facts["student starts from"] = settings.init
        if scores is not None:
            headline = [score for score in module.task.headline if score.name in scores.scores]
            figures = ", ".join(f"{score.label} {scores.scores[score.name]:.1f}" for score in headline)
            facts["teacher scores"] = f"{figures} on {self.num_questions:,} validation examples at most"
        return facts

    def _warnings(self, trainer: L.Trainer, module: Any, scores: EvaluationResult | None) -> list[str]:
        main, warnings = module.task.main_score, []
        if scores is not None and main.higher_is_better and scores.scores[main.name] < self.least_score:
            value = f"{scores.scores[main.name]:.0f} {main.label}"
            warnings.append(
                f"your teacher scores {value} on validation data: is it a {module.task.name} model for this language?"
            )
        data = _data(trainer, module)
        # Plain text has blocks, and no examples.
        examples = getattr(data.val_dataloader().dataset, "examples", None) if data is not None else None
        if examples is not None and (advice := module.task.advise(examples)):
            warnings.append(advice)
        if data is not None and (recut := _recut_words(data.summary().get("validation", {}))):
            warnings.append(recut)
        for warning in warnings:
            rank_zero_warn(warning)
        return warnings


def _data(trainer: L.Trainer, module: Any) -> Any:
    data = trainer.datamodule  # type: ignore[attr-defined]
    return None if data is None else data.parts[module.name]


def _models(module: Any) -> dict[str, dict[str, str]]:
    models = {"teacher": module.teacher, "student": module.student}
    return {
        name if module.name is None else f"{name}, {module.name}": model_facts(model)
        for name, model in models.items()
        if model is not None
    }


def _trimming(module: Any) -> str:
    """Return how many pieces the teacher has, where the student has fewer."""
    if module.teacher is None or module.student.config.vocab_size >= module.teacher.config.vocab_size:
        return ""
    return f", of the {module.teacher.config.vocab_size:,} that the teacher knows"


def _recut_words(validation: Mapping[str, Any]) -> str | None:
    """Return what a smaller vocabulary does to the validation part, where the teacher was scored on its own."""
    if not (recut := validation.get("words_recut")):
        return None
    words = validation["words"]
    return (
        f"{recut:,} of {words:,} words of the validation part ({recut / words:.2%}) are cut into smaller pieces for "
        "the student, whose vocabulary lacks theirs: name more text of the language in data.vocabulary_files"
    )


def _limit(module: Any) -> str:
    limits = [max_positions(model.config) for model in (module.student, module.teacher) if model is not None]
    known = [limit for limit in limits if limit is not None]
    return f" of the {min(known)} that the models take" if known else ""


def _picture(similarity: LayerSimilarity) -> str:
    title = "Linear CKA before training; framed: the layer map"
    return standalone(similarity_chart(title, similarity.matrix, similarity.layers))
