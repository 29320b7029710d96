"""Which teacher layers a student's layers resemble, by centred kernel alignment, and the map that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill.models.recording import Recorder
from distill.types import Batch, RecordingPlan, UserError

#: Tokens on which states are compared: beyond a few thousand the similarities hardly change.
NUM_TOKENS = 2048


@dataclass(frozen=True)
class LayerSimilarity:
    """How alike the layers of two models are, and the teacher layer chosen for each student layer.

    Attributes:
        matrix: (L_s, L_t) linear CKA of what the layers put out, from 0 to 1.
        layers: The chosen teacher layers, counted from 0, strictly increasing.
    """

    matrix: tuple[tuple[float, ...], ...]
    layers: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data for ``layer_similarity.json``."""
        return {"measure": "linear CKA", "layers": list(self.layers), "matrix": [list(row) for row in self.matrix]}


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Return the linear centred kernel alignment of two representations of the same N tokens, from 0 to 1.

    ``|Y^T X|^2 / (|X^T X| |Y^T Y|)`` with centred columns and Frobenius norms (Kornblith et al. 2019, arXiv 1905.00414,
    section 3): 1 for representations that differ by rotation, shift and scale alone. 0 where one of them is constant.

    Args:
        first: X, (N, D_1).
        second: Y, (N, D_2).
    """
    x, y = (states.double() - states.double().mean(0) for states in (first, second))
    norms = (x.T @ x).norm() * (y.T @ y).norm()
    return float((y.T @ x).square().sum() / norms) if norms > 0 else 0.0


def monotone_assignment(matrix: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return for each row a column, strictly increasing from row to row, of the largest possible sum of entries.

    Found by dynamic programming; of equal sums the one with the earlier columns.

    Args:
        matrix: (L_s, L_t), L_s at most L_t.

    Raises:
        UserError: If there are more rows than columns.
    """
    num_rows, num_columns = len(matrix), len(matrix[0])
    if num_rows > num_columns:
        raise UserError(
            f"layer_map 'similarity' cannot map a student of {num_rows} layers to a teacher of {num_columns}; give the "
            "student fewer layers or list a teacher layer for each student layer"
        )
    # best[i][j]: the largest sum of the first i rows within the first j columns.
    best = [[0.0] * (num_columns + 1)]
    for row in matrix:
        sums = [-float("inf")]
        for column, value in enumerate(row):
            sums.append(max(sums[-1], best[-1][column] + value))
        best.append(sums)
    columns: list[int] = []
    column = num_columns
    for row_index in range(num_rows, 0, -1):
        while best[row_index][column] == best[row_index][column - 1]:
            column -= 1
        column -= 1
        columns.append(column)
    return tuple(reversed(columns))


def compare_layers(
    student: PreTrainedModel, teacher: PreTrainedModel, batches: Iterable[Batch], num_tokens: int = NUM_TOKENS
) -> LayerSimilarity:
    """Compare what every layer of two models puts out on the same text; choose a teacher layer for each student layer.

    Args:
        student: A model that reads the same ids as the teacher; put in evaluation mode for the moment.
        teacher: A frozen model.
        batches: Text.
        num_tokens: Real tokens to look at.

    Raises:
        UserError: If the student is deeper than the teacher, or a model's layers cannot be recorded.
    """
    was_training = student.training
    states = [_layer_outputs(model, batches, num_tokens) for model in (student.eval(), teacher)]
    student.train(was_training)
    matrix = tuple(tuple(linear_cka(mine, other) for other in states[1]) for mine in states[0])
    return LayerSimilarity(matrix, monotone_assignment(matrix))


def _layer_outputs(model: PreTrainedModel, batches: Iterable[Batch], num_tokens: int) -> list[Tensor]:
    """Return the outputs of all layers at up to ``num_tokens`` real tokens, (N, D) each."""
    recorder = Recorder(model)
    num_layers = model.config.num_hidden_layers
    plan = RecordingPlan(hidden_states=frozenset(range(1, num_layers + 1)), logits=False)
    kept: list[list[Tensor]] = [[] for _ in range(num_layers)]
    seen = 0
    for batch in batches:
        if seen >= num_tokens:
            break
        mask = batch.attention_mask.bool()
        with torch.no_grad():
            recording = recorder.record(batch.inputs, plan, lambda output: output)
        for layer, tensors in enumerate(kept):
            tensors.append(recording.hidden_states[layer + 1][mask][: num_tokens - seen].float())
        seen += int(mask.sum())
    return [torch.cat(tensors) for tensors in kept]
