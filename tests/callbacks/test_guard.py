"""Steps whose numbers are not finite: named, kept, stopped at or skipped, and never taken."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision

from distill.callbacks.guard import NumericalGuard
from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.losses.logits import LabelLoss, LogitLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.reporting.faults import load_fault
from distill.stages import Stage
from distill.types import Mean, UserError

STAGES = {
    "first": Stage({"logits": 1.0}, steps=2, learning_rate=1e-2, decay="constant", warmup=0.0),
    "second": Stage({"logits": 1.0, "labels": 1.0}, steps=4, learning_rate=1e-2, decay="constant", warmup=0.0),
}


class Poisoned(LabelLoss):
    """The label loss, but not a number for batches that hold some window."""

    def __init__(self, windows: Collection[int] = (), value: float = torch.nan) -> None:
        super().__init__()
        self.windows, self.value = set(windows), value

    def _mean(self, student, teacher, batch, temperature):
        mean = super()._mean(student, teacher, batch, temperature)
        is_bad = bool(self.windows & set(batch.window_ids.tolist()))
        return Mean(mean.total * self.value, mean.count) if is_bad else mean


class Weights(Callback):
    """Notes the student's weights and the batches of each optimizer step."""

    def __init__(self) -> None:
        self.before: list[dict[str, torch.Tensor]] = []
        self.norms: list[float] = []
        self.batches: list[list[int]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.before.append({name: value.clone() for name, value in pl_module.student.state_dict().items()})
        self.batches.append(batch.window_ids.tolist())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.norms.append(float(trainer.callback_metrics.get("train/gradient_norm", torch.nan)))


def same(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def data(squad_file, teacher_folder, tmp_path):
    files = {"train_files": [str(squad_file)], "validation_files": [str(squad_file)]}
    lengths = {"max_length": 64, "doc_stride": 8, "max_question_length": 24}
    return SquadDataModule(
        tokenizer=str(teacher_folder), batch_size=3, cache_dir=str(tmp_path / "cache"), **files, **lengths
    )


@pytest.fixture
def fit(data, teacher_folder, tmp_path):
    """Train a student whose labels are poisoned in the windows of some batches, counted from 0."""

    def run(guard: NumericalGuard, bad: list[int] = (), value=torch.nan, optimizer=torch.optim.AdamW, **settings):
        def train(poison: Poisoned, callbacks, **more):
            torch.manual_seed(3)
            student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16)
            losses = {"logits": LogitLoss(), "labels": poison}
            module = DistillationModule(str(teacher_folder), student, losses=losses, optimizer=optimizer)
            trainer = Trainer(
                **{
                    "default_root_dir": tmp_path, "accelerator": "cpu", "logger": False, "max_epochs": -1,
                    "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False,
                    "num_sanity_val_steps": 0, "limit_val_batches": 0, "use_distributed_sampler": False,
                    "gradient_clip_val": 1.0, "log_every_n_steps": 1, **settings, **more,
                },
                callbacks=[StageSchedule(STAGES), *callbacks],
            )  # fmt: skip
            trainer.fit(module, data)
            return trainer, module

        plain = Weights()
        train(Poisoned(), [plain], plugins=None)  # a plugin keeps its state
        poison = Poisoned([window for i in bad for window in plain.batches[i]], value)
        seen = Weights()
        try:
            trainer, module = train(poison, [guard, seen])
        finally:
            seen.plain = plain
            run.seen = seen
        return trainer, module, seen

    return run


def test_stop_names_term_stage_step_and_questions_and_leaves_the_weights(fit, tmp_path):
    message = r"stage 'second', step 3: labels is nan for questions q-\d-\d, q-\d-\d, q-\d-\d; kept in .*step-3: lower"
    with pytest.raises(UserError, match=message):
        fit(NumericalGuard(), bad=[3])
    seen = fit.seen
    assert len(seen.before) == 4
    assert same(seen.before[3], seen.plain.before[3])
    fault, (batch,), _, weights = load_fault(tmp_path / "faults" / "step-3")
    assert batch.window_ids.tolist() == seen.batches[3]
    assert set(batch.inputs) == {"input_ids", "attention_mask"}
    assert fault.stage == "second"
    assert len(fault.items[0]) == 3
    assert all(torch.equal(weights[f"student.{name}"], value) for name, value in seen.before[3].items())
    raw = json.loads((tmp_path / "faults" / "step-3" / "fault.json").read_text(encoding="utf-8"))
    assert raw["values"][0]["labels"] == "nan"
    assert isinstance(raw["values"][0]["logits"], float)
    assert [path.name for path in (tmp_path / "faults").iterdir()] == ["step-3"]


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, lambda p: torch.optim.AdamW(p, fused=True), torch.optim.SGD])
def test_skipped_step_changes_neither_weights_nor_moments_and_is_counted(fit, optimizer):
    guard = NumericalGuard("skip")
    with pytest.warns(UserWarning, match="step 3: labels is nan .* step skipped"):
        trainer, module, seen = fit(guard, bad=[3], optimizer=optimizer)
    assert guard.counts == {"skipped_steps": 1, "overflows": 0}
    assert trainer.global_step == 6
    assert not same(seen.before[2], seen.before[3])
    assert same(seen.before[3], seen.before[4])
    assert not same(seen.before[4], seen.before[5])
    assert all(value.isfinite().all() for value in module.state_dict().values())
    (trained,) = trainer.optimizers
    for state in trained.state.values():
        if "step" in state:
            assert int(state["step"]) == 3  # four steps of the second stage, one of them skipped
    assert float(trainer.callback_metrics["train/skipped_steps"]) == 1
    again = NumericalGuard("skip")
    again.load_state_dict(guard.state_dict())
    assert again.counts == guard.counts


