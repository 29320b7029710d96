"""Activations of a model on a few batches of text: what enters and leaves named parts, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.types import Batch

#: Tokens whose activations are kept: enough to fit matrices of any encoder's width, 2 GB for six layers of a large one.
NUM_TOKENS = 8192


@dataclass(frozen=True)
class PartSample:
    """What entered and left a part at N real tokens: (N, D_in) and (N, D_out), float32 on the CPU."""

    inputs: Tensor
    outputs: Tensor


def sample_batches(batches: Iterable[Batch], num_tokens: int = NUM_TOKENS) -> list[Batch]:
    """Return the first batches that hold ``num_tokens`` real tokens together, all where there are fewer.

    Of the last batch only as many rows are taken as are needed.
    """
    taken: list[Batch] = []
    room = num_tokens
    for batch in batches:
        lengths = batch.attention_mask.sum(-1)
        num_rows = int((lengths.cumsum(0) - lengths < room).sum())
        taken.append(_first_rows(batch, num_rows))
        room -= int(lengths.sum())
        if room <= 0:
            break
    return taken


def _first_rows(batch: Batch, num_rows: int) -> Batch:
    inputs, labels = ({name: rows[:num_rows] for name, rows in part.items()} for part in (batch.inputs, batch.labels))
    return Batch(inputs, labels, batch.window_ids[:num_rows], batch.windows[:num_rows])


def sample_parts(
    model: PreTrainedModel, parts: Mapping[str, nn.Module], batches: Iterable[Batch], num_tokens: int = NUM_TOKENS
) -> dict[str, PartSample]:
    """Run a model over batches until ``num_tokens`` real tokens have been seen; return what its parts took and gave.

    Args:
        model: The model; it should be in evaluation mode.
        parts: Name to part; each must take and give one tensor (B, S, D).
        batches: Text; the last batch needed is cut.
        num_tokens: Tokens to keep; fewer where the batches hold fewer.
    """
    kept: dict[str, tuple[list[Tensor], list[Tensor]]] = {name: ([], []) for name in parts}
    seen = 0
    for batch in batches:
        mask = batch.attention_mask.bool()
        room = num_tokens - seen

        def keep(name: str, mask: Tensor = mask, room: int = room) -> Callable[..., None]:
            def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
                for tensors, tensor in zip(kept[name], (args[0], output), strict=True):
                    tensors.append(tensor.detach()[mask][:room].float().cpu())

            return hook

        handles = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
        try:
            with torch.no_grad():
                model(**batch.inputs)
        finally:
            for handle in handles:
                handle.remove()
        seen += int(mask.sum())
        if seen >= num_tokens:
            break
    return {name: PartSample(torch.cat(inputs), torch.cat(outputs)) for name, (inputs, outputs) in kept.items()}
