"""Teacher and student answering the same question, one after the other on a quiet machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from distill.answering.answerer import FoundAnswer, QuestionAnswerer

Role = Literal["teacher", "student"]


@dataclass(frozen=True)
class Contestant:
    """A model that takes part.

    Attributes:
        role: Which of the two it is.
        answerer: Answers for it.
    """

    role: Role
    answerer: QuestionAnswerer


class Contest:
    """Puts every question to all contestants in turn and takes the time of each.

    A time is that of the whole answer: cutting the text into windows, the model, and the choice. It is the median of a
    few rounds, of one alone where that takes long. Questions must come one at a time, or the contestants slow each
    other down.

    Args:
        contestants: Who takes part, in the order in which they are shown.
        max_rounds: How often everyone answers, at most.
        budget_s: After how long no further round begins.
        clock: Nanoseconds of a clock that never goes back.
    """

    def __init__(
        self,
        contestants: Sequence[Contestant],
        max_rounds: int = 3,
        budget_s: float = 0.1,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.contestants = contestants
        self.max_rounds = max_rounds
        self.budget_s = budget_s
        self.clock = clock

    def ask(self, question: str, context: str) -> list[dict[str, Any]]:
        """Return every contestant's answer, as plain data: role, answer, score, start, end and milliseconds."""
        times_ns: dict[Role, list[int]] = {contestant.role: [] for contestant in self.contestants}
        answers: dict[Role, FoundAnswer] = {}
        for _ in range(self.max_rounds):
            for contestant in self.contestants:
                start = self.clock()
                answers[contestant.role] = contestant.answerer(question, context)
                times_ns[contestant.role].append(self.clock() - start)
            if sum(map(sum, times_ns.values())) > 1e9 * self.budget_s:
                break
        return [{"role": role, **answers[role], "milliseconds": median(times_ns[role]) / 1e6} for role in answers]

    def describe(self) -> list[dict[str, Any]]:
        """Return who takes part, as plain data: role, size, and whether its scores are calibrated."""
        return [
            {
                "role": contestant.role,
                "num_parameters": contestant.answerer.num_parameters,
                "is_calibrated": contestant.answerer.settings.temperature != 1.0,
            }
            for contestant in self.contestants
        ]
