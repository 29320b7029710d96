"""What a student takes over from its teacher before training, and the account of it, tensor by tensor."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from distill.models.families import family_of, intermediate_size
from distill.types import UserError

#: How a tensor came about: taken over as it is, seen through a linear map, fitted to the teacher's activations, drawn.
Origin = Literal["copied", "projected", "fitted", "random"]


@dataclass(frozen=True)
class InheritedTensor:
    """Where one tensor of the student comes from.

    Attributes:
        name: The student's tensor.
        shape: Its shape.
        origin: How it came about.
        source: The teacher's tensor, or nothing for random ones.
        kept: The share, from 0 to 1, of what the teacher's tensor does on sampled text that the student's still does
            (variance or energy, as the part has it); nothing where all of it is kept or none.
    """

    name: str
    shape: tuple[int, ...]
    origin: Origin
    source: str | None = None
    kept: float | None = None


@dataclass(frozen=True)
class Inheritance:
    """What a student took over.

    Attributes:
        init: The setting that asked for it.
        layers: The teacher layer, counted from 0, that each student layer starts from.
        tensors: Every parameter of the student.
    """

    init: str
    layers: tuple[int, ...]
    tensors: tuple[InheritedTensor, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the account as plain data for ``inheritance.json``."""
        return {"init": self.init, "layers": list(self.layers), "tensors": [asdict(tensor) for tensor in self.tensors]}

    def describe(self) -> str:
        """Return the account in one line: tensors and parameters by origin.

        Example:
            ``layers 1, 3 of the teacher: 25 tensors projected, 14 tensors fitted (100.0 % of 308,674 parameters
            inherited)``
        """
        counts = Counter(tensor.origin for tensor in self.tensors)
        sizes = {tensor.name: torch.Size(tensor.shape).numel() for tensor in self.tensors}
        total = sum(sizes.values())
        taken = sum(sizes[tensor.name] for tensor in self.tensors if tensor.origin != "random")
        origins = ", ".join(f"{count} tensors {origin}" for origin, count in counts.most_common())
        layers = ", ".join(str(layer) for layer in self.layers)
        return (
            f"layers {layers} of the teacher: {origins} ({100 * taken / total:.1f} % of {total:,} parameters inherited)"
        )


def check_same_widths(student: PreTrainedConfig, teacher: PreTrainedConfig) -> None:
    """Check that whole layers of the teacher fit into the student.

    Raises:
        UserError: If a width differs, or the family is not known.
    """
    family_of(teacher)
    for name, mine, other in _widths(student, teacher):
        if mine != other:
            raise UserError(
                f"student.init layers takes whole layers over, but the student's {name} is {mine} and the teacher's "
                f"{other}; make them equal or use init inherited"
            )


def check_not_wider(student: PreTrainedConfig, teacher: PreTrainedConfig) -> None:
    """Check that the student is in no respect wider than the teacher.

    Raises:
        UserError: If it is, or the family is not known.
    """
    family_of(teacher)
    head_widths = [config.hidden_size // config.num_attention_heads for config in (student, teacher)]
    for name, mine, other in [*_widths(student, teacher), ("hidden_size / num_heads", *head_widths)]:
        if mine > other:
            raise UserError(
                f"student.init inherited narrows the teacher, but the student's {name} is {mine} and the teacher's "
                f"{other}; give the student less, or use init random"
            )


def inherit_layers(student: PreTrainedModel, teacher: PreTrainedModel, layers: Sequence[int]) -> Inheritance:
    """Copy embeddings, head and the named layers of the teacher into a student of equal width.

    Student layer i takes teacher layer ``layers[i]`` (DistilBERT's start, arXiv 1910.01108, section 3); every other
    tensor takes the one of the same name. What the teacher lacks stays random.

    Args:
        student: A model of the teacher's family and width; changed in place.
        teacher: The model to copy from, in any precision.
        layers: One teacher layer, counted from 0, for each student layer.

    Raises:
        UserError: If a width differs, or the family is not known.
    """
    check_same_widths(student.config, teacher.config)
    prefix = f"{student.base_model_prefix}.{family_of(teacher.config).layers}."
    pattern = re.compile(rf"^{re.escape(prefix)}(\d+)\.")
    sources = dict(teacher.named_parameters(remove_duplicate=False))
    tensors = []
    for name, parameter in student.named_parameters():
        source = pattern.sub(lambda match: f"{prefix}{layers[int(match[1])]}.", name)
        shape = tuple(parameter.shape)
        if source in sources and sources[source].shape == parameter.shape:
            with torch.no_grad():
                parameter.copy_(sources[source])
            tensors.append(InheritedTensor(name, shape, "copied", source))
        else:
            tensors.append(InheritedTensor(name, shape, "random"))
    return Inheritance("layers", tuple(layers), tuple(tensors))


def _widths(student: PreTrainedConfig, teacher: PreTrainedConfig) -> list[tuple[str, int, int]]:
    return [
        ("hidden_size", student.hidden_size, teacher.hidden_size),
        ("num_heads", student.num_attention_heads, teacher.num_attention_heads),
        ("intermediate_size", intermediate_size(student), intermediate_size(teacher)),
    ]
