import itertools

import pytest
import torch

from distill.models.similarity import compare_layers, linear_cka, monotone_assignment
from distill.types import UserError

from .tiny import CONFIGS, lively, text_batch


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cka_equals_the_definition_by_kernels():
    x, y = randn(30, 4), randn(30, 6, seed=1)
    centre = torch.eye(30).double() - 1 / 30
    k, m = (centre @ states @ states.T @ centre for states in (x, y))
    hsic = [(a * b).sum() for a, b in ((k, m), (k, k), (m, m))]
    assert linear_cka(x, y) == pytest.approx(float(hsic[0] / (hsic[1] * hsic[2]).sqrt()), abs=1e-12)


def test_cka_sees_no_rotation_shift_or_scale_and_nothing_in_constants():
    x = randn(50, 5)
    rotation = torch.linalg.qr(randn(5, 5, seed=1)).Q
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)
    assert linear_cka(x, randn(50, 5, seed=2)) < 0.3
    assert linear_cka(x, torch.ones(50, 3)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 5), (3, 3), (3, 6), (4, 7)])
def test_assignment_is_the_best_of_all(shape):
    matrix = randn(*shape, seed=sum(shape)).tolist()
    every = itertools.combinations(range(shape[1]), shape[0])
    best = max(every, key=lambda columns: sum(matrix[row][column] for row, column in enumerate(columns)))
    assert monotone_assignment(matrix) == best


def test_assignment_keeps_the_order_even_where_rows_want_another():
    assert monotone_assignment([[0.0, 0.0, 1.0], [0.9, 0.1, 0.0]]) == (0, 1)
    assert monotone_assignment([[0.5, 0.5, 0.5]]) == (0,)


def test_more_rows_than_columns_are_refused():
    with pytest.raises(UserError, match="student of 3 layers to a teacher of 2"):
        monotone_assignment([[0.0, 0.0]] * 3)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_copied_layers_are_found_again(family):
    teacher = lively(CONFIGS[family])
    shallow = lively(type(CONFIGS[family]).from_dict({**CONFIGS[family].to_dict(), "num_hidden_layers": 2}))
    shallow.load_state_dict(teacher.state_dict(), strict=False)
    shallow.train()
    found = compare_layers(shallow, teacher, [text_batch(), text_batch(seed=1)])
    assert found.layers == (0, 1)
    assert found.matrix[0][0] == pytest.approx(1, abs=1e-6)
    assert found.matrix[1][1] == pytest.approx(1, abs=1e-6)
    assert len(found.matrix) == 2
    assert all(len(row) == 3 for row in found.matrix)
    assert shallow.training
    assert found.as_dict()["layers"] == [0, 1]
