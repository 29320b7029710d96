"""The nouns that every part of the project shares.

Shape legend, used in every docstring: B batch, S sequence, H heads, D hidden width, d head width (D / H), L layers.
Hidden state 0 is the embedding output; hidden state l (1..L) is the output of layer l. Attention layers count 0..L-1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class UserError(ValueError):
    """A mistake in the user's input; its one-line message names the file, the item and the fix."""


class Answer(NamedTuple):
    """A reference answer: ``text == context[start_char : start_char + len(text)]``."""

    text: str
    start_char: int


@dataclass(frozen=True, slots=True)
class Example:
    """One question about one context, as read.

    ``answers`` is empty when the question is impossible. ``tags`` name the slices of the data on which scores are also
    reported separately (for instance ``unseen_wording``).
    """

    question_id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def is_impossible(self) -> bool:
        """Whether the context holds no answer."""
        return not self.answers


@dataclass(frozen=True, slots=True)
class Window:
    """One slice of a tokenised question and context pair, at its true length S_w (no padding).

    Attributes:
        window_id: Position of the window in its data set; stable under shuffling and sharding.
        example: The example that the window was cut from.
        context_token: Token span ``[start, end)`` of the context inside the window.
        offsets: Character span in the *original* context for each context token, so ``len == end - start``; pairs, or
            an array of two columns.
    """

    window_id: int
    example: Example
    context_token: tuple[int, int]
    offsets: Sequence[tuple[int, int]] | NDArray[np.integer[Any]]


@dataclass
class Batch:
    """Windows padded to the longest of the batch.

    Attributes:
        inputs: What the encoder takes, each (B, S): ``input_ids``, ``attention_mask`` (1 for real tokens) and
            ``token_type_ids`` where the tokenizer makes them.
        labels: What the label loss takes; for question answering ``start_positions`` and ``end_positions``, each (B,),
            for masked-language modelling ``token_ids``, (B, S), -100 where nothing was hidden; for token
            classification ``label_ids``, (B, S), -100 where no word begins; for classification ``class_ids``, (B,).
        window_ids: (B,) identifiers of the windows, for looking things up; they stay on the CPU.
        windows: The windows themselves, for decoding, of the kind that the task's evaluation takes (:class:`Window`
            in question answering); empty in training batches.
        task: The name of the task that the batch is of, where a run trains several.
        others: The other batches of the task whose gradients make up the same optimizer step; they stay on the CPU.
            None where there is an ``average``.
        weight: How much it counts in its step: more than 1 where an epoch ends with a step of fewer batches, which the
            Trainer divides alike. Of no use where there is an ``average``.
        average: What the batches of its data hold on average, where they hold more or less on purpose.
        is_padded: Whether any window is padded, as was seen before the batch left the CPU; None while it is there.
    """

    inputs: dict[str, Tensor]
    labels: dict[str, Tensor]
    window_ids: Tensor
    windows: list[Any] = field(default_factory=list)
    task: str | None = None
    others: Sequence[Batch] = ()
    weight: float = 1.0
    average: AverageBatch | None = None
    is_padded: bool | None = None

    @property
    def attention_mask(self) -> Tensor:
        """(B, S), 1 for real tokens and 0 for padding."""
        return self.inputs["attention_mask"]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on ``device``; Lightning calls this.

        Nobody waits for the copy to a GPU, which is then ahead of whatever reads it there.
        """
        target = torch.device(device)
        # On the way back the values would be read before they have arrived.
        moved = self._each(lambda tensor: tensor.to(target, non_blocking=target.type == "cuda"))
        mask = self.inputs.get("attention_mask")
        if mask is not None and mask.device.type == "cpu" != target.type:
            moved.is_padded = not bool(mask.all())
        return moved

    def pin_memory(self) -> Batch:
        """Return the batch in memory that a GPU reads by itself; loaders call this where there is one."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        inputs, labels = ({name: change(t) for name, t in part.items()} for part in (self.inputs, self.labels))
        return replace(self, inputs=inputs, labels=labels)


