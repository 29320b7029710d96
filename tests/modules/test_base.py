"""Training steps of balanced stages, in real fits."""

import lightning as L
import pytest
import torch
from lightning.pytorch import Trainer

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.stages import StageSchedule
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.stages import Stage
from distill.types import UserError

WEIGHTS = {"hidden": 2.0, "logits": 1.0}


class Logged(L.Callback):
    """Notes what every step logs."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.steps.append({name: float(value) for name, value in trainer.callback_metrics.items()})


@pytest.fixture
def data(make_questions):
    return make_questions(batch_size=6)


def fit(teacher_folder, data, folder, balance, ckpt_path=None, **settings):
    torch.manual_seed(5)
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
    module, logged = DistillationModule(str(teacher_folder), student), Logged()
    stages = {"both": Stage(WEIGHTS, epochs=3, learning_rate=1e-3, balance=balance)}
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[StageSchedule(stages), LastCheckpoint(), logged],
        **{"max_epochs": -1, "log_every_n_steps": 1, **settings},
    )
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return module, logged.steps


def test_raw_and_weighted_values_are_logged_and_the_loss_is_the_sum_of_the_weighted(teacher_folder, data, tmp_path):
    _, steps = fit(teacher_folder, data, tmp_path, balance=2)
    first = steps[0]
    assert first["train/both/hidden_weighted"] == pytest.approx(2.0)
    assert first["train/both/logits_weighted"] == pytest.approx(1.0)
    factors = set()
    for index, step in enumerate(steps):
        hidden, logits = (step[f"train/both/{name}_weighted"] for name in WEIGHTS)
        assert step["train/loss"] == pytest.approx(hidden + logits)
        if index >= 1:
            factors.add(round(hidden / step["train/both/hidden"], 5))
    assert len(factors) == 1  # settled after two steps


def test_stage_without_balance_sums_raw_values(teacher_folder, data, tmp_path):
    _, steps = fit(teacher_folder, data, tmp_path, balance=None, max_epochs=1)
    for step in steps:
        assert step["train/loss"] == pytest.approx(2.0 * step["train/both/hidden"] + step["train/both/logits"])
        assert "train/both/hidden_weighted" not in step


@pytest.mark.parametrize("balance", [2, 6])
def test_resumed_run_keeps_the_factors(teacher_folder, data, tmp_path, balance):
    whole, steps = fit(teacher_folder, data, tmp_path / "whole", balance)
    fit(teacher_folder, data, tmp_path / "parts", balance, max_epochs=1)
    checkpoint = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    resumed, rest = fit(teacher_folder, data, tmp_path / "parts", balance, ckpt_path=checkpoint)
    train = [{name: value for name, value in step.items() if "train/" in name} for step in (*steps, *rest)]
    assert train[len(steps) :] == train[len(steps) - len(rest) : len(steps)]
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_evaluation_needs_no_balance_of_the_version_at_hand(teacher_folder, data, tmp_path):
    module, _ = fit(teacher_folder, data, tmp_path, 2, limit_val_batches=0)
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["loss_balance"]["num_steps"]
    torch.save(checkpoint, path)
    module.trainer.limit_val_batches = 1.0
    assert module.trainer.validate(module, data, ckpt_path=path, verbose=False)
    with pytest.raises(UserError, match="checkpoint of an earlier version"):
        fit(teacher_folder, data, tmp_path, 2, ckpt_path=path)
