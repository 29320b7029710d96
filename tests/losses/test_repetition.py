import math

import pytest
import torch

from distill.losses.repetition import RepetitionLoss
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import AttentionInputs, Batch, ModelShape, Recording, UserError

SHAPE = ModelShape(num_layers=2, hidden_size=8, num_heads=2)


def make_batch(rows: list[list[int]], padding: int = 0) -> Batch:
    ids = torch.tensor([row + [1] * padding for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * padding for row in rows])
    return Batch({"input_ids": ids, "attention_mask": mask}, {}, torch.arange(len(rows)))


def compute(query: torch.Tensor, key: torch.Tensor, batch: Batch, num_heads: int = 1):
    loss = RepetitionLoss(layer=1, num_heads=num_heads)
    loss.bind(SHAPE, None, None, QuestionAnswering())
    return loss(Recording(attentions={1: AttentionInputs(query, key, key, 0.5)}), None, batch)


def test_uniform_attention_gives_the_value_computed_by_hand():
    # Tokens 7 8 7 9: only the sevens repeat, each once, among four places.
    zeros = torch.zeros(1, 2, 4, 3)
    mean = compute(zeros, zeros, make_batch([[7, 8, 7, 9]]))
    assert int(mean.count) == 2
    assert float(mean.value) == pytest.approx(math.log(4))


def test_value_equals_the_formula_written_out():
    torch.manual_seed(0)
    query, key = torch.randn(2, 2, 5, 3, dtype=torch.float64), torch.randn(2, 2, 5, 3, dtype=torch.float64)
    rows = [[5, 6, 5, 5, 7], [8, 9, 9, 6, 4]]
    expected = []
    for b, row in enumerate(rows):
        for h in range(2):
            attention = torch.softmax(0.5 * query[b, h] @ key[b, h].T, dim=-1)
            for i, token in enumerate(row):
                mass = [attention[i, j] for j, other in enumerate(row) if other == token and j != i]
                if mass:
                    expected.append(-torch.log(sum(mass)))
    mean = compute(query, key, make_batch(rows), num_heads=2)
    assert int(mean.count) == len(expected)
    assert float(mean.value) == pytest.approx(float(sum(expected) / len(expected)), abs=1e-9)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    query, key = torch.randn(1, 2, 6, 3), torch.randn(1, 2, 6, 3)
    short = compute(query[:, :, :4], key[:, :, :4], make_batch([[5, 6, 5, 6]]))
    padded = compute(query, key, make_batch([[5, 6, 5, 6]], padding=2))
    assert torch.allclose(short.total, padded.total)
    assert int(short.count) == int(padded.count) == 4


def test_window_without_repetitions_gives_zero_with_a_gradient_path():
    query = torch.randn(1, 2, 3, 3, requires_grad=True)
    mean = compute(query, query, make_batch([[5, 6, 7]]))
    mean.value.backward()
    assert float(mean.value) == 0.0
    assert torch.equal(query.grad, torch.zeros_like(query))


def test_gradient_reaches_the_taught_heads_alone():
    query = torch.randn(1, 2, 4, 3, requires_grad=True)
    compute(query, query.detach(), make_batch([[5, 6, 5, 6]])).value.backward()
    assert query.grad[:, 0].abs().sum() > 0
    assert query.grad[:, 1].abs().sum() == 0


@pytest.mark.parametrize("settings", [{"layer": 2}, {"num_heads": 3}])
def test_layer_or_head_that_the_student_lacks_is_refused(settings):
    with pytest.raises(UserError, match="2 layers of 2 heads"):
        RepetitionLoss(**settings).bind(SHAPE, None, None, QuestionAnswering())


def test_numbers_out_of_range_are_refused():
    with pytest.raises(UserError, match="layer must be 0 or more"):
        RepetitionLoss(layer=-1)
