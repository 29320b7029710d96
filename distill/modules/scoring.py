"""Scoring everything that a task is compared by: its student, its teacher, and the blind guess."""

from __future__ import annotations

from contextlib import nullcontext
from functools import reduce
from itertools import islice
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from distill.data.sample import sample_loader
from distill.distributed.processes import gather
from distill.models.vocabulary import reading_own_ids
from distill.modules.base import TaskModule
from distill.tasks.base import EvaluationResult
from distill.types import Batch

#: Training batches of each process in which classes are counted, at most.
_COUNTED_BATCHES = 500


class TaskEvaluations(NamedTuple):
    """What the models of a task scored.

    Attributes:
        student: The student.
        teacher: The teacher, where there is one.
        majority: Always the class that is most frequent in the first 500 training batches of each process, where that
            was asked for and means something.
    """

    student: EvaluationResult
    teacher: EvaluationResult | None = None
    majority: EvaluationResult | None = None


def evaluate_all(module: TaskModule, dataloader: DataLoader[Batch], with_majority: bool = False) -> TaskEvaluations:
    """Score a task's models over an evaluation set, on every process together."""
    student = module.evaluate(module.student, dataloader)
    teacher = evaluate_teacher(module, dataloader) if module.teacher is not None else None
    return TaskEvaluations(student, teacher, _majority(module, dataloader) if with_majority else None)


def evaluate_teacher(
    module: TaskModule, dataloader: DataLoader[Batch], num_examples: int | None = None
) -> EvaluationResult:
    """Score a task's teacher over the validation set, on every process together.

    Where the student has fewer pieces and some word is cut otherwise without the rest, the teacher reads the set in
    all of its own: else it would lose points, and the student seem to keep more of them.

    Args:
        module: The task, with a teacher.
        dataloader: The set as the student reads it.
        num_examples: Draw so many of it for a first impression; left out, all count.
    """
    assert module.teacher is not None
    tokenizer = getattr(module, "teacher_tokenizer", None)
    recut = module.data.recut_validation(tokenizer) if tokenizer is not None and module.data is not None else None
    loader = dataloader if recut is None else recut
    if num_examples is not None:
        ranks = module.trainer.global_rank, module.trainer.world_size
        loader = sample_loader(loader.dataset, num_examples, module.data.eval_batch_size, *ranks)
    with nullcontext() if recut is None else reading_own_ids(module.teacher):
        return module.evaluate(module.teacher, loader)


def _majority(module: TaskModule, dataloader: DataLoader[Batch]) -> EvaluationResult | None:
    """Score the most frequent class of all processes' first training batches; None where the task has no such guess."""
    task, num_classes = module.task, module.student.config.num_labels
    counted = islice(module.data.train_dataloader(), _COUNTED_BATCHES)
    counts = torch.zeros(0, dtype=torch.int64)
    for batch in counted:
        if task.guess(batch, 0, num_classes) is None:
            return None
        counts = _add(counts, torch.bincount(task.targets(batch)))
    # Every process has counted its own share, and all have to guess the same.
    counts = reduce(_add, gather(counts))
    target = int(counts.argmax()) if len(counts) else 0
    evaluation = module.start_evaluation(dataloader)
    for batch in islice(dataloader, 1 if module.trainer.fast_dev_run else None):
        logits = task.guess(batch, target, num_classes)
        assert logits is not None
        evaluation.update(logits, batch)
    return evaluation.compute()


def _add(mine: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(max(len(mine), len(other)), dtype=torch.int64)
    total[: len(mine)] += mine
    total[: len(other)] += other
    return total
