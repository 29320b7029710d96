"""The masked-language head, computed where something was hidden and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from distill.text.masking import IGNORED
from distill.types import Batch

#: The number of computed places is rounded up to a multiple of this: every new shape costs memory in low-precision CPU
#: kernels, and the number of hidden tokens differs from batch to batch.
POSITION_MULTIPLE = 64

#: Where the heads of the families begin. From there on they work place by place, so what enters decides what is
#: computed: RoBERTa, XLM-R, CamemBERT; BERT; ELECTRA; DistilBERT; ALBERT.
_HEAD_NAMES = ("lm_head", "cls", "generator_predictions", "vocab_transform", "predictions")


def masked_positions(batch: Batch) -> Tensor:
    """Return where tokens were hidden, (N,) int64 ascending: place s of block b is ``b * S + s``."""
    return batch.labels["token_ids"].flatten().ne(IGNORED).nonzero().squeeze(1)


def masked_rows(logits: Tensor, batch: Batch) -> Tensor:
    """Return the scores at the hidden places, (N, V) float32 or float64.

    Args:
        logits: (B, S, V), the whole head's output; or (M, V) with M >= N, that of :func:`head_at` the hidden places.
        batch: The batch that they belong to.
    """
    positions = masked_positions(batch)
    rows = logits[: len(positions)] if logits.ndim == 2 else logits.flatten(0, 1)[positions]
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def find_head(model: PreTrainedModel) -> nn.Module | None:
    """Return the part of a model where its masked-language head begins, nothing for an unknown family."""
    parts = dict(model.named_children())
    return next((parts[name] for name in _HEAD_NAMES if name in parts), None)


@contextmanager
def head_at(model: PreTrainedModel, positions: Tensor) -> Iterator[None]:
    """Let the model's head compute the N places of ``positions`` alone, so that its logits are (M, V).

    M is N rounded up to a multiple of ``POSITION_MULTIPLE``; surplus rows stand at the end, repeat the first place of
    the batch and are no one's: read the first N. No positions give (0, V). A model whose head is not known computes all
    of (B, S, V).
    """
    head = find_head(model)
    if head is None:
        yield
        return
    computed = F.pad(positions, (0, -len(positions) % POSITION_MULTIPLE))

    def narrow(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_states, *others = inputs
        return hidden_states.flatten(0, 1).index_select(0, computed), *others

    handle = head.register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        handle.remove()
