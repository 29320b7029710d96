"""How fast training goes, and how much of the device it uses."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from distill.reporting.throughput import ModelSize, StepClock, StepTotals, matrix_dtype, matrix_peak, peak_size
from distill.types import Batch, RecordingPlan, UserError


class Throughput(L.Callback):
    """Logs real tokens per second and the share of the device's matrix peak, and gives their means to the report.

    Timed are training steps alone, from the student's forward pass to ``on_train_batch_end``: forward, backward and
    optimizer, without loading data, preparing a stage, validating or saving. As often as the Trainer logs, over the
    steps since:

    - ``throughput/tokens_per_second``: real tokens, of all processes together.
    - ``throughput/model_flops_per_second``: what the models need, not what kernels do: for the student's forward and
      backward passes ``6 P tokens + 6 P_head head_tokens + 12 L D n^2``, and a third of that for the first teacher
      where it ran, each up to the last layer that the stage needs; see
      :meth:`~distill.reporting.throughput.ModelSize.forward_flops`. What losses compute is left out.
    - ``throughput/peak_share``: that over the measured peak of all devices.

    The peak is the fastest product of two square matrices on the run's device, in the run's precision, measured for a
    fraction of a second when training starts: 1024 rows on a CPU, 8192 on a GPU. A ``fast_dev_run`` measures none.

    The totals of every stage are kept in checkpoints, so those of a resumed run are those of the whole. List the
    callback after the ``StageSchedule``, which sets the stage, and before the ``Report``.

    Args:
        peak_size: Rows of the matrices.

    Raises:
        UserError: If ``peak_size`` is below 1.
    """

    def __init__(self, peak_size: int | None = None) -> None:
        if peak_size is not None and peak_size < 1:
            raise UserError(f"throughput.peak_size must be at least 1, not {peak_size}")
        self.peak_size = peak_size
        #: The report's section, on every process; known when training has ended.
        self.result: dict[str, Any] | None = None
        #: What was done by stage, on this process.
        self.totals: dict[str, StepTotals] = {}
        self._peak: float | None = None
        self._num_processes = 1
        # Since the last settlement: batches, real tokens and FLOPs, on the device; their time; whose they are.
        self._counts = torch.zeros(3, dtype=torch.float64)
        self._clock = StepClock(torch.device("cpu"))
        # Of each task, its models' sizes.
        self._sizes: dict[str | None, dict[str, ModelSize]] = {}
        self._hooks: list[RemovableHandle] = []
        self._stage: str | None = None
        self._in_step = False
        self._teacher_ran = False

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Measure the peak, and watch when the student starts and whether the teacher runs.

        A teacher may not be needed, or what it said may be stored.
        """
        device = pl_module.device
        if not trainer.fast_dev_run:
            dtype = matrix_dtype(str(trainer.precision), device)
            self._peak = matrix_peak(device, dtype, self.peak_size or peak_size(device))
        # Restored totals are those of all processes, see state_dict.
        self._num_processes = trainer.world_size
        self.totals = {name: totals.scaled(1 / trainer.world_size) for name, totals in self.totals.items()}
        self._counts = self._counts.to(device)
        self._clock = StepClock(device)
        self._sizes, self._hooks = {}, []
        for task, member in pl_module.members.items():
            self._sizes[task] = {name: ModelSize.of(model) for name, model in _models(member).items()}
            self._hooks.append(member.student.register_forward_pre_hook(self._begin_step))
            if member.teacher is not None:
                # Where it begins: a teacher may be left where no loss needs its further layers.
                self._hooks.append(member.teacher.register_forward_pre_hook(self._note_teacher))

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """Settle an earlier stage."""
        if pl_module.active_stage.name != self._stage:
            self._settle()
            self._stage = pl_module.active_stage.name

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Stop the clock and count; log as often as the Trainer does."""
        self._clock.stop()
        self._in_step = False
        lengths = batch.attention_mask.sum(-1)
        member, sizes = pl_module.members[batch.task], self._sizes[batch.task]
        head_tokens = member.task.num_head_tokens(batch)
        student_plan, teacher_plan = member.objective.plans(member.active_stage.stage.weights)
        flops = 3 * _forward_flops(sizes["student"], student_plan, lengths, head_tokens)
        if self._teacher_ran:
            flops = flops + _forward_flops(sizes["teacher"], teacher_plan, lengths, head_tokens)
        self._counts += torch.stack((torch.ones_like(flops), lengths.sum(), flops))
        if (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % max(1, trainer.log_every_n_steps) == 0:
            done = self._over_processes(trainer, self._settle())
            for name, value in done.rates(self._num_processes, self._peak).items():
                pl_module.log(f"throughput/{name}", value, batch_size=1)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Make the report's section."""
        for hook in self._hooks:
            hook.remove()
        self._settle()
        stages = {name: self._over_processes(trainer, totals) for name, totals in self.totals.items()}
        self.result = {
            "peak": {
                "flops_per_second": self._peak,
                "dtype": str(matrix_dtype(str(trainer.precision), pl_module.device)).removeprefix("torch."),
                "matrix_size": self.peak_size or peak_size(pl_module.device),
            },
            "total": self._describe(sum(stages.values(), StepTotals())),
            "stages": {name: self._describe(totals) for name, totals in stages.items()},
        }
        if "peak_share" in (total := self.result["total"]):
            rank_zero_info(
                "throughput: %s tokens/s over %s tokens, %.1f %% of the measured matrix peak",
                *(f"{total[name]:,.0f}" for name in ("tokens_per_second", "num_tokens")),
                100 * total["peak_share"],
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the totals by stage for all processes, taking each for as busy as this one."""
        self._settle()
        return {name: list(astuple(totals.scaled(self._num_processes))) for name, totals in self.totals.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the totals of an interrupted run."""
        self.totals = {name: StepTotals(*amounts) for name, amounts in state_dict.items()}

    def _settle(self) -> StepTotals:
        """Add what was done since the last time to its stage's totals; return it."""
        num_batches, num_tokens, model_flops = self._counts.tolist()
        done = StepTotals(num_batches, num_tokens, model_flops, self._clock.take())
        self._counts.zero_()
        if self._stage is not None:
            self.totals[self._stage] = self.totals.get(self._stage, StepTotals()) + done
        return done

    def _over_processes(self, trainer: L.Trainer, totals: StepTotals) -> StepTotals:
        amounts = torch.tensor(astuple(totals), dtype=torch.float64, device=self._counts.device)
        return StepTotals(*trainer.strategy.reduce(amounts, reduce_op="sum").tolist())  # type: ignore[union-attr]

    def _describe(self, totals: StepTotals) -> dict[str, Any]:
        return {
            "num_batches": round(totals.num_batches),
            "num_tokens": round(totals.num_tokens),
            "seconds": totals.seconds / self._num_processes,
            **totals.rates(self._num_processes, self._peak),
        }

    def _begin_step(self, student: Any, inputs: Any) -> None:
        # Not in on_train_batch_start: there the module may prepare a stage for minutes.
        if student.training and not self._in_step:
            self._in_step = True
            # What teachers did before the student's pass was storing their logits for the whole stage.
            self._teacher_ran = False
            self._clock.start()

    def _note_teacher(self, *_: Any) -> None:
        self._teacher_ran = True


def _forward_flops(size: ModelSize, plan: RecordingPlan, lengths: Tensor, head_tokens: Tensor) -> Tensor:
    needed = size.cut(plan.depth(size.num_layers))
    return needed.forward_flops(lengths, head_tokens if plan.logits else 0)


def _models(module: Any) -> dict[str, Any]:
    models = {"student": module.student, "teacher": module.teacher}
    return {name: model for name, model in models.items() if model is not None}