def test_as_many_skips_in_a_row_as_allowed_and_no_more(fit):
    with pytest.warns(UserWarning, match="skipped"):
        fit(NumericalGuard("skip", max_skips=2), bad=[2, 3, 5])
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(UserError, match=r"step 4: .*guard\.max_skips"):
        fit(NumericalGuard("skip", max_skips=2), bad=[2, 3, 4])


def test_one_bad_batch_spoils_the_step_that_it_is_part_of(fit, tmp_path):
    guard = NumericalGuard("skip")
    with pytest.warns(UserWarning, match=r"step 2: labels is inf"):
        _, _, seen = fit(guard, bad=[5], value=torch.inf, accumulate_grad_batches=2, max_steps=4)
    assert guard.skipped_steps == 1
    fault, batches, _, _ = load_fault(tmp_path / "faults" / "step-2")
    assert [batch.window_ids.tolist() for batch in batches] == seen.batches[4:6]
    assert fault.culprits == [1]
    assert same(seen.before[5], seen.before[6])


def test_gradient_that_is_not_finite_is_found_though_the_loss_is(fit):
    class Bent(NumericalGuard):
        def on_after_backward(self, trainer, pl_module) -> None:
            if trainer.global_step == 3:
                next(pl_module.student.parameters()).grad[0] = torch.inf

    with pytest.raises(UserError, match=r"step 3: the gradient is not finite \(norm inf\) for questions q"):
        fit(Bent())


def test_logged_norm_is_that_before_clipping_and_the_guard_changes_no_step(fit):
    _, _, guarded = fit(NumericalGuard(), gradient_clip_val=1e-3)
    assert all(same(one, other) for one, other in zip(guarded.before, guarded.plain.before, strict=True))
    assert all(norm > 1e-2 for norm in guarded.norms)


def test_float16_overflow_is_counted_apart_and_needs_no_policy(fit):
    guard = NumericalGuard()
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**20))
    _, module, _ = fit(guard, plugins=[plugin])
    assert guard.skipped_steps == 0
    assert 1 <= guard.overflows < 6
    assert plugin.scaler.get_scale() == 2.0**20 * 0.5**guard.overflows
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_kept_step_is_repeated_to_the_digit_and_trains_nothing(fit, tmp_path, caplog):
    with pytest.raises(UserError, match="step 3"):
        fit(NumericalGuard(), bad=[3])
    caplog.set_level("INFO")
    with pytest.raises(SystemExit) as ended:
        fit(NumericalGuard(replay=str(tmp_path / "faults" / "step-3")), bad=[3])
    assert ended.value.code == 0
    assert fit.seen.batches == []
    found = [re.search(r"(\w+) (\S+), was (\S+)$", record.getMessage()) for record in caplog.records]
    lines = [line.groups() for line in found if line]
    assert {name for name, _, _ in lines} == {"loss", "logits", "labels", "norm"}
    assert all(now == kept for _, now, kept in lines)


@pytest.mark.parametrize("damage", ["absent", "fault.json", "batches.safetensors", "weights.safetensors"])
def test_folder_that_is_no_kept_step_is_refused(fit, damage, tmp_path):
    with pytest.raises(UserError):
        fit(NumericalGuard(), bad=[3])
    folder = tmp_path / "faults" / "step-3"
    if damage == "absent":
        folder = tmp_path
    else:
        (folder / damage).write_bytes(b"{}")
    with pytest.raises(UserError, match="not a step that a run has kept"):
        fit(NumericalGuard(replay=str(folder)))


def test_limit_out_of_range_is_refused():
    with pytest.raises(UserError, match=r"guard\.max_skips must be at least 1, not 0"):
        NumericalGuard(max_skips=0)
