"""The callback that keeps numbers that are not finite out of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from distill.callbacks.replay import random_state, replay
from distill.log_steps import is_log_step
from distill.reporting.faults import Fault, load_fault, save_fault
from distill.reporting.files import run_folder
from distill.stages import ActiveStage
from distill.types import Batch, UserError

#: float16's loss scale halves with every overflow; after so many in a row, scaling is not what is wrong.
_MAX_OVERFLOWS = 30

#: Steps that are kept for replay; a run with more of them needs no more evidence.
_MAX_KEPT = 10


class NumericalGuard(L.Callback):
    """Stops a run, or skips the step, whose loss or gradient is not finite, before its weights are touched.

    Losses and the gradient's norm of all batches of a step are looked at together, once, between ``backward`` and the
    optimizer's step, on every process alike. That is one number read from the device in each optimizer step, the only
    one on a single process: looking later, every N steps, would find weights that are lost already, and no optimizer of
    torch but the fused ones can be told on the device to leave them alone.

    A bad step is named by term, stage, step and questions, and kept under ``faults/step-<n>/`` in the run's folder: its
    batches, the weights before it, and the states of the random generators. A skipped step changes neither weights nor
    moments, counts as a step of its stage, and is counted. A gradient that overflowed under float16's loss scaling
    while the loss is finite is no fault: the scaler skips that step by itself, and it is counted apart.

    Logged are ``train/gradient_norm``, before clipping, and ``train/skipped_steps`` and ``train/overflows`` where there
    were any. The counts are kept in checkpoints and stand in the report as ``numerics``.

    With ``replay`` a kept step is repeated, not trained: values and gradient norm are computed again in its stage, from
    its weights and batches, printed, and the run ends.

    Args:
        policy: What to do at a bad step: end the run with an error, or skip it.
        max_skips: Skipped steps in a row that end the run all the same.
        replay: Folder of a kept step to repeat.

    Raises:
        UserError: If ``max_skips`` is below 1.
    """

    def __init__(self, policy: Literal["stop", "skip"] = "stop", max_skips: int = 5, replay: str | None = None) -> None:
        if max_skips < 1:
            raise UserError(f"guard.max_skips must be at least 1, not {max_skips}")
        self.policy = policy
        self.max_skips = max_skips
        self.replay = replay
        self.skipped_steps = 0
        self.overflows = 0
        self._skips_in_a_row = 0
        self._overflows_in_a_row = 0
        self._num_kept = 0
        # Of the step under way: its batches, and their losses and terms, on the device.
        self._batches: list[Batch] = []
        self._values: list[dict[str, Tensor]] = []
        # Generator states before each batch, for dropout.
        self._randoms: list[dict[str, Tensor]] = []

    @property
    def counts(self) -> dict[str, int]:
        """Steps that were not taken, for the report."""
        return {"skipped_steps": self.skipped_steps, "overflows": self.overflows}

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Refuse a folder that cannot be replayed, before training is prepared."""
        if self.replay is not None:
            load_fault(Path(self.replay))

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Repeat a kept step, if asked to, and end the run."""
        self._batches, self._values, self._randoms = [], [], []
        if self.replay is not None:
            for line in replay(trainer, pl_module, Path(self.replay)):
                rank_zero_info("%s", line)
            raise SystemExit(0)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """Hold on to the batch until its step is taken."""
        self._batches.append(batch)
        self._randoms.append(random_state(pl_module.device))

    def on_before_backward(self, trainer: L.Trainer, pl_module: Any, loss: Tensor) -> None:
        """Hold on to the batch's values."""
        self._values.append(pl_module.step_values)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        """Let the step be taken only if everything that goes into it is finite.

        Raises:
            UserError: If it is not, and the policy is to stop or has skipped as many steps in a row as it may.
        """
        norm = pl_module.gradient_norm(optimizer)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        still_scaled = scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False)
        scale = scaler.get_scale() if scaler is not None and still_scaled else 1.0
        if is_log_step(trainer, pl_module.active_stage):
            pl_module.log("train/gradient_norm", norm / scale, batch_size=1)
        losses = torch.stack([values["loss"].float() for values in self._values])
        bad = torch.stack((~losses.isfinite().all(), ~norm.isfinite())).float()
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce(bad, reduce_op="sum")  # type: ignore[assignment]
        if bad.any():  # the one read
            is_overflow = scaler is not None and not bad[0]
            if is_overflow:
                self._count_overflow(pl_module)
            else:
                self._refuse(trainer, pl_module, norm)
                self.skipped_steps += 1
                pl_module.log("train/skipped_steps", float(self.skipped_steps), batch_size=1)
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        _withdraw(parameter, by_scaler=still_scaled)
        else:
            self._skips_in_a_row = self._overflows_in_a_row = 0
        self._batches, self._values, self._randoms = [], [], []

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Say how many steps were not taken."""
        if any(self.counts.values()):
            rank_zero_warn(
                f"{self.skipped_steps} steps with a loss or gradient that is not finite were skipped, and "
                f"{self.overflows} that overflowed float16"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the counts."""
        return {**self.counts, "in_a_row": [self._skips_in_a_row, self._overflows_in_a_row]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the counts of an interrupted run."""
        self.skipped_steps, self.overflows = state_dict["skipped_steps"], state_dict["overflows"]
        self._skips_in_a_row, self._overflows_in_a_row = state_dict["in_a_row"]

    def _count_overflow(self, module: Any) -> None:
        self.overflows += 1
        self._overflows_in_a_row += 1
        module.log("train/overflows", float(self.overflows), batch_size=1)
        if self._overflows_in_a_row > _MAX_OVERFLOWS:
            raise UserError(
                f"the gradient overflowed float16 in {self._overflows_in_a_row} steps in a row, at any loss scale: "
                "use --trainer.precision bf16-mixed or 32-true"
            )

    def _refuse(self, trainer: L.Trainer, module: Any, norm: Tensor) -> None:
        """Keep the step and say what is wrong with it."""
        folder = run_folder(trainer)  # asked on every process, since it may be agreed among them
        fault = _fault(trainer, module, self._batches, self._values, norm)
        message = fault.describe()
        if folder is not None and self._num_kept < _MAX_KEPT:
            self._num_kept += 1
            rank = f"-rank{trainer.global_rank}" if trainer.world_size > 1 else ""
            kept = folder / "faults" / f"step-{fault.step}{rank}"
            save_fault(kept, fault, self._batches, self._randoms, module.state_dict())
            message += f"; kept in {kept}"
        self._skips_in_a_row += 1
        if self.policy == "stop":
            raise UserError(f"{message}: lower the learning rate, look at the questions, or set guard.policy to skip")
        if self._skips_in_a_row > self.max_skips:
            raise UserError(f"{message}: {self.max_skips} steps before it were skipped too, see guard.max_skips")
        rank_zero_warn(f"{message}: step skipped")


def _withdraw(parameter: Tensor, by_scaler: bool) -> None:
    """Have the optimizer leave a parameter alone, moments and decay included, as it does those without a gradient.

    An optimizer that undoes loss scaling itself must find gradients, and is skipped by the scaler for infinite ones.
    """
    if not by_scaler:
        parameter.grad = None
    elif parameter.grad is not None:
        parameter.grad.fill_(torch.inf)


def _fault(
    trainer: L.Trainer, module: Any, batches: list[Batch], values: list[dict[str, Tensor]], norm: Tensor
) -> Fault:
    active: ActiveStage = module.active_stage
    return Fault(
        stage=active.name,
        step=trainer.global_step,
        values=[{name: float(value) for name, value in batch_values.items()} for batch_values in values],
        gradient_norm=float(norm),
        items=[_items(trainer, active, batch) for batch in batches],
        tasks=[batch.task for batch in batches],
        weights=dict(active.stage.weights),
        temperature=active.stage.temperature,
    )


def _items(trainer: L.Trainer, active: ActiveStage, batch: Batch) -> list[str]:
    """Return the question of each window of a batch, or the window's id where there are no questions."""
    loader: Any = trainer.train_dataloader
    loader = getattr(loader, "loaders", {}).get(active.stage.data, loader)
    dataset = getattr(loader, "dataset", None)
    dataset = getattr(dataset, "parts", {}).get(batch.task, dataset)
    window_ids = batch.window_ids.tolist()
    examples, indices = getattr(dataset, "examples", None), getattr(dataset, "example_indices", None)
    if examples is None or indices is None:
        return [str(window_id) for window_id in window_ids]
    return [examples[int(indices[window_id])].question_id for window_id in window_ids]
