"""Starts are timed from command to models and from there to the first step."""

import json

import pytest

from tests.benchmarks.start import PARTS, StartClock, run
from tests.callbacks.fakes import FakeModule, tiny_trainer


class Preparing(FakeModule):
    """Notes what is done before a step."""

    def __init__(self) -> None:
        super().__init__(with_teacher=False)
        self.done = []

    def on_train_batch_start(self, batch, batch_idx) -> None:
        self.done.append("prepared")

    def training_step(self, batch, batch_idx):
        self.done.append("computed")


def test_clock_ends_the_run_behind_all_that_the_module_prepares(tmp_path):
    module = Preparing()
    with pytest.raises(SystemExit) as ended:
        tiny_trainer(tmp_path, [StartClock(str(tmp_path / "seconds.json"), began=0.0)]).fit(module)
    assert ended.value.code == 0
    assert module.done == ["prepared"]
    seconds = json.loads((tmp_path / "seconds.json").read_text(encoding="utf-8"))
    assert list(seconds) == list(PARTS)
    assert seconds["command to models"] > seconds["models to first step"] >= 0


@pytest.mark.slow
def test_second_start_finds_what_the_first_one_stored(squad_file, teacher_folder, tmp_path):
    settings = ["--model=distill.DistillationModule", f"--model.teacher={teacher_folder}",
                "--model.student={num_layers: 2, hidden_size: 8, num_heads: 2, intermediate_size: 16}",
                "--data=distill.SquadDataModule", f"--data.train_files=[{squad_file}]",
                f"--data.validation_files=[{squad_file}]", "--data.max_length=64", "--data.doc_stride=8",
                "--data.max_question_length=24", "--schedule.stages={logits: {steps: 2, weights: {labels: 1.0}}}",
                "--trainer.accelerator=cpu"]  # fmt: skip
    run(str(tmp_path / "start.json"), settings, starts=2)
    written = json.loads((tmp_path / "start.json").read_text(encoding="utf-8"))
    assert [list(parts) for parts in written["seconds"]] == [list(PARTS)] * 2
