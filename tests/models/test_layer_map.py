"""Layer maps against the published tables, and what may go wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from distill.models.layer_map import (
    SeparateLayers,
    describe_layer_map,
    last_layer_map,
    map_layers,
    resolve_layer_map,
    skip_layer_map,
    uniform_layer_map,
)
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


@pytest.mark.parametrize(
    ("num_student", "num_teacher", "expected"),
    [
        # DistilBERT: one layer out of two.
        (6, 12, (0, 2, 4, 6, 8, 10)),
        (6, 24, (0, 4, 8, 12, 16, 20)),
        (5, 12, (0, 2, 4, 6, 8)),
        (3, 3, (0, 1, 2)),
        (1, 7, (0,)),
    ],
)
def test_skip(num_student: int, num_teacher: int, expected: tuple[int, ...]) -> None:
    assert skip_layer_map(num_student, num_teacher) == expected


def test_separate_lists_name_layers_and_states_apart() -> None:
    # The released code of SpanishTinyRoBERTa: attention i learns from 4 i + 3, state i from 4 i, state 0 included.
    separate = SeparateLayers(attention=[3, 7, 11, 15, 19, 23], hidden=[0, 4, 8, 12, 16, 20, 24])
    shapes = ModelShape(6, 512, 16), ModelShape(24, 1024, 16)
    resolved = resolve_layer_map(separate, *shapes)
    assert resolved.attention == tuple((i, 4 * i + 3) for i in range(6))
    assert resolved.hidden == tuple((i, 4 * i) for i in range(7))
    without = resolve_layer_map(SeparateLayers(separate.attention, separate.hidden[1:]), *shapes)
    assert without == resolve_layer_map("uniform", *shapes)


def test_maps_are_described_in_a_line() -> None:
    shapes = ModelShape(2, 8, 2), ModelShape(4, 8, 2)
    assert describe_layer_map(resolve_layer_map("uniform", *shapes)) == "layers 0<-1, 1<-3"
    separate = SeparateLayers([1, 3], [0, 2, 4])
    described = describe_layer_map(resolve_layer_map(separate, *shapes))
    assert described == "attention 0<-1, 1<-3; states 0<-0, 1<-2, 2<-4"


def test_similarity_is_uniform_until_the_models_were_looked_at() -> None:
    shapes = ModelShape(2, 8, 2), ModelShape(4, 8, 2)
    assert resolve_layer_map("similarity", *shapes) == resolve_layer_map("uniform", *shapes)
    assert resolve_layer_map("pruned", *shapes) == resolve_layer_map("uniform", *shapes)
    assert map_layers((1, 3)) == resolve_layer_map("uniform", *shapes)


@pytest.mark.parametrize(
    ("layer_map", "layers"), [("uniform", (1, 3)), ("last", (2, 3)), ("skip", (0, 2)), ([3, 0], (3, 0))]
)
def test_states_follow_layers(layer_map: str | Sequence[int], layers: tuple[int, int]) -> None:
    resolved = resolve_layer_map(layer_map, ModelShape(2, 8, 2), ModelShape(4, 8, 2))
    assert resolved.attention == ((0, layers[0]), (1, layers[1]))
    assert resolved.hidden == ((1, layers[0] + 1), (2, layers[1] + 1))


@pytest.mark.parametrize(
    ("layer_map", "num_student", "message"),
    [
        (
            "first",
            2,
            r"'first' is unknown; use uniform, last, skip, similarity, pruned or a list of 2 teacher layers",
        ),
        ("skip", 5, r"'skip' cannot map a student of 5 layers to a teacher of 4"),
        ("skip", 3, r"'skip' takes every k-th layer, .* it would get the first 3; use uniform, or list"),
        ("pruned", 5, r"'pruned' cannot map a student of 5 layers to a teacher of 4"),
        ("similarity", 5, r"'similarity' cannot map a student of 5 layers to a teacher of 4"),
        (SeparateLayers([1], [1, 2]), 2, r"has 1 entries, but the student has 2 layers"),
        (SeparateLayers([1, 2], [1]), 2, r"layer_map.hidden has 1 entries, but the student has 2 layers"),
        (SeparateLayers([1, 2], [0, 2, 5]), 2, r"layer_map.hidden\[2\] is 5, but the teacher's states are 0,"),
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
