"""Where a teacher's recording comes from: its model, or its stored logits."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from distill.models.recording import Recorder
from distill.tasks.base import MASKED_LOGIT, Task
from distill.teaching.store import LogitStore
from distill.types import Batch, Recording, RecordingPlan

#: The plan that stored logits can serve.
LOGITS_ALONE = RecordingPlan(logits=True)


class TeacherSource(Protocol):
    """Gives what a teacher computes for a batch."""

    def record(self, batch: Batch, plan: RecordingPlan) -> Recording:
        """Return what the plan names, on the batch's device, without gradients."""
        ...


class ModelSource:
    """A frozen teacher that is run.

    Args:
        model: The teacher.
        task: Reads the logits from the model's output.
    """

    def __init__(self, model: PreTrainedModel, task: Task) -> None:
        self.model = model
        self.task = task
        self._recorder = Recorder(model)

    @torch.no_grad()
    def record(self, batch: Batch, plan: RecordingPlan) -> Recording:
        """Run the model once."""
        with self.task.focus(self.model, batch, plan.logits):
            return self._recorder.record(batch.inputs, plan, self.task.logits)


class StoredSource:
    """A teacher whose logits were stored, read by window id: no order, epoch or process can misalign them.

    Args:
        store: The logits of the training set that the batches come from.
        scores_tokens: Whether they are those of every token, see :class:`~distill.tasks.Task`.
    """

    def __init__(self, store: LogitStore, scores_tokens: bool = True) -> None:
        self._store = store
        self._scores_tokens = scores_tokens

    def record(self, batch: Batch, plan: RecordingPlan) -> Recording:
        """Return the logits, float32: (B, S, ...) with ``MASKED_LOGIT`` at padding, or (B, ...) of whole windows.

        Raises:
            ValueError: If the plan asks for more than the logits of real tokens.
        """
        if plan != LOGITS_ALONE:
            raise ValueError(f"stored logits cannot serve {plan}")
        rows = self._store.rows(batch.window_ids.tolist()).to(batch.attention_mask.device, non_blocking=True)
        return Recording(logits=scatter_rows(rows, batch) if self._scores_tokens else rows.float())


def stored_sizes(lengths: NDArray[np.int64], task: Task) -> NDArray[np.int64]:
    """Return how many rows of logits each window of so many tokens has, (M,)."""
    return lengths if task.scores_tokens else np.ones_like(lengths)


def scatter_rows(rows: Tensor, batch: Batch) -> Tensor:
    """Return the rows (T, ...) of a batch's real tokens in their places, (B, S, ...) float32, padding masked."""
    mask = batch.attention_mask.bool()
    padded = rows.new_full((*mask.shape, *rows.shape[1:]), MASKED_LOGIT, dtype=torch.float32)
    # Unlike indexing by the mask this needs no count of its ones, for which a GPU would have to be waited for.
    return padded.masked_scatter_(mask.reshape(*mask.shape, *[1] * (rows.ndim - 1)), rows.float())


def mean_logits(logits: list[Tensor], weights: list[float]) -> Tensor:
    """Return the weighted mean ``sum_k w_k z_k / sum_k w_k`` of several teachers' logits, (B, S, ...) float32."""
    weighted = [weight * values.float() for weight, values in zip(weights, logits, strict=True)]
    return torch.stack(weighted).sum(0) / sum(weights)
