"""Exact match and F1 of extracted answers, by the MLQA rules and, side by side, by the SQuAD rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from distill.metrics.normalize import normalize_mlqa, normalize_squad

Normalizer = Callable[[str], str]

#: What a question without an answer is compared with.
NO_ANSWER = ("",)
#: Names that a tag cannot take, because scores of that name mean something else.
RESERVED_TAGS = frozenset({"", "squad", "has_answer", "no_answer"})

_SCORES = ("exact_match", "f1")


def exact_match(prediction: str, references: Sequence[str], normalize: Normalizer) -> float:
    """Return 1.0 if the normalised prediction equals any normalised reference, else 0.0.

    A question without an answer has the references ``[""]``: 1.0 if the prediction normalises to nothing.

    Raises:
        ValueError: If there is no reference.

    Example:
        >>> exact_match("la Universidad de Sevilla", ["Universidad de Sevilla"], partial(normalize_mlqa, language="es"))
        1.0
    """
    _check_references(references)
    return _exact_match(*_normalized(prediction, references, normalize))


def f1(prediction: str, references: Sequence[str], normalize: Normalizer) -> float:
    """Return the highest token F1 of the prediction over the references, 0.0 to 1.0.

    With multisets of whitespace tokens of the normalised texts, ``F1 = 2 common / (predicted + expected)``, and 0.0
    without a common token, so that an answer that normalises to nothing earns 0.0 as in the official v1.1 script. A
    question without an answer has the references ``[""]``: 1.0 if the prediction normalises to nothing (SQuAD v2.0).

    Raises:
        ValueError: If there is no reference.

    Example:
        >>> f1("el rey Felipe II", ["Felipe II"], partial(normalize_mlqa, language="es"))
        0.8
    """
    _check_references(references)
    return _f1(*_normalized(prediction, references, normalize), references)


def question_scores(prediction: str, answers: Sequence[str], language: str) -> dict[str, float]:
    """Return one question's ``exact_match`` and ``f1`` by the MLQA rules, 0 to 100; no answers: it has none.

    Example:
        >>> question_scores("el rey Felipe II", ["Felipe II"], "es")
        {'exact_match': 0.0, 'f1': 80.0}
    """
    references = answers or NO_ANSWER
    predicted, expected = _normalized(prediction, references, partial(normalize_mlqa, language=language))
    return {
        "exact_match": 100 * _exact_match(predicted, expected),
        "f1": 100 * _f1(predicted, expected, references),
    }


def nonempty_references(references: Sequence[str], normalize: Normalizer) -> Sequence[str]:
    """Return the references that normalise to something, or ``[""]`` if none does, as the v2.0 script reads them.

    Example:
        >>> nonempty_references(["The", "the Beatles"], normalize_squad)
        ('the Beatles',)
        >>> nonempty_references([], normalize_squad)
        ('',)
    """
    return tuple(reference for reference in references if normalize(reference)) or NO_ANSWER


def _normalized(prediction: str, references: Sequence[str], normalize: Normalizer) -> tuple[str, list[str]]:
    return normalize(prediction), [normalize(reference) for reference in references]


def _exact_match(predicted: str, expected: Sequence[str]) -> float:
    """Return the exact match of normalised texts."""
    return float(predicted in expected)


def _f1(predicted: str, expected: Sequence[str], references: Sequence[str]) -> float:
    """Return the F1 of normalised texts; the references as they were tell whether there is an answer."""
    if tuple(references) == NO_ANSWER:
        return float(not predicted)
    if predicted and predicted in expected:
        return 1.0
    return max(_token_f1(predicted, reference) for reference in expected)


# By MLQA's rules and by SQuAD's most texts are the same, and the report asks for each question's score once more.
@lru_cache(1 << 15)
def _token_f1(predicted: str, expected: str) -> float:
    words, others = predicted.split(), expected.split()
    common = (Counter(words) & Counter(others)).total()
    return 2 * common / (len(words) + len(others)) if common else 0.0


def _check_references(references: Sequence[str]) -> None:
    if not references:
        raise ValueError('no reference to compare with: a question without an answer has the references [""]')


class SquadMetric(Metric):
    """Exact match and F1 over questions, accumulated as sums and counts so that totals are exact on any process count.

    :meth:`compute` returns percentages, 0 to 100:

    - ``exact_match``, ``f1``: the official MLQA rules of the language; the main figures.
    - ``squad/exact_match``, ``squad/f1``: the official SQuAD script for the same questions, v1.1 if all of them have an
      answer and v2.0 otherwise. (They differ only for references that normalise to nothing.)
    - ``has_answer/...``, ``no_answer/...``: MLQA scores of either kind of question, if both kinds were seen.
    - ``<tag>/...``: MLQA scores of the questions that carry the tag, if any was seen.
    - ``num_questions``: how many questions were scored (a count).

    Args:
        language: Language of the answers, one of :data:`~distill.metrics.normalize.LANGUAGES`.
        tags: Names of slices that are scored on their own as well. Every process must name the same ones.
        **kwargs: Options of every torchmetrics ``Metric``, such as ``sync_on_compute``.

    Raises:
        ValueError: If the language is unknown, or a tag is repeated or has a reserved name.

    Example:
        >>> metric = SquadMetric()
        >>> metric.update(["¿quién?", "Madrid"], [["quién"], []])
        >>> scores = metric.compute()
        >>> scores["exact_match"], scores["has_answer/f1"], scores["no_answer/f1"]
        (50.0, 100.0, 0.0)
    """

    full_state_update = False
    higher_is_better = True

    totals: Tensor
    counts: Tensor

    def __init__(self, language: str = "es", tags: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(set(tags)) < len(tags) or RESERVED_TAGS & set(tags):
            raise ValueError(f"tags must differ and be none of {sorted(RESERVED_TAGS)}: got {list(tags)}")
        normalize_mlqa("", language)
        self.language = language
        self.slices = ("all", "has_answer", "no_answer", *tags)
        # Columns: exact match and F1 by MLQA, by SQuAD v1.1 and by SQuAD v2.0.
        self.add_state("totals", torch.zeros(len(self.slices), 6, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(self.slices), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        tags: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Add questions: a prediction each, all its reference answers (none: it has no answer) and its tags.

        Raises:
            ValueError: If the lengths differ, or a tag was not named to the constructor.
        """
        tags = [()] * len(predictions) if tags is None else tags
        if not len(predictions) == len(references) == len(tags):
            raise ValueError(
                f"got {len(predictions)} predictions, {len(references)} reference lists and {len(tags)} tag lists: "
                "one of each is needed per question"
            )
        # One entry for each question and slice that it is in; added up in the order of the questions.
        questions, rows = [], []
        for index, (answers, names) in enumerate(zip(references, tags, strict=True)):
            of_question = [0, 1 if answers else 2, *{self._tag_row(name) for name in names}]
            questions += [index] * len(of_question)
            rows += of_question
        pairs = zip(predictions, references, strict=True)
        scores = torch.tensor([self._scores(*pair) for pair in pairs], dtype=self.totals.dtype).reshape(-1, 6)
        slices, num_slices = torch.tensor(rows, dtype=torch.int64), len(self.slices)
        totals = [slices.bincount(column, minlength=num_slices) for column in scores[questions].unbind(1)]
        self.totals += torch.stack(totals, dim=1).to(self.totals.device)
        self.counts += slices.bincount(minlength=num_slices).to(self.counts.device)

    def compute(self) -> dict[str, float]:
        """Return the percentages named above; without any question all of them are 0.0."""
        means = (100 * self.totals / self.counts.clamp_min(1).unsqueeze(1)).tolist()
        counts = dict(zip(self.slices, self.counts.tolist(), strict=True))
        mlqa = {name: dict(zip(_SCORES, row[:2], strict=True)) for name, row in zip(self.slices, means, strict=True)}
        official = means[0][4:] if counts["no_answer"] else means[0][2:4]

        scores = dict(mlqa["all"])
        scores |= {f"squad/{score}": value for score, value in zip(_SCORES, official, strict=True)}
        is_split = counts["has_answer"] > 0 and counts["no_answer"] > 0
        for name in self.slices[1:]:
            is_shown = is_split if name in ("has_answer", "no_answer") else counts[name] > 0
            if is_shown:
                scores |= {f"{name}/{score}": value for score, value in mlqa[name].items()}
        return scores | {"num_questions": float(counts["all"])}

    def _tag_row(self, tag: str) -> int:
        if tag not in self.slices[3:]:
            raise ValueError(f"unknown tag {tag!r}: name it in `tags` when building the metric")
        return self.slices.index(tag)

    def _scores(self, prediction: str, answers: Sequence[str]) -> list[float]:
        references = answers or NO_ANSWER
        predicted, expected = _normalized(prediction, references, partial(normalize_mlqa, language=self.language))
        scores = [_exact_match(predicted, expected), _f1(predicted, expected, references)]
        predicted, expected = _normalized(prediction, references, normalize_squad)
        scores += [_exact_match(predicted, expected), _f1(predicted, expected, references)]
        # As nonempty_references has it.
        nonempty = [reference for reference in expected if reference] or NO_ANSWER
        return [*scores, _exact_match(predicted, nonempty), _f1(predicted, nonempty, nonempty)]
