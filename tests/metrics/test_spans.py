"""Spans and their F1, against hand counts and against conlleval's rules written down a second way."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.metrics.spans import SpanMetric, spans
from distill.tasks.tagging import CONLL_LABELS, TokenClassification
from tests.metrics.conlleval_rules import conlleval

KINDS = ("PER", "ORG", "LOC", "MISC")


def scores(predictions, references, kinds=KINDS) -> dict[str, float]:
    metric = SpanMetric(kinds)
    metric.update(predictions, references)
    return metric.compute()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-PER I-PER O", [(0, 2, "PER")]),
        ("I-PER I-PER O", [(0, 2, "PER")]),  # IOB1 and wrong BIO alike
        ("O I-PER B-PER I-PER", [(1, 2, "PER"), (2, 4, "PER")]),  # IOB1: B- parts neighbours
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("B-PER O I-PER", [(0, 1, "PER"), (2, 3, "PER")]),
        ("B-LOC B-LOC", [(0, 1, "LOC"), (1, 2, "LOC")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
    ],
)
def test_spans_by_hand(tags, expected):
    assert spans(tags.split()) == expected


@pytest.mark.parametrize("tag", ["", "B", "B-", "S-PER", "PER"])
def test_other_schemes_are_refused(tag):
    with pytest.raises(ValueError, match="BIO or IOB1"):
        spans([tag])


def test_scores_by_hand():
    """Two of three predicted spans are among four: P 2/3, R 1/2, F1 4/7."""
    references = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O", "B-LOC"]]
    predictions = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "O", "B-LOC"]]
    result = scores(predictions, references)
    assert result["precision"] == pytest.approx(200 / 3)
    assert result["recall"] == 50
    assert result["f1"] == pytest.approx(400 / 7)
    assert (result["PER/f1"], result["ORG/f1"]) == (100, 0)
    assert result["LOC/f1"] == pytest.approx(200 / 3)
    assert "MISC/f1" not in result
    assert result["accuracy"] == pytest.approx(500 / 7)
    assert result["exact_match"] == 0
    assert (result["num_sentences"], result["num_words"], result["num_spans"]) == (2, 7, 4)


def test_nothing_to_find_and_nothing_found_are_zero_as_in_conlleval():
    assert scores([["O"]], [["O"]])["f1"] == 0
    assert scores([], [])["f1"] == 0


def test_several_updates_add_up():
    metric, references = SpanMetric(KINDS), [["B-PER", "O"], ["B-LOC", "I-LOC"]]
    for sentence in references:
        metric.update([["B-PER", "O"]], [sentence])
    assert metric.compute() == scores([["B-PER", "O"]] * 2, references)


def test_sentences_of_other_lengths_and_repeated_types_are_refused():
    with pytest.raises(ValueError, match="argument 2 is"):
        scores([["O"]], [["O", "O"]])
    with pytest.raises(ValueError, match="must differ"):
        SpanMetric(["PER", "PER"])


sentence = st.lists(st.tuples(st.sampled_from(CONLL_LABELS), st.sampled_from(CONLL_LABELS)), max_size=12)


@given(st.lists(sentence, max_size=4))
def test_any_tags_score_as_conlleval_counts(pairs):
    predictions = [[mine for mine, _ in words] for words in pairs]
    references = [[other for _, other in words] for words in pairs]
    result = scores(predictions, references)
    assert {name: result[name] for name in ("precision", "recall", "f1")} == pytest.approx(
        conlleval(predictions, references)
    )


def _to_iob1(tags: list[str]) -> list[str]:
    """Return BIO tags as IOB1, where only a span behind another of its type begins with B-."""
    return [
        f"I{tag[1:]}" if tag[0] == "B" and (index == 0 or tags[index - 1][2:] != tag[2:]) else tag
        for index, tag in enumerate(tags)
    ]


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2, 0.8])
def test_whole_of_conll_2002_testb_scores_as_conlleval_counts(real_data, noise):
    task, rng = TokenClassification(), random.Random(7)
    sentences, counts = task.read([real_data / "ner" / "esp.testb"])
    assert counts == {"files": 1, "sentences": 1517, "words": 51533}
    references = [list(sentence.labels) for sentence in sentences]
    predictions = [[rng.choice(CONLL_LABELS) if rng.random() < noise else tag for tag in tags] for tags in references]
    expected = conlleval(predictions, references)
    result = scores(predictions, references)
    assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert result["num_spans"] == 3559  # 3,558 B- tags, and in line 9,291 an I-MISC behind O
    assert (result["f1"] == 100) == (noise == 0)
    as_iob1 = scores(predictions, [_to_iob1(tags) for tags in references])
    assert as_iob1["f1"] == result["f1"]