class AverageBatch:
    """What one process's batches of a pass hold on average, of whatever a loss counts.

    A loss that is divided by its average count, and not by the batch's own, sums over the steps of a pass to its mean
    over the whole pass, however unlike the batches are.

    Args:
        sample: Reads windows that stand for all, as batches on the CPU.
        share: What an average batch holds, as a share of what the sample holds.
    """

    def __init__(self, sample: Callable[[], Iterable[Batch]], share: float) -> None:
        self._sample = sample
        self._share = share

    def counts(self, count: Callable[[Batch], Mapping[str, Tensor]]) -> dict[str, float]:
        """Return the average of each of some counts of a batch."""
        sums: dict[str, float] = {}
        for batch in self._sample():
            for name, number in count(batch).items():
                sums[name] = sums.get(name, 0.0) + float(number)
        return {name: self._share * number for name, number in sums.items()}


class LayerMap(NamedTuple):
    """Which teacher layer each student layer learns from.

    Attributes:
        attention: Pairs (student layer, teacher layer), both counted from 0.
        hidden: Pairs (student state, teacher state), where state 0 is the embedding output; part of it only where a
            map by hand names it.
    """

    attention: tuple[tuple[int, int], ...]
    hidden: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ModelShape:
    """The sizes that losses and layer maps depend on."""

    num_layers: int
    hidden_size: int
    num_heads: int


@dataclass(frozen=True)
class RecordingPlan:
    """What to keep of a forward pass: nothing that is not named here is kept.

    Attributes:
        hidden_states: States to keep; 0 is the embedding output.
        attentions: Layers, counted from 0, whose queries and keys are kept.
        logits: Whether the head is needed at all.
        padding: Whether what was computed at padding counts too, and not only that of real tokens.
        values: Those of ``attentions`` whose values are kept too.
    """

    hidden_states: frozenset[int] = frozenset()
    attentions: frozenset[int] = frozenset()
    logits: bool = True
    padding: bool = False
    values: frozenset[int] = frozenset()

    def depth(self, num_layers: int) -> int:
        """Return how many of a model's layers are needed, from the first one on: all of them for logits."""
        if self.logits:
            return num_layers
        return max((*self.hidden_states, *(layer + 1 for layer in self.attentions)), default=0)

    def __or__(self, other: RecordingPlan) -> RecordingPlan:
        """Return the plan that keeps what either plan keeps."""
        return RecordingPlan(
            self.hidden_states | other.hidden_states,
            self.attentions | other.attentions,
            self.logits or other.logits,
            self.padding or other.padding,
            self.values | other.values,
        )


class AttentionInputs(NamedTuple):
    """What one attention layer multiplies, each (B, H, S, d); scores are ``scaling * query @ key^T``.

    Values are None where nothing needs them.
    """

    query: Tensor
    key: Tensor
    value: Tensor | None
    scaling: float


@dataclass
class Recording:
    """What was kept of one forward pass under a :class:`RecordingPlan`.

    Attributes:
        logits: The head's output; for question answering (B, S, 2), start and end; see each task's ``logits``.
        hidden_states: State index to (B, S, D).
        attentions: Layer index to the layer's queries, keys and values.
    """

    logits: Tensor | None = None
    hidden_states: dict[int, Tensor] = field(default_factory=dict)
    attentions: dict[int, AttentionInputs] = field(default_factory=dict)


@dataclass(frozen=True)
class Mean:
    """A mean that has not been divided yet, so that the means of several batches can be joined exactly.

    Attributes:
        total: (), the sum over all counted items, float32 or float64, differentiable.
        count: (), how many items were counted (tokens, questions); not differentiable.
    """

    total: Tensor
    count: Tensor

    @property
    def value(self) -> Tensor:
        """``total / count``, and 0 (with a gradient path) when nothing was counted."""
        return self.total / self.count.clamp_min(1)
