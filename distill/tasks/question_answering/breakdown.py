"""Groups of questions whose scores tell where a model errs: by what they ask for and by how long the answer is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from distill.metrics.normalize import normalize_mlqa
from distill.types import Example

#: Label of the questions that ask with none of the known words.
OTHER = "other"

#: Label to pattern, in the order in which groups are shown.
_QUESTION_WORDS: dict[str, dict[str, str]] = {
    "es": {
        "qué": "qué",
        "quién": "quién(?:es)?",
        "cuándo": "cuándo",
        "dónde": "a?dónde",
        "cuánto": "cuánt[oa]s?|cuán",
        "cuál": "cuál(?:es)?",
        "cómo": "cómo",
        "por qué": r"por\s+qué",
    },
    "en": {
        "what": "what",
        "who": "who|whom|whose",
        "when": "when",
        "where": "where",
        "how many": r"how\s+(?:many|much|long|far|old)",
        "which": "which",
        "how": r"how(?!\s+(?:many|much|long|far|old)\b)",
        "why": "why",
    },
}

#: What may stand before the question word of a question that is written without accents.
_OPENING = r"\W*(?:(?:a|ante|con|de|desde|en|hacia|hasta|para|sobre|tras)\s+)?"

#: Label and longest answer of each group, in words; longer ones fall into the group after the last.
_ANSWER_LENGTHS = (("1 word", 1), ("2 words", 2), ("3–4 words", 4), ("5–8 words", 8))
_LONGEST = "9+ words"
_NO_ANSWER = "no answer"


def breakdowns(examples: Sequence[Example], language: str) -> dict[str, dict[str, list[str]]]:
    """Group questions by ``question word`` (where its words are known for the language) and by ``answer length``.

    Returns:
        Name of the breakdown to label to question ids. Labels come in the order to be shown, each question is in one
        group of each breakdown, and there is no empty group.

    Example:
        >>> breakdowns([Example("q0", "¿En qué año nació?", "…")], "es")
        {'question word': {'qué': ['q0']}, 'answer length': {'no answer': ['q0']}}
    """
    groups: dict[str, dict[str, list[str]]] = {}
    if language in _QUESTION_WORDS:
        labels = [*_QUESTION_WORDS[language], OTHER]
        groups["question word"] = _group(examples, labels, lambda example: question_word(example.question, language))
    labels = [*(label for label, _ in _ANSWER_LENGTHS), _LONGEST, _NO_ANSWER]
    groups["answer length"] = _group(examples, labels, lambda example: answer_length(example, language))
    return groups


def question_word(question: str, language: str) -> str:
    """Return what a question asks with: its first question word, or ``other``.

    Spanish question words carry an accent; where none does, the word at the beginning counts without one.

    Raises:
        KeyError: If the question words of the language are not known.

    Example:
        >>> question_word("¿Por quién fue fundada?", "es"), question_word("Cuantas personas había?", "es")
        ('quién', 'cuánto')
    """
    words = _QUESTION_WORDS[language]
    text = unicodedata.normalize("NFC", question).casefold()
    found = re.search(_alternatives(words), text) or re.match(_OPENING + _alternatives(words, accents=False), text)
    # Groups are numbered in the order of the labels.
    return list(words)[found.lastindex - 1] if found is not None and found.lastindex else OTHER


def answer_length(example: Example, language: str) -> str:
    """Return the group of the first reference answer's length, in words as F1 counts them (no articles)."""
    if example.is_impossible:
        return _NO_ANSWER
    num_words = len(normalize_mlqa(example.answers[0].text, language).split())
    return next((label for label, longest in _ANSWER_LENGTHS if num_words <= longest), _LONGEST)


def _alternatives(words: dict[str, str], accents: bool = True) -> str:
    pattern = "|".join(rf"(\b(?:{word})\b)" for word in words.values())
    return pattern if accents else f"(?:{_without_accents(pattern)})"


def _without_accents(text: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))


def _group(
    examples: Sequence[Example], labels: Sequence[str], label_of: Callable[[Example], str]
) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {label: [] for label in labels}
    for example in examples:
        groups[label_of(example)].append(example.question_id)
    return {label: ids for label, ids in groups.items() if ids}
