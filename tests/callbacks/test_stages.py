"""The stages of a run."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from distill.callbacks.stages import StageSchedule
from distill.stages import Stage
from distill.types import UserError

from .fakes import tiny_trainer

TERMS = ["hidden", "logits"]


def stage(**settings) -> Stage:
    return Stage(**{"weights": {"logits": 1.0}, "learning_rate": 1.0, **settings})


class OneNumber(L.LightningModule):
    """Trains one number with Adam; notes what every batch and validation finds."""

    def __init__(self, num_batches: int = 5) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(()))
        self.num_batches = num_batches
        self.active_stage = None
        self.seen: list[tuple[str, int]] = []
        self.rates: list[float] = []
        self.has_moments: list[bool] = []
        self.validated_at: list[int] = []

    def training_step(self, batch, batch_idx):
        (optimizer,) = self.trainer.optimizers
        self.seen.append((self.active_stage.name, self.active_stage.step))
        self.rates += {group["lr"] for group in optimizer.param_groups}
        self.has_moments.append(bool(optimizer.state))
        return (self.number - 1) ** 2

    def validation_step(self, batch, batch_idx) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        self.validated_at.append(self.trainer.global_step)

    def configure_optimizers(self):
        return torch.optim.Adam([{"params": [self.number]}], lr=123.0)

    def train_dataloader(self):
        return DataLoader(torch.zeros(self.num_batches), batch_size=1)

    def val_dataloader(self):
        return DataLoader(torch.zeros(1))


def fit(folder, stages, module=None, ckpt_path=None, **settings) -> OneNumber:
    module = module or OneNumber()
    schedule = StageSchedule(stages)
    trainer = tiny_trainer(folder, [schedule], **{"max_epochs": -1, **settings})
    trainer.fit(module, ckpt_path=ckpt_path)
    return module


def test_stage_and_learning_rate_are_set_before_every_batch(tmp_path):
    stages = {"a": stage(steps=3, warmup=0.0), "b": stage(steps=4, warmup=0.5, learning_rate=0.1, decay="constant")}
    module = fit(tmp_path, stages)
    assert module.seen == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2), ("b", 3)]
    assert module.rates == pytest.approx([1.0, 2 / 3, 1 / 3, 0.05, 0.1, 0.1, 0.1])
    assert module.active_stage.stage is stages["b"]
    logged = module.trainer.callback_metrics
    assert float(logged["train/learning_rate"]) == pytest.approx(0.1)
    assert float(logged["train/stage"]) == 1


@pytest.mark.parametrize(("reset", "kept_steps"), [(True, 3), (False, 5)])
def test_moments_are_forgotten_at_the_first_step_of_a_stage_if_it_asks(tmp_path, reset, kept_steps):
    module = fit(tmp_path, {"a": stage(steps=2), "b": stage(steps=3, reset_optimizer=reset)})
    assert module.has_moments == [False, True, not reset, True, True]
    (optimizer,) = module.trainer.optimizers
    assert int(optimizer.state[module.number]["step"]) == kept_steps


@pytest.mark.parametrize(
    ("num_steps", "validated_at"),
    [(3, [3]), (5, [5]), (7, [5, 7]), (10, [5, 10]), (11, [5, 10, 11])],
)
def test_run_ends_after_the_last_step_and_validates_there_even_within_an_epoch(tmp_path, num_steps, validated_at):
    module = fit(tmp_path, {"logits": stage(steps=num_steps)})
    assert module.trainer.global_step == len(module.seen) == num_steps
    assert module.validated_at == validated_at


def test_trainer_without_any_limit_still_ends_with_the_stages(tmp_path):
    module = fit(tmp_path, {"a": stage(epochs=1.2), "b": stage(steps=2)}, max_epochs=None)
    assert len(module.seen) == 8
    assert module.validated_at == [5, 8]


@pytest.mark.parametrize(
    ("limit", "num_steps"),
    [({"max_steps": 4}, 4), ({"max_steps": 50}, 8), ({"max_epochs": 1}, 5), ({"max_epochs": 9}, 8)],
)
def test_smaller_limit_of_the_trainer_holds(tmp_path, limit, num_steps):
    module = fit(tmp_path, {"logits": stage(steps=8)}, **limit)
    assert module.trainer.global_step == num_steps
    assert module.active_stage.num_steps == 8


@pytest.mark.parametrize(("limit", "names"), [(1.0, "aaaaabbbbb"), (3, "aaabbb")])
def test_accumulated_batches_are_one_step(tmp_path, limit, names):
    stages = {"a": stage(epochs=1), "b": stage(epochs=1)}
    module = fit(tmp_path, stages, accumulate_grad_batches=2, limit_train_batches=limit)
    assert "".join(name for name, _ in module.seen) == names
    half = [step for _, step in module.seen][: len(names) // 2]
    assert half == [0, 0, 1, 1, 2][: len(half)]
    assert module.trainer.global_step == 2 * (half[-1] + 1)
    assert module.validated_at[-1] == module.trainer.global_step


def test_stage_may_begin_between_two_accumulations(tmp_path):
    module = fit(tmp_path, {"a": stage(steps=1), "b": stage(steps=2)}, accumulate_grad_batches=2)
    assert module.seen == [("a", 0), ("a", 0), ("b", 0), ("b", 0), ("b", 1)]
    assert module.has_moments == [False, False, False, False, True]


@pytest.mark.parametrize("reset", [True, False])
def test_resumed_run_is_in_the_right_stage_and_forgets_moments_at_the_switch(tmp_path, reset):
    stages = {"a": stage(epochs=1), "b": stage(epochs=1, warmup=0.0, reset_optimizer=reset)}
    whole, first = fit(tmp_path, stages), fit(tmp_path, stages, max_epochs=1)
    first.trainer.save_checkpoint(tmp_path / "at_switch.ckpt")
    second = fit(tmp_path, stages, ckpt_path=tmp_path / "at_switch.ckpt")
    assert first.seen + second.seen == whole.seen
    assert second.rates == pytest.approx(whole.rates[5:])
    assert second.has_moments[0] is not reset
    assert torch.equal(second.number, whole.number)


def test_resumed_run_that_was_finished_trains_no_more(tmp_path):
    stages = {"logits": stage(steps=7)}
    fit(tmp_path, stages).trainer.save_checkpoint(tmp_path / "end.ckpt")
    module = fit(tmp_path, stages, ckpt_path=tmp_path / "end.ckpt")
    assert module.seen == []
    assert module.trainer.global_step == 7


@pytest.mark.parametrize("num_steps", [2, 5, 7])
def test_finished_run_goes_on_where_its_stages_have_become_longer(tmp_path, num_steps):
    first = fit(tmp_path, {"a": stage(steps=num_steps)})
    first.trainer.save_checkpoint(tmp_path / "end.ckpt")
    module = fit(tmp_path, {"a": stage(steps=num_steps + 6)}, ckpt_path=tmp_path / "end.ckpt")
    assert module.seen == [("a", step) for step in range(num_steps, num_steps + 6)]


def test_none_leaves_a_stage_out(tmp_path):
    schedule = StageSchedule({"a": None, "b": stage(steps=2)})
    assert list(schedule.stages) == ["b"]
    module = fit(tmp_path, {"a": None, "b": stage(steps=2)})
    assert module.seen == [("b", 0), ("b", 1)]


@pytest.mark.parametrize("stages", [None, {}, {"a": None}])
def test_fit_without_a_stage_is_refused(stages):
    with pytest.raises(UserError, match=r"schedule\.stages: at least one stage"):
        StageSchedule(stages).check(TERMS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"logit": 1.0}, "'logit' names no loss; the losses are hidden, logits"),
        ({"logits": -1.0}, "'logits' is -1.0"),
        ({"logits": float("nan")}, "'logits' is nan"),
        ({"logits": 0.0}, "no loss has a weight above 0"),
        ({}, "no loss has a weight above 0"),
    ],
)
def test_weights_that_cannot_be_trained_are_refused_by_stage_and_term(weights, message):
    schedule = StageSchedule({"fine": stage(steps=1), "second": stage(steps=1, weights=weights)})
    with pytest.raises(UserError, match=f"stage 'second': .*{message}"):
        schedule.check(TERMS)
    StageSchedule({"fine": stage(steps=1)}).check(TERMS)


def test_setting_out_of_range_is_refused_when_the_schedule_is_made():
    with pytest.raises(UserError, match=r"stage 'second': .*either as epochs or as steps"):
        StageSchedule({"fine": stage(steps=1), "second": stage(steps=1, epochs=1)})
