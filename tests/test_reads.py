"""What a training step reads back from the device, and so waits for: one number of the guard."""

from __future__ import annotations

import io
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.guard import NumericalGuard
from distill.callbacks.progress import StageProgressBar
from distill.callbacks.signals import SignalStop
from distill.callbacks.stages import StageSchedule
from distill.callbacks.throughput import Throughput
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.stages import Stage
from tests.callbacks.fakes import tiny_trainer

#: Who reads what lies on the CPU anyway: transformers, on a CPU alone, whether a batch is padded; loaders, a number
#: that they draw where a pass begins.
ON_CPU = {"masking_utils.py", "training.py"}


class Reads(TorchDispatchMode):
    """Notes which files turn tensors into numbers, by training step."""

    def __init__(self, step) -> None:
        super().__init__()
        self.step = step
        self.by_step: dict[int, Counter] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            self.by_step.setdefault(self.step(), Counter())[_reader()] += 1
        return func(*args, **(kwargs or {}))


def _reader() -> str:
    frame = sys._getframe(2)
    while "torch" in Path(frame.f_code.co_filename).parts or "utilities" in frame.f_code.co_filename:
        frame = frame.f_back
    return Path(frame.f_code.co_filename).name


@pytest.mark.parametrize("weights", [{"hidden": 1.0, "attention": 1.0}, {"logits": 1.0, "labels": 0.5}])
def test_only_the_guard_reads_a_number_at_steps_that_nobody_looks_at(make_questions, teacher_folder, tmp_path, weights):
    torch.manual_seed(1)
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
    module = DistillationModule(
        str(teacher_folder), student, optimizer=lambda groups: torch.optim.AdamW(groups, fused=True)
    )
    schedule = StageSchedule({"only": Stage(weights, steps=12, learning_rate=1e-3)})
    bar = StageProgressBar(console_kwargs={"file": io.StringIO(), "force_terminal": True, "width": 200})
    callbacks = [schedule, NumericalGuard(), LastCheckpoint(), Throughput(8), SignalStop(), bar]
    trainer = tiny_trainer(
        tmp_path, callbacks, max_epochs=-1, limit_val_batches=0, log_every_n_steps=4, gradient_clip_val=1.0,
        enable_progress_bar=True, enable_checkpointing=True,
    )  # fmt: skip
    with Reads(lambda: trainer.fit_loop.epoch_loop.total_batch_idx) as reads:
        trainer.fit(module, make_questions(batch_size=2))
    unlooked = [step for step in range(1, 11) if (step + 1) % 4]
    for step in unlooked:
        assert set(reads.by_step[step]) - ON_CPU == {"guard.py"}, step
    assert all(reads.by_step[step]["guard.py"] == 1 for step in unlooked)
    assert sum(reads.by_step[3].values()) > sum(reads.by_step[2].values())  # what is logged is read
