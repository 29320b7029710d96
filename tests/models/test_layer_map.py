"""Layer maps against the published tables, and what may go wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from distill.models.layer_map import last_layer_map, resolve_layer_map, uniform_layer_map
from distill.types import ModelShape, UserError


@pytest.mark.parametrize(
    ("num_student", "num_teacher", "expected"),
    [
        # The released code of SpanishTinyRoBERTa: student i learns from teacher 4 i + 3.
        (6, 24, (3, 7, 11, 15, 19, 23)),
        # TinyBERT with 4 and 6 layers from 12: g(m) = 3 m and 2 m, counted from 1.
        (4, 12, (2, 5, 8, 11)),
        (6, 12, (1, 3, 5, 7, 9, 11)),
        # Not a multiple: 2.4, 4.8, 7.2, 9.6, 12, rounded.
        (5, 12, (1, 4, 6, 9, 11)),
        # Halves go up, so that no step is longer than the next: 1.5, 3, 4.5, 6.
        (4, 6, (1, 2, 4, 5)),
        (3, 3, (0, 1, 2)),
        (1, 24, (23,)),
    ],
)
def test_uniform(num_student: int, num_teacher: int, expected: tuple[int, ...]) -> None:
    assert uniform_layer_map(num_student, num_teacher) == expected


def test_uniform_is_strictly_increasing_and_ends_at_the_last_layer() -> None:
    for num_teacher in range(1, 30):
        for num_student in range(1, num_teacher + 1):
            layers = uniform_layer_map(num_student, num_teacher)
            assert len(layers) == num_student
            assert list(layers) == sorted(set(layers))
            assert layers[0] >= 0
            assert layers[-1] == num_teacher - 1


def test_last() -> None:
    assert last_layer_map(3, 8) == (5, 6, 7)


@pytest.mark.parametrize(("layer_map", "layers"), [("uniform", (1, 3)), ("last", (2, 3)), ([3, 0], (3, 0))])
def test_states_follow_layers(layer_map: str | Sequence[int], layers: tuple[int, int]) -> None:
    resolved = resolve_layer_map(layer_map, ModelShape(2, 8, 2), ModelShape(4, 8, 2))
    assert resolved.attention == ((0, layers[0]), (1, layers[1]))
    assert resolved.hidden == ((1, layers[0] + 1), (2, layers[1] + 1))


@pytest.mark.parametrize(
    ("layer_map", "num_student", "message"),
    [
        ("skip", 2, r"'skip' is unknown; use uniform, last or a list of 2 teacher layers from 0 to 3"),
        ([1], 2, r"has 1 entries, but the student has 2 layers"),
        ([1, 4], 2, r"layer_map\[1\] is 4, but the teacher's layers are 0 to 3"),
        ([-1, 3], 2, r"layer_map\[0\] is -1, but the teacher's layers are 0 to 3"),
        ("uniform", 5, r"'uniform' cannot map a student of 5 layers to a teacher of 4"),
        ("last", 5, r"'last' cannot map a student of 5 layers to a teacher of 4"),
    ],
)
def test_bad_maps_are_errors(layer_map: str | Sequence[int], num_student: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_layer_map(layer_map, ModelShape(num_student, 8, 2), ModelShape(4, 8, 2))
