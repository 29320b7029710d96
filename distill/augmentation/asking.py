"""Questions about paragraphs of plain text, and who answers them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from distill.answering.answerer import QuestionAnswerer
from distill.augmentation.cloze import Fits, QuestionForm
from distill.augmentation.facts import Fact
from distill.augmentation.spread import Paragraph
from distill.models.loading import load_tokenizer
from distill.types import Answer


class Asked(NamedTuple):
    """A question, the paragraph that it is about, and what was left out of it."""

    paragraph: Paragraph
    question: str
    fact: Fact

    @property
    def identifier(self) -> str:
        """A name that no other question about any text has."""
        content = f"{self.paragraph.key} {self.fact.kind} {self.fact.span} {self.question}"
        return f"cloze-{hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}"


class Answers(Protocol):
    """Who answers."""

    def fits(self, question: str) -> bool:
        """Whether all of a question is read."""
        ...

    def __call__(self, questions: Iterable[Asked]) -> Iterator[tuple[Asked, Answer | None]]:
        """Yield each question with its answer, None where there is none that is worth keeping."""
        ...


def ask(paragraphs: Iterable[Paragraph], form: QuestionForm, per_paragraph: int, fits: Fits) -> Iterator[Asked]:
    """Yield so many questions about each paragraph at most; the paragraph's key decides which."""
    for paragraph in paragraphs:
        rng = np.random.default_rng(paragraph.key)
        for question, fact in form.ask(paragraph.text, per_paragraph, rng, fits):
            yield Asked(paragraph, question, fact)


class OwnAnswers:
    """The text answers: with what was left out of the question."""

    def fits(self, question: str) -> bool:
        """Nobody reads the question."""
        return True

    def __call__(self, questions: Iterable[Asked]) -> Iterator[tuple[Asked, Answer | None]]:
        """Yield each question with its answer."""
        for asked in questions:
            start, end = asked.fact.span
            yield asked, Answer(asked.paragraph.text[start:end], start)


class TeacherAnswers:
    """A question-answering model answers, with its best span, unless that has neither letter nor digit.

    Args:
        teacher: Folder or hub name of the model.
        min_score: Probability among the best spans that an answer must have.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
    """

    def __init__(self, teacher: str, min_score: float, device: str) -> None:
        self._answerer = QuestionAnswerer.from_pretrained(teacher, device=device, no_answer_threshold=None)
        self._tokenizer = load_tokenizer(teacher)
        self._min_score = min_score

    def fits(self, question: str) -> bool:
        """Whether the teacher reads all of a question."""
        num_tokens = len(self._tokenizer.encode(question, add_special_tokens=False, verbose=False))
        return num_tokens <= self._answerer.settings.max_question_length

    def __call__(self, questions: Iterable[Asked]) -> Iterator[tuple[Asked, Answer | None]]:
        """Yield each question with its answer, None where its score is too low or nothing in it can be read."""
        # The answerer reads ahead: only the questions on their way are held.
        waiting: deque[Asked] = deque()

        def asked() -> Iterator[dict[str, str]]:
            for one in questions:
                waiting.append(one)
                yield {"question": one.question, "context": one.paragraph.text}

        answers: Any = self._answerer(asked())
        for found in answers:
            is_kept = any(map(str.isalnum, found["answer"])) and found["score"] >= self._min_score
            yield waiting.popleft(), Answer(found["answer"], found["start"]) if is_kept else None
