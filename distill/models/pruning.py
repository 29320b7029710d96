"""Which of a teacher's layers a shallower student can least do without."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from distill.models.families import family_of
from distill.tasks.base import Task
from distill.types import Batch


def prune_layers(
    teacher: PreTrainedModel, num_kept: int, batches: Sequence[Batch], task: Task
) -> tuple[tuple[int, ...], list[float]]:
    """Drop one layer after another, each time the one without which the teacher's answers change least.

    The change is the divergence ``KL(p || q)`` of the whole teacher's distribution over the classes of a row and that
    of what is left of it, averaged over rows; the greedy elimination of SLEB (Song et al. 2024, arXiv 2402.09025), by
    the answers in place of perplexity. Neighbouring layers that build on each other stay together, which maps by
    counting tear apart.

    Args:
        teacher: A model of a known family, in evaluation mode; whole again at the end.
        num_kept: How many layers to keep, at least one and at most the teacher's.
        batches: Text. The teacher reads it about ``(L^2 - K^2) / 2`` times for K of its L layers.
        task: Lays the head's scores out as rows of classes.

    Returns:
        The layers that are left, counted from 0, ascending; and the change after each drop.

    Raises:
        UserError: If the family is not known.
    """
    whole = [_log_probabilities(teacher, batch, task) for batch in batches]
    kept = list(range(teacher.config.num_hidden_layers))
    changes: list[float] = []
    while len(kept) > num_kept:
        candidates = {layer: [other for other in kept if other != layer] for layer in kept}
        change = {layer: _change(teacher, rest, batches, task, whole) for layer, rest in candidates.items()}
        dropped = min(change, key=change.__getitem__)
        kept = candidates[dropped]
        changes.append(change[dropped])
    return tuple(kept), changes


@contextmanager
def only_layers(model: PreTrainedModel, layers: Collection[int]) -> Iterator[None]:
    """Let a model run with some of its layers alone, in their order.

    Raises:
        UserError: If the family is not known.
    """
    parent_name, _, name = family_of(model.config).layers.rpartition(".")
    parent = model.base_model.get_submodule(parent_name)
    whole = getattr(parent, name)
    setattr(parent, name, nn.ModuleList(layer for index, layer in enumerate(whole) if index in layers))
    try:
        yield
    finally:
        setattr(parent, name, whole)


def _change(
    teacher: PreTrainedModel, layers: Collection[int], batches: Sequence[Batch], task: Task, whole: Sequence[Tensor]
) -> float:
    with only_layers(teacher, layers):
        left = [_log_probabilities(teacher, batch, task) for batch in batches]
    total = sum(F.kl_div(q, p, reduction="sum", log_target=True).double() for q, p in zip(left, whole, strict=True))
    return float(total) / max(1, sum(len(rows) for rows in whole))


@torch.no_grad()
def _log_probabilities(model: PreTrainedModel, batch: Batch, task: Task) -> Tensor:
    """Return the log distributions over the classes of every row, (N, C)."""
    with task.focus(model, batch):
        output = model(**batch.inputs)
    return task.rows(task.logits(output).float(), batch).log_softmax(-1)
