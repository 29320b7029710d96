"""Which checkpoints a run keeps."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint, best_rule
from distill.callbacks.plugins import SafeCheckpointIO
from distill.callbacks.stages import StageSchedule
from distill.stages import Stage
from distill.tasks.masked_language.task import MaskedLanguage
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError

from .fakes import FakeModule, tiny_trainer

STEPS_PER_EPOCH = 2
STAGES = {"intermediate": Stage({"hidden": 1.0}, epochs=2), "logits": Stage({"logits": 1.0}, epochs=3)}
#: The highest score of all belongs to the first stage, and the final stage ends below its best.
SCORES = [90.0, 95.0, 10.0, 30.0, 20.0]


class ScriptedModule(FakeModule):
    """Reaches the given scores, one a validation; its bias is the number of epochs done."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__(with_teacher=False)
        self.scores = iter(scores)

    def on_validation_epoch_end(self) -> None:
        score = next(self.scores)
        self.log_dict({"val/f1": score, "val/exact_match": 100 - score})


def fit(folder, scores=SCORES, stages=STAGES, best=None, last=None, ckpt_path=None, module=None, **settings):
    best, last = best or BestInFinalStage(), last or LastCheckpoint()
    schedule = [StageSchedule(stages)] if stages else []
    settings["plugins"] = [SafeCheckpointIO()]
    trainer = tiny_trainer(
        folder, [*schedule, best, last], **{"max_epochs": -1, "enable_checkpointing": True, **settings}
    )
    trainer.fit((module or ScriptedModule)(scores), ckpt_path=ckpt_path)
    return best


def load(folder, name):
    return torch.load(folder / "checkpoints" / name, weights_only=True)


def num_epochs(checkpoint) -> int:
    assert checkpoint["global_step"] % STEPS_PER_EPOCH == 0
    return checkpoint["global_step"] // STEPS_PER_EPOCH


def test_best_is_the_highest_score_of_the_final_stage_and_last_the_end(tmp_path):
    best = fit(tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        *("best.ckpt", "last.ckpt", "previous.ckpt")
    ]
    assert num_epochs(load(tmp_path, "best.ckpt")) == 4
    assert load(tmp_path, "best.ckpt")["state_dict"]["student.qa_outputs.bias"].tolist() == [4.0, 4.0]
    assert float(best.best_model_score) == 30.0
    assert num_epochs(load(tmp_path, "last.ckpt")) == 5


@pytest.mark.parametrize(("scores", "best_epoch"), [([10.0, 20.0, 30.0], 3), ([30.0, 20.0, 10.0], 1)])
def test_best_is_replaced_by_a_better_one_alone(tmp_path, scores, best_epoch):
    fit(tmp_path, scores, stages={"logits": STAGES["logits"]})
    assert num_epochs(load(tmp_path, "best.ckpt")) == best_epoch


def test_another_score_can_be_compared(tmp_path):
    fit(tmp_path, best=BestInFinalStage(monitor="val/exact_match"))
    assert num_epochs(load(tmp_path, "best.ckpt")) == 3


