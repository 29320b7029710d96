"""Mapped layers of a teacher in 8 bits on disk, for a first stage that runs no teacher; an experiment, no product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from distill.teaching.building import StorableWindows, building_batches
from distill.teaching.sources import ModelSource
from distill.teaching.store import LogitStore, LogitWriter, create_store, seal_store
from distill.types import AttentionInputs, Batch, Recording, RecordingPlan

#: Windows that the main components are those of.
NUM_FITTED = 256


def pack(recording: Recording, plan: RecordingPlan, mask: Tensor) -> Tensor:
    """Return what a plan names at the real tokens, (T, P, D): P states, then queries and keys with their heads side
    by side."""
    layers = [recording.attentions[layer] for layer in sorted(plan.attentions)]
    heads = [part.transpose(1, 2).flatten(2) for layer in layers for part in (layer.query, layer.key)]
    states = [recording.hidden_states[state] for state in sorted(plan.hidden_states)]
    return torch.stack([*states, *heads], 2)[mask.bool()]


@dataclass(frozen=True)
class Codec:
    """8-bit codes of the main components: ``x ~ mean + scale * code @ basis^T``, for each of P parts.

    Attributes:
        mean: (P, 1, D).
        basis: (P, D, k), orthonormal columns.
    """

    mean: Tensor
    basis: Tensor

    @classmethod
    def fit(cls, rows: Tensor, width: int) -> Codec:
        """Take mean and main components from rows (T, P, D); the full width keeps the axes as they are."""
        rows = rows.transpose(0, 1)
        mean = rows.mean(1, keepdim=True)
        if width == rows.shape[-1]:
            return cls(mean, torch.eye(width).expand(len(rows), -1, -1))
        centred = (rows - mean).double()
        return cls(mean, torch.linalg.eigh(centred.mT @ centred).eigenvectors[..., -width:].float())

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes (T, P, k), whole numbers from -127 to 127, and scales (T, P), of float16's precision."""
        components = ((rows.transpose(0, 1) - self.mean) @ self.basis).transpose(0, 1)
        scales = (components.abs().amax(-1) / 127).half().float().clamp_min(torch.finfo(torch.float16).tiny)
        return (components / scales[..., None]).round().clamp(-127, 127), scales

    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Return the rows, (T, P, D) float32."""
        components = (codes * scales[..., None]).transpose(0, 1)
        return torch.baddbmm(self.mean, components, self.basis.mT).transpose(0, 1)


class StoredLayers:
    """Gives what a stage compares of a teacher from files of 8-bit codes, by window id.

    Args:
        teacher: The teacher, which is run once over all windows.
        windows: The training windows.
        plan: What to store: hidden states, queries and keys.
        width: Components to keep of each.
        folder: Where the files go.
    """

    def __init__(
        self, teacher: ModelSource, windows: StorableWindows, plan: RecordingPlan, width: int, folder: Path
    ) -> None:
        self._plan = plan
        config = teacher.model.config
        self._num_heads = config.num_attention_heads
        self._scaling = (config.hidden_size // config.num_attention_heads) ** -0.5
        every = max(1, len(windows.lengths) // NUM_FITTED)
        fitted = windows[list(range(0, len(windows.lengths), every))]
        rows = pack(teacher.record(fitted, plan), plan, fitted.attention_mask)
        self.codec = Codec.fit(rows, width)
        errors = (self.codec.decode(*self.codec.encode(rows)) - rows).square().sum((0, 2))
        #: Squared error over variance at the tokens that the components were taken from, a mean over the parts.
        self.error = float((errors / (rows - rows.mean(0)).square().sum((0, 2))).mean())
        shapes: dict[str, tuple[int, ...]] = {"int8": (rows.shape[1], width), "float16": (rows.shape[1],)}
        paths = {dtype: folder / f"layers-{width}-{dtype}.npy" for dtype in shapes}
        num_rows = int(windows.lengths.sum())
        for dtype, path in paths.items():
            create_store(path, num_rows, shapes[dtype], dtype).close()
        writers = [LogitWriter(path, windows.lengths) for path in paths.values()]
        for window_ids in building_batches(windows.lengths, windows.widths):
            batch = windows[window_ids.tolist()]
            coded = self.codec.encode(pack(teacher.record(batch, plan), plan, batch.attention_mask))
            for writer, values in zip(writers, coded, strict=True):
                writer.write(window_ids.tolist(), values)
        for writer, path in zip(writers, paths.values(), strict=True):
            writer.close()
            seal_store(path, path.name, path)
        self._codes, self._scales = (LogitStore(path, path.name, windows.lengths) for path in paths.values())
        #: Bytes on disk of a window, on average.
        self.window_bytes = sum(path.stat().st_size for path in paths.values()) / len(windows.lengths)

    def record(self, batch: Batch, plan: RecordingPlan) -> Recording:
        """Return states (B, S, D), queries and keys (B, H, S, d), 0 at padding."""
        if plan != self._plan:
            raise ValueError(f"stored layers cannot serve {plan}")
        window_ids, mask = batch.window_ids.tolist(), batch.attention_mask.bool()
        rows = self.codec.decode(self._codes.rows(window_ids).float(), self._scales.rows(window_ids).float())
        padded = rows.new_zeros(*mask.shape, *rows.shape[1:])
        padded[mask] = rows
        parts = iter(padded.unbind(2))
        states = {state: next(parts) for state in sorted(plan.hidden_states)}
        attentions = {}
        for layer in sorted(plan.attentions):
            query, key = (next(parts).unflatten(-1, (self._num_heads, -1)).transpose(1, 2) for _ in range(2))
            attentions[layer] = AttentionInputs(query, key, key, self._scaling)  # values are never compared
        return Recording(hidden_states=states, attentions=attentions)
