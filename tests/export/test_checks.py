import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from distill.export.checks import (
    FormatFigures,
    changed_answers,
    describe,
    find_problems,
    margin,
    max_difference,
    score_intervals,
    without_padding,
)
from distill.metrics.bootstrap import Interval
from distill.reporting.latency import Latency, RelativeTime
from distill.tasks.question_answering.answers import Candidate, ChosenAnswer
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Answer, Batch, Example

TASK = QuestionAnswering()
REFERENCE = FormatFigures(
    dtype="float32",
    size_bytes=100,
    max_difference={"padded": 0.0, "unpadded": 0.0},
    scores={"exact_match": 70.0, "f1": 80.0},
    intervals={"exact_match": Interval(65.0, 75.0), "f1": Interval(75.0, 85.0)},
    changed_answers={},
    latency={(1, 384): Latency(10.0, 12.0, 100.0), (8, 384): Latency(80.0, 90.0, 100.0)},
    relative_time={(1, 384): RelativeTime(1.0, 1.0, 1.0), (8, 384): RelativeTime(1.0, 1.0, 1.0)},
)


class Fixed(nn.Module):
    """Gives the same logits whatever it is asked."""

    def __init__(self, start: torch.Tensor, end: torch.Tensor) -> None:
        super().__init__()
        self.output = QuestionAnsweringModelOutput(start_logits=start, end_logits=end)

    def forward(self, **_):
        return self.output


def test_nothing_speaks_against_the_reference():
    assert find_problems(REFERENCE, REFERENCE) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"scores": {"f1": 79.5}}, []),
        ({"scores": {"f1": 79.4}}, ["loses 0.60 F1"]),
        ({"scores": {"f1": 90.0}}, []),
        ({"max_difference": {"padded": 0.0, "unpadded": 2e-4}}, ["logits differ by 2.0e-04"]),
        ({"max_difference": {"padded": float("nan"), "unpadded": 0.0}}, ["logits differ by nan"]),
        ({"max_difference": {"padded": 0.5, "unpadded": 0.5}, "dtype": "int8"}, []),
        ({"changed_answers": {"q1": 9e-5}}, []),
        ({"changed_answers": {"q1": 9e-5, "q2": 2e-4, "q3": None}}, ["answers 2 questions otherwise"]),
        ({"changed_answers": {"q1": 1.0}, "dtype": "int8"}, []),
        (
            {"relative_time": {(1, 384): RelativeTime(1.4, 1.5, 1.6)}},
            ["slower at 1 x 384: 1.50x the time, 1.40 to 1.60 in half of the rounds"],
        ),
        # Faster by itself, slower in batches.
        (
            {"relative_time": {(1, 384): RelativeTime(0.7, 0.8, 0.9), (8, 384): RelativeTime(1.1, 1.2, 1.3)}},
            ["slower at 8 x 384: 1.20x the time, 1.10 to 1.30 in half of the rounds"],
        ),
        # Within the spread of the rounds.
        ({"relative_time": {(1, 384): RelativeTime(0.99, 1.02, 1.05)}}, []),
    ],
)
def test_problems_are_named(change, expected):
    assert find_problems(replace(REFERENCE, **change), REFERENCE) == expected


def test_difference_is_the_largest_on_real_tokens():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    zeros = torch.zeros(2, 3)
    start, end = zeros.clone(), zeros.clone()
    start[0, 2] = 9.0  # padding
    start[1, 0], end[1, 2] = 0.25, -0.5
    inputs = {"input_ids": mask, "attention_mask": mask}
    assert max_difference(Fixed(start, end), Fixed(zeros, zeros), TASK, [inputs]) == 0.5
    assert max_difference(Fixed(zeros, zeros), Fixed(zeros, zeros), TASK, [inputs]) == 0.0
    broken = Fixed(torch.full((2, 3), torch.nan), zeros)
    assert not max_difference(broken, Fixed(zeros, zeros), TASK, [inputs]) <= 1.0


@pytest.mark.parametrize("padding_left", [False, True])
def test_windows_lose_their_padding_wherever_it_stands(padding_left):
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    ids = torch.tensor([[5, 6, 0], [7, 8, 9]])
    if padding_left:
        mask, ids = torch.tensor([[0, 1, 1], [1, 1, 1]]), torch.tensor([[0, 5, 6], [7, 8, 9]])
    singles = without_padding(Batch({"input_ids": ids, "attention_mask": mask}, {}, torch.arange(2)))
    assert [single["input_ids"].tolist() for single in singles] == [[[5, 6]], [[7, 8, 9]]]
    assert all(bool(single["attention_mask"].all()) for single in singles)


def test_intervals_lie_around_the_scores_of_the_metric():
    examples = [
        Example(f"q{i}", "¿Dónde?", f"Nació en Cádiz. {i}", (Answer("Cádiz", 9),) if i % 4 else ()) for i in range(80)
    ]
    predictions = {f"q{i}": ("Cádiz" if i % 2 else "") for i in range(80)}
    intervals = score_intervals(examples, predictions, "es")
    # Every odd question has the answer, every fourth rightly has none.
    assert intervals["exact_match"].low < 75.0 < intervals["exact_match"].high
    assert intervals["exact_match"] == intervals["f1"]


def chosen(text: str, *scores: float, null_score: float = -9.0) -> ChosenAnswer:
    candidates = tuple(Candidate(text, score, 0, len(text)) for score in scores)
    return ChosenAnswer(text, max(scores, default=-math.inf), null_score, candidates)


@pytest.mark.parametrize(
    ("answer", "null_threshold", "expected"),
    [
        (chosen("x", 5.0, 3.0, 2.0), None, 2.0),
        (chosen("x", 5.0, 3.0, null_score=4.0), None, 2.0),
        (chosen("x", 5.0, 3.0, null_score=4.0), 0.0, 1.0),
        (chosen("x", 5.0, 3.0, null_score=4.0), -1.5, 0.5),
        (chosen("x", 5.0), None, None),
        (chosen("", null_score=1.0), 0.0, None),
        (chosen(""), None, None),
    ],
)
def test_margin_is_that_between_the_best_two(answer, null_threshold, expected):
    assert margin(answer, null_threshold) == expected


def test_changed_answers_are_listed_with_their_margins():
    reference = {"a": chosen("x", 5.0, 3.0), "b": chosen("z", 5.0, 4.5), "c": chosen("w", 2.0)}
    answers = {"a": chosen("x", 9.0), "b": chosen("y", 5.0), "c": chosen("", 2.0)}
    assert changed_answers(answers, reference, None) == {"b": 0.5, "c": None}


def test_description_is_plain_data():
    described = describe(REFERENCE, ["loses 0.60 F1"])
    assert described["f1"] == 80.0
    assert described["intervals"]["f1"] == [75.0, 85.0]
    assert [(row["batch_size"], row["length"], row["p50_ms"]) for row in described["latency"]] == [
        (1, 384, 10.0),
        (8, 384, 80.0),
    ]
    assert described["latency"][1]["relative_time"] == {"low": 1.0, "median": 1.0, "high": 1.0}
    assert described["problems"] == ["loses 0.60 F1"]
