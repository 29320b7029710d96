"""Layer maps: which teacher layer each student layer learns from."""

from __future__ import annotations

from collections.abc import Sequence

from distill.types import LayerMap, ModelShape, UserError


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


_NAMED = {"uniform": uniform_layer_map, "last": last_layer_map}


def resolve_layer_map(layer_map: str | Sequence[int], student: ModelShape, teacher: ModelShape) -> LayerMap:
    """Return the pairs of layers and of states that ``layer_map`` stands for.

    Layer i learning from layer j pairs state i + 1, the output of layer i, with state j + 1. State 0 is not mapped:
    embeddings have a loss of their own.

    Args:
        layer_map: ``"uniform"``, ``"last"``, or one teacher layer, counted from 0, for each student layer.
        student: The student's sizes.
        teacher: The teacher's sizes.

    Raises:
        UserError: If the name is unknown, the list has the wrong length, or an entry is out of range.
    """
    if not isinstance(layer_map, str):
        layers = explicit_layer_map(layer_map, student.num_layers, teacher.num_layers)
    elif layer_map in _NAMED:
        layers = _NAMED[layer_map](student.num_layers, teacher.num_layers)
    else:
        raise UserError(
            f"layer_map {layer_map!r} is unknown; use {', '.join(_NAMED)} or a list of {student.num_layers} teacher "
            f"layers from 0 to {teacher.num_layers - 1}"
        )
    return LayerMap(
        attention=tuple(enumerate(layers)),
        hidden=tuple((student_layer + 1, teacher_layer + 1) for student_layer, teacher_layer in enumerate(layers)),
    )


def _check_not_deeper(name: str, num_student: int, num_teacher: int) -> None:
    if num_student > num_teacher:
        raise UserError(
            f"layer_map {name!r} cannot map a student of {num_student} layers to a teacher of {num_teacher}; "
            "give the student fewer layers or list a teacher layer for each student layer"
        )