class PerplexityModule(ScriptedModule):
    """Has a task whose main score is better when it is lower."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__(scores)
        self.task = MaskedLanguage()

    def on_validation_epoch_end(self) -> None:
        score = next(self.scores)
        self.log_dict({"val/perplexity": score, "val/accuracy": score})


@pytest.mark.parametrize(("monitor", "best_epoch"), [(None, 4), ("val/perplexity", 4), ("val/accuracy", 5)])
def test_direction_of_the_score_is_the_tasks(tmp_path, monitor, best_epoch):
    best = fit(tmp_path, [1.0, 2.0, 30.0, 20.0, 40.0], best=BestInFinalStage(monitor), module=PerplexityModule)
    assert num_epochs(load(tmp_path, "best.ckpt")) == best_epoch
    assert float(best.best_model_score) == {4: 20.0, 5: 40.0}[best_epoch]


def test_resumed_run_still_knows_the_lowest_score(tmp_path):
    fit(tmp_path, [1.0, 2.0, 30.0, 20.0], max_epochs=4, module=PerplexityModule)
    last = tmp_path / "checkpoints" / "last.ckpt"
    best = fit(tmp_path, [40.0], ckpt_path=last, module=PerplexityModule)
    assert float(best.best_model_score) == 20.0
    assert num_epochs(load(tmp_path, "best.ckpt")) == 4


def test_best_of_a_run_that_goes_on_from_another_place_is_the_runs_own(tmp_path, monkeypatch):
    stages = {"logits": Stage({"logits": 1.0}, epochs=4)}
    run, elsewhere = tmp_path / "here" / "run", tmp_path / "elsewhere"
    for folder in (run, elsewhere / "run" / "checkpoints"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(run.parent)
    fit("run", [30.0, 20.0], stages=stages, max_epochs=2)
    own, last = run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt"
    monkeypatch.chdir(elsewhere)
    stranger = elsewhere / "run" / "checkpoints" / "best.ckpt"  # where the old name leads from here
    stranger.write_bytes(b"of another run")
    best = fit(run, [10.0], stages=stages, max_epochs=3, ckpt_path=last)
    assert Path(best.best_model_path) == own
    assert float(best.best_model_score) == 30.0
    best = fit(tmp_path / "new", [10.0], stages=stages, max_epochs=4, ckpt_path=last)
    assert Path(best.best_model_path) == own  # also where the state goes into a new run
    best = fit(run, [40.0], stages=stages, max_epochs=4, ckpt_path=last)
    assert (num_epochs(load(run, "best.ckpt")), Path(best.best_model_path)) == (4, own)
    assert stranger.read_bytes() == b"of another run"


def test_rule_names_the_tasks_main_score():
    assert best_rule(MaskedLanguage()) == "best validation perplexity within the final stage"
    assert best_rule(QuestionAnswering()) == "best validation F1 within the final stage"


class Watched(LastCheckpoint):
    """Notes at which steps it is written."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.saved: list[int] = []

    def save(self, trainer) -> None:
        super().save(trainer)
        self.saved.append(trainer.global_step)


def test_last_checkpoint_is_written_within_epochs_after_so_many_minutes(tmp_path, monkeypatch):
    seconds = count(0, 25.0)  # it looks when training starts, at every step and when it saves
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("distill.callbacks.checkpoints.time", clock)
    stages = {"logits": Stage({"logits": 1.0}, steps=4 * STEPS_PER_EPOCH)}
    last = Watched(every_n_epochs=5, every_n_minutes=1.0)
    fit(tmp_path, [1.0] * 4, stages, last=last)
    # Due at 75 s, after the third step, and 75 s after that was saved, at the sixth step: with an epoch's end ahead of
    # it that one waits for the end. The end of the run is kept in any case.
    assert last.saved == [3, 6, 8]
    assert load(tmp_path, "last.ckpt")["global_step"] == 8
    assert load(tmp_path, "previous.ckpt")["global_step"] == 6


def test_last_checkpoint_is_written_after_so_many_steps_between_steps_alone(tmp_path):
    stages = {"logits": Stage({"logits": 1.0}, steps=3)}
    last = Watched(every_n_epochs=5, every_n_steps=1)
    # Epochs of 2 batches, a step each epoch: every step ends with its epoch.
    fit(tmp_path, [1.0] * 3, stages, last=last, accumulate_grad_batches=2)
    assert last.saved == [1, 2, 3]


def test_last_checkpoint_is_written_where_a_stage_ends(tmp_path):
    stages = {"hidden": Stage({"hidden": 1.0}, steps=3), "logits": Stage({"logits": 1.0}, steps=5)}
    last = Watched(every_n_epochs=5)
    fit(tmp_path, [1.0] * 4, stages, last=last)
    assert last.saved == [3, 8]


def test_checkpoint_that_is_due_with_a_validation_waits_for_it(tmp_path):
    stages = {"logits": Stage({"logits": 1.0}, steps=3)}
    last, events = Watched(every_n_epochs=5, every_n_steps=1), []
    last.save = lambda trainer: events.append(("saved", trainer.global_step)) or Watched.save(last, trainer)

    class Module(ScriptedModule):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            events.append(("validated", self.trainer.global_step))

    fit(tmp_path, [1.0] * 4, stages, last=last, module=Module, val_check_interval=1)
    assert events == [(event, step) for step in (1, 2, 3) for event in ("validated", "saved")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_n_minutes": 0}, "every_n_minutes must be more than 0"),
        ({"every_n_minutes": -1.0}, "every_n_minutes must be more than 0"),
        ({"every_n_steps": 0}, "every_n_steps must be at least 1"),
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1"),
    ],
)
def test_distance_between_checkpoints_must_be_more_than_none(settings, message):
    with pytest.raises(UserError, match=message):
        LastCheckpoint(**settings)


