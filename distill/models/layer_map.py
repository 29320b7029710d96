"""Layer maps: which teacher layer each student layer learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.types import LayerMap, ModelShape, UserError

#: The maps that are found by looking at the models: at both models' hidden states (:mod:`distill.models.similarity`),
#: or at what the teacher can do without (:mod:`distill.models.pruning`).
SIMILARITY = "similarity"
PRUNED = "pruned"


@dataclass(frozen=True)
class SeparateLayers:
    """A map by hand whose attention and hidden states follow different teacher layers.

    Attributes:
        attention: For each student layer the teacher layer, counted from 0.
        hidden: For each student state the teacher state, where state 0 is the embedding output and state l what layer
            l, counted from 1, puts out: one for each student layer, or one more in front for state 0.
    """

    attention: list[int]
    hidden: list[int]


def uniform_layer_map(num_student: int, num_teacher: int) -> tuple[int, ...]:
    """Spread the student's layers evenly over the teacher's, ending at its last.

    Student layer i learns from teacher layer ``round((i + 1) * num_teacher / num_student) - 1``, halves rounded up;
    12 layers from 24 gives 1, 3, ..., 23. This is TinyBERT's g(m) = m * N / M (arXiv 1909.10351, section 4.1),
    rounded where the teacher's layers are not a multiple of the student's.

    Returns:
        One teacher layer, counted from 0, for each student layer; strictly increasing.

    Raises:
        UserError: If the student has more layers than the teacher.
    """
    _check_not_deeper("uniform", num_student, num_teacher)
    # Integer arithmetic: Python's round() would send halves to the even neighbour and space the layers unevenly.
    return tuple((2 * m * num_teacher + num_student) // (2 * num_student) - 1 for m in range(1, num_student + 1))


def last_layer_map(num_student: int, num_teacher: int) -> tuple[int, ...]:
    """Let the student's layers learn from the teacher's last ``num_student`` layers, in order.

    Returns:
        One teacher layer, counted from 0, for each student layer.

    Raises:
        UserError: If the student has more layers than the teacher.
    """
    _check_not_deeper("last", num_student, num_teacher)
    return tuple(range(num_teacher - num_student, num_teacher))


def skip_layer_map(num_student: int, num_teacher: int) -> tuple[int, ...]:
    """Let the student's layers learn from every k-th layer of the teacher, beginning with its first.

    Student layer i learns from teacher layer ``i * floor(num_teacher / num_student)``; 6 layers from 12 gives 0, 2,
    ..., 10: one layer out of two, as DistilBERT is started (Sanh et al., arXiv 1910.01108, section 3).

    Returns:
        One teacher layer, counted from 0, for each student layer; strictly increasing. All, where both have as many.

    Raises:
        UserError: If the student has more than half of the teacher's layers, so that none would be skipped but the
            last ones.
    """
    _check_not_deeper("skip", num_student, num_teacher)
    stride = num_teacher // num_student
    if stride == 1 and num_student < num_teacher:
        raise UserError(
            f"layer_map 'skip' takes every k-th layer, but a student of {num_student} leaves none of a teacher's "
            f"{num_teacher} out in between: it would get the first {num_student}; use uniform, or list a teacher layer "
            "for each student layer"
        )
    return tuple(range(0, num_student * stride, stride))


def explicit_layer_map(teacher_layers: Sequence[int], num_student: int, num_teacher: int) -> tuple[int, ...]:
    """Check a map written by hand: entry i is the teacher layer, counted from 0, of student layer i.

    Raises:
        UserError: If there is not one entry for each student layer, or an entry is no layer of the teacher.
    """
    if len(teacher_layers) != num_student:
        raise UserError(
            f"layer_map has {len(teacher_layers)} entries, but the student has {num_student} layers; "
            "name one teacher layer for each student layer"
        )
    for student_layer, teacher_layer in enumerate(teacher_layers):
        if not 0 <= teacher_layer < num_teacher:
            raise UserError(
                f"layer_map[{student_layer}] is {teacher_layer}, but the teacher's layers are 0 to {num_teacher - 1}; "
                "choose one of them (layers count from 0)"
            )
    return tuple(teacher_layers)


_NAMED = {"uniform": uniform_layer_map, "last": last_layer_map, "skip": skip_layer_map}


def resolve_layer_map(
    layer_map: str | Sequence[int] | SeparateLayers, student: ModelShape, teacher: ModelShape
) -> LayerMap:
    """Return the pairs of layers and of states that ``layer_map`` stands for.

    Layer i learning from layer j pairs state i + 1, the output of layer i, with state j + 1. State 0 is mapped only
    where :class:`SeparateLayers` names it: embeddings have a loss of their own.

    Args:
        layer_map: ``"uniform"``, ``"last"``, ``"skip"``; ``"similarity"`` or ``"pruned"``, which stand for uniform
            until the models have been looked at; one teacher layer, counted from 0, for each student layer; or separate
            ones for attention and hidden states.
        student: The student's sizes.
        teacher: The teacher's sizes.

    Raises:
        UserError: If the name is unknown, a list has the wrong length, or an entry is out of range.
    """
    if isinstance(layer_map, SeparateLayers):
        return _separate(layer_map, student, teacher)
    if not isinstance(layer_map, str):
        layers = explicit_layer_map(layer_map, student.num_layers, teacher.num_layers)
    elif layer_map in (SIMILARITY, PRUNED):
        _check_not_deeper(layer_map, student.num_layers, teacher.num_layers)
        layers = uniform_layer_map(student.num_layers, teacher.num_layers)
    elif layer_map in _NAMED:
        layers = _NAMED[layer_map](student.num_layers, teacher.num_layers)
    else:
        raise UserError(
            f"layer_map {layer_map!r} is unknown; use {', '.join((*_NAMED, SIMILARITY, PRUNED))} or a list of "
            f"{student.num_layers} teacher layers from 0 to {teacher.num_layers - 1}"
        )
    return map_layers(layers)


def map_layers(layers: Sequence[int]) -> LayerMap:
    """Return the map in which student layer i learns from teacher layer ``layers[i]``, attention and output alike."""
    return LayerMap(
        attention=tuple(enumerate(layers)),
        hidden=tuple((student_layer + 1, teacher_layer + 1) for student_layer, teacher_layer in enumerate(layers)),
    )


def describe_layer_map(layer_map: LayerMap) -> str:
    """Return a map in one line: student layer or state, then the teacher's, from 0; states only where they differ.

    Example:
        ``layers 0<-1, 1<-3``, or ``attention 0<-1, 1<-3; states 0<-0, 1<-2, 2<-4``
    """

    def pairs(items: Sequence[tuple[int, int]]) -> str:
        return ", ".join(f"{student}<-{teacher}" for student, teacher in items)

    if layer_map == map_layers([teacher for _, teacher in layer_map.attention]):
        return f"layers {pairs(layer_map.attention)}"
    return f"attention {pairs(layer_map.attention)}; states {pairs(layer_map.hidden)}"


def _separate(layer_map: SeparateLayers, student: ModelShape, teacher: ModelShape) -> LayerMap:
    attention = explicit_layer_map(layer_map.attention, student.num_layers, teacher.num_layers)
    hidden, num_layers = layer_map.hidden, student.num_layers
    if len(hidden) not in (num_layers, num_layers + 1):
        raise UserError(
            f"layer_map.hidden has {len(hidden)} entries, but the student has {num_layers} layers; name one teacher "
            f"state for each, or {num_layers + 1} with state 0, the embedding output, in front"
        )
    for index, state in enumerate(hidden):
        if not 0 <= state <= teacher.num_layers:
            raise UserError(
                f"layer_map.hidden[{index}] is {state}, but the teacher's states are 0, the embedding output, to "
                f"{teacher.num_layers}; choose one of them"
            )
    return LayerMap(
        attention=tuple(enumerate(attention)), hidden=tuple(enumerate(hidden, start=num_layers + 1 - len(hidden)))
    )


def _check_not_deeper(name: str, num_student: int, num_teacher: int) -> None:
    if num_student > num_teacher:
        raise UserError(
            f"layer_map {name!r} cannot map a student of {num_student} layers to a teacher of {num_teacher}; "
            "give the student fewer layers or list a teacher layer for each student layer"
        )
