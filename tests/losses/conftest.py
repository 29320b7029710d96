"""Random recordings with padding, and a task of two pointers, for every test of a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from distill.losses import (
    AttentionLoss,
    DistillationLoss,
    EmbeddingLoss,
    HiddenStateLoss,
    LabelLoss,
    LogitLoss,
    RelationLoss,
)
from distill.models.layer_map import resolve_layer_map
from distill.tasks.base import MASKED_LOGIT, Score, Task
from distill.types import AttentionInputs, Batch, LayerMap, ModelShape, Recording

STUDENT = ModelShape(num_layers=2, hidden_size=8, num_heads=2)
TEACHER = ModelShape(num_layers=4, hidden_size=12, num_heads=2)
LENGTHS = (5, 3, 1)


class PointerTask(Task):
    """Two pointers into the sequence, laid out as 2 B rows of S classes."""

    name = "pointer"
    main_score = Score("f1", "F1")
    headline = (main_score,)

    def load_model(self, folder: str, **kwargs: Any) -> Any:
        raise NotImplementedError

    def build_model(self, config: Any) -> Any:
        raise NotImplementedError

    def evaluation(self, examples: Sequence[Any]) -> Any:
        raise NotImplementedError

    def logits(self, output: Any) -> Tensor:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)

    def rows(self, logits: Tensor, batch: Batch, mask_padding: bool = True) -> Tensor:
        rows = torch.cat([logits[..., 0], logits[..., 1]])
        if mask_padding:
            rows = rows.masked_fill(~batch.attention_mask.bool().repeat(2, 1), MASKED_LOGIT)
        return rows

    def targets(self, batch: Batch) -> Tensor:
        return torch.cat([batch.labels["start_positions"], batch.labels["end_positions"]])


@dataclass
class Scene:
    """A batch and what was recorded of both models on it."""

    student: Recording
    teacher: Recording
    batch: Batch

    def rows(self, start: int, end: int) -> Scene:
        """Return the windows [start, end) alone."""
        part = slice(start, end)
        cut = {
            name: {key: value[part] for key, value in getattr(self.batch, name).items()}
            for name in ("inputs", "labels")
        }
        return Scene(
            _map_recording(self.student, lambda tensor: tensor[part]),
            _map_recording(self.teacher, lambda tensor: tensor[part]),
            Batch(cut["inputs"], cut["labels"], self.batch.window_ids[part]),
        )

    def padded(self, num_pads: int) -> Scene:
        """Return the scene with ``num_pads`` more places of padding, filled with large numbers."""

        def pad_recording(recording: Recording) -> Recording:
            def along(tensor: Tensor, dim: int) -> Tensor:
                shape = list(tensor.shape)
                shape[dim] = num_pads
                return torch.cat([tensor, torch.full(shape, 7.0, dtype=tensor.dtype)], dim)

            return Recording(
                along(recording.logits, 1),
                {state: along(tensor, 1) for state, tensor in recording.hidden_states.items()},
                {
                    layer: AttentionInputs(*(along(tensor, 2) for tensor in inputs[:3]), inputs.scaling)
                    for layer, inputs in recording.attentions.items()
                },
            )

        inputs = {
            name: torch.cat([tensor, torch.zeros(tensor.shape[0], num_pads, dtype=tensor.dtype)], 1)
            for name, tensor in self.batch.inputs.items()
        }
        return Scene(pad_recording(self.student), pad_recording(self.teacher), replace(self.batch, inputs=inputs))

    def cast(self, dtype: torch.dtype) -> Scene:
        """Return the scene with recordings in another precision."""
        return Scene(
            _map_recording(self.student, lambda tensor: tensor.to(dtype)),
            _map_recording(self.teacher, lambda tensor: tensor.to(dtype)),
            self.batch,
        )


def tensors_of(recording: Recording) -> dict[str, Tensor]:
    """Return every recorded tensor by a readable name."""
    named = {"logits": recording.logits}
    named |= {f"state {state}": tensor for state, tensor in recording.hidden_states.items()}
    for layer, inputs in recording.attentions.items():
        named |= {f"query {layer}": inputs.query, f"key {layer}": inputs.key, f"value {layer}": inputs.value}
    return named


def _map_recording(recording: Recording, change: Callable[[Tensor], Tensor]) -> Recording:
    return Recording(
        change(recording.logits),
        {state: change(tensor) for state, tensor in recording.hidden_states.items()},
        {
            layer: AttentionInputs(*(change(tensor) for tensor in inputs[:3]), inputs.scaling)
            for layer, inputs in recording.attentions.items()
        },
    )


def random_recording(shape: ModelShape, num_rows: int, length: int, generator: torch.Generator) -> Recording:
    """Return a float64 recording of every state and layer of a model of this shape."""

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()

    width = shape.hidden_size // shape.num_heads
    heads = (num_rows, shape.num_heads, length, width)
    return Recording(
        draw(num_rows, length, 2),
        {state: draw(num_rows, length, shape.hidden_size) for state in range(shape.num_layers + 1)},
        {
            layer: AttentionInputs(draw(*heads), draw(*heads), draw(*heads), width**-0.5)
            for layer in range(shape.num_layers)
        },
    )


@pytest.fixture
def task() -> Task:
    return PointerTask()


@pytest.fixture
def layer_map() -> LayerMap:
    return resolve_layer_map("uniform", STUDENT, TEACHER)


@pytest.fixture
def scene() -> Scene:
    """Three windows of 5, 3 and 1 tokens, padded to 5; a different teacher of twice the layers."""
    generator = torch.Generator().manual_seed(0)
    length = max(LENGTHS)
    mask = torch.tensor([[1] * n + [0] * (length - n) for n in LENGTHS])
    labels = {"start_positions": torch.tensor([1, 0, 0]), "end_positions": torch.tensor([3, 2, 0])}
    batch = Batch({"input_ids": mask * 9, "attention_mask": mask}, labels, torch.arange(len(LENGTHS)))
    return Scene(
        random_recording(STUDENT, len(LENGTHS), length, generator),
        random_recording(TEACHER, len(LENGTHS), length, generator),
        batch,
    )


#: Every loss with every option that changes what it computes.
LOSSES: dict[str, Callable[[bool], DistillationLoss]] = {
    "attention scores": lambda mask: AttentionLoss("scores", mask_padding=mask),
    "attention probabilities": lambda mask: AttentionLoss("probabilities", mask_padding=mask),
    "attention mean of heads": lambda mask: AttentionLoss("scores", mask_padding=mask, heads="mean"),
    "hidden": lambda mask: HiddenStateLoss(mask_padding=mask),
    "hidden normalised": lambda mask: HiddenStateLoss(normalise=True, mask_padding=mask),
    "hidden shared": lambda mask: HiddenStateLoss("shared", include_embeddings=True, mask_padding=mask),
    "embedding": lambda mask: EmbeddingLoss(mask_padding=mask),
    "logits kl": lambda mask: LogitLoss("kl", mask_padding=mask),
    "logits soft cross entropy": lambda mask: LogitLoss("soft_cross_entropy", mask_padding=mask),
    "relations": lambda mask: RelationLoss(num_relation_heads=4, mask_padding=mask),
    "labels": lambda mask: LabelLoss(mask_padding=mask),
}


@pytest.fixture(params=list(LOSSES))
def loss(request: pytest.FixtureRequest, task: Task, layer_map: LayerMap) -> DistillationLoss:
    """Each loss in turn, masking padding, bound and in float64."""
    torch.manual_seed(1)
    loss = LOSSES[request.param](True)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    return loss.double()
