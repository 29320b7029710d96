"""Counts of what a reader read, repaired and dropped."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass


@dataclass(frozen=True)
class ReadingReport:
    """What was read, repaired and dropped; reports of several sources add up.

    Attributes:
        files: Files, or hub splits.
        articles: Articles in them.
        paragraphs: Contexts in them.
        questions: Questions kept, so the number of examples.
        impossible: Those among them that have no answer in their context.
        answers: Answers kept.
        empty_answers_dropped: Answers without text.
        questions_with_empty_answers: Questions that held at least one of those.
        answers_moved: Answers that were not at their offset but occur exactly once in the context.
        answers_dropped: Answers that were not at their offset and occur nowhere or several times.
        questions_dropped: Questions left without an answer although none said that they were impossible.
    """

    files: int = 0
    articles: int = 0
    paragraphs: int = 0
    questions: int = 0
    impossible: int = 0
    answers: int = 0
    empty_answers_dropped: int = 0
    questions_with_empty_answers: int = 0
    answers_moved: int = 0
    answers_dropped: int = 0
    questions_dropped: int = 0

    def __add__(self, other: ReadingReport) -> ReadingReport:
        """Return the counts of both."""
        return ReadingReport(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)

    @property
    def misplaced(self) -> int:
        """How many answers were not at their offset, moved or dropped."""
        return self.answers_moved + self.answers_dropped

    def describe(self) -> list[str]:
        """Return lines for people: what was read, then one line for each kind of repair that took place.

        Example:
            >>> ReadingReport(files=1, articles=2, paragraphs=3, questions=4, answers=5).describe()
            ['read 4 questions (0 impossible) with 5 answers: 1 files, 2 articles, 3 paragraphs']
        """
        lines = [
            f"read {self.questions:,} questions ({self.impossible:,} impossible) with {self.answers:,} answers: "
            f"{self.files:,} files, {self.articles:,} articles, {self.paragraphs:,} paragraphs"
        ]
        if self.empty_answers_dropped:
            lines.append(
                f"dropped {self.empty_answers_dropped:,} empty answers "
                f"of {self.questions_with_empty_answers:,} questions"
            )
        if self.answers_moved:
            lines.append(f"moved {self.answers_moved:,} answers to the only place where their text occurs")
        if self.answers_dropped:
            lines.append(
                f"dropped {self.answers_dropped:,} answers whose text is not at its place or unique in the context"
            )
        if self.questions_dropped:
            lines.append(f"dropped {self.questions_dropped:,} questions that were left without an answer")
        return lines