def test_without_a_schedule_every_epoch_may_be_the_best(tmp_path):
    fit(tmp_path, stages=None, max_epochs=5)
    assert num_epochs(load(tmp_path, "best.ckpt")) == 2


def test_run_that_ends_before_the_final_stage_has_a_last_checkpoint_alone(tmp_path):
    best = fit(tmp_path, max_epochs=2)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt"}
    assert best.best_model_path == ""


def test_stage_that_ends_within_an_epoch_leaves_both_checkpoints_of_its_end(tmp_path):
    stages = {"logits": Stage({"logits": 1.0}, steps=3)}
    fit(tmp_path, [10.0, 20.0], stages)
    assert load(tmp_path, "best.ckpt")["global_step"] == 3
    assert load(tmp_path, "last.ckpt")["global_step"] == 3


def test_last_checkpoint_is_written_as_often_as_asked(tmp_path):
    fit(tmp_path, last=(last := Watched(every_n_epochs=3)))
    assert last.saved == [4, 6, 10]  # the ends of both stages, and of the third epoch


def test_last_checkpoint_is_written_without_validation(tmp_path):
    fit(tmp_path, limit_val_batches=0)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt"}
    assert num_epochs(load(tmp_path, "last.ckpt")) == 5


def test_resumed_run_still_knows_the_best_score(tmp_path):
    fit(tmp_path, SCORES[:4], max_epochs=4)
    last = tmp_path / "checkpoints" / "last.ckpt"
    best = fit(tmp_path, SCORES[4:], ckpt_path=last)
    assert float(best.best_model_score) == 30.0
    assert num_epochs(load(tmp_path, "best.ckpt")) == 4
    assert num_epochs(load(tmp_path, "last.ckpt")) == 5


def test_a_trial_run_keeps_no_checkpoint(tmp_path):
    fit(tmp_path, fast_dev_run=True)
    assert not (tmp_path / "checkpoints").exists()


class Stopped(Exception):  # noqa: N818
    pass


class ScoresByStep(ScriptedModule):
    """Reaches a score at each step, and is stopped at one."""

    stop_at: int | None = None

    def on_validation_epoch_end(self) -> None:
        score = float(self.scores[self.trainer.global_step])
        self.log_dict({"val/f1": score, "val/exact_match": score})

    def on_train_batch_start(self, batch, batch_idx) -> None:
        if self.trainer.global_step == self.stop_at:
            raise Stopped

    def __init__(self, scores) -> None:
        super().__init__([])
        self.scores = scores


def test_best_score_of_the_validation_that_came_with_the_last_checkpoint_is_not_forgotten(tmp_path, monkeypatch):
    scores = {1: 90.0, 2: 10.0, 3: 20.0, 4: 30.0}
    stages = {"logits": Stage({"logits": 1.0}, steps=4)}
    settings = {"val_check_interval": 1, "module": ScoresByStep}
    with monkeypatch.context() as patch:
        patch.setattr(ScoresByStep, "stop_at", 1)
        with pytest.raises(Stopped):
            fit(tmp_path, scores, stages, last=LastCheckpoint(every_n_steps=1), **settings)
    assert load(tmp_path, "last.ckpt")["global_step"] == 1
    last = tmp_path / "checkpoints" / "last.ckpt"
    best = fit(tmp_path, scores, stages, ckpt_path=last, **settings)
    assert float(best.best_model_score) == 90.0
    assert load(tmp_path, "best.ckpt")["global_step"] == 1


def test_last_checkpoint_must_follow_those_that_choose(tmp_path):
    trainer = tiny_trainer(tmp_path, [LastCheckpoint(), BestInFinalStage()], enable_checkpointing=True)
    with pytest.raises(UserError, match="list BestInFinalStage before LastCheckpoint"):
        trainer.fit(ScriptedModule(SCORES))
