"""One pass of one model over questions: windows in, answers and scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from distill.distributed.processes import gather
from distill.metrics.squad import SquadMetric, question_scores
from distill.tasks.base import Evaluation, EvaluationResult
from distill.tasks.question_answering.answers import ChosenAnswer, WindowAnswers, best_spans, choose_answers
from distill.tasks.question_answering.breakdown import breakdowns
from distill.types import Batch, Example, UserError


class QuestionAnsweringEvaluation(Evaluation):
    """Collects the best spans of every window, then answers and scores every question once.

    With several processes what each window says is gathered, whichever of them has seen it, so every process chooses
    and scores all answers and returns the same totals. A window that was seen twice counts once.

    Args:
        examples: All questions to be scored, the same on every process.
        language: Language of the answers.
        n_best: How many candidate spans to keep per window and per question.
        max_answer_length: Longest answer in tokens.
        null_threshold: How much better "no answer" must score to be chosen; None: never.
        partial: Whether questions may be left without windows, as in trial runs; they are then not scored.

    Raises:
        UserError: If a question identifier is used twice.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        language: str = "es",
        n_best: int = 20,
        max_answer_length: int = 30,
        null_threshold: float | None = 0.0,
        partial: bool = False,
    ) -> None:
        self.partial = partial
        self.examples = {example.question_id: example for example in examples}
        if len(self.examples) < len(examples):
            raise UserError(f"{len(examples) - len(self.examples)} question ids are used twice: make ids unique")
        self.language = language
        self.n_best = n_best
        self.max_answer_length = max_answer_length
        self.null_threshold = null_threshold
        self._window_answers: list[WindowAnswers] = []

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add the scores of one batch, (B, S, 2), as the best spans of its windows."""
        self._window_answers += best_spans(logits, batch, self.n_best, self.max_answer_length)

    def answers(self, n_best: int | None = None) -> dict[str, ChosenAnswer]:
        """Return the answer to every question of every process, in the order of the examples; collective.

        Args:
            n_best: How many candidates to keep per question, where fewer than the evaluation's are of use.

        Raises:
            UserError: If a question has no window on any process.
            RuntimeError: If a window belongs to an unknown question.
        """
        window_answers = []
        # Named by their questions, whose contexts every process has.
        for part in gather([(window.example.question_id, *window[1:]) for window in self._window_answers]):
            for question_id, spans, null_score in part:
                if question_id not in self.examples:
                    raise RuntimeError(f"question {question_id!r} is not among the {len(self.examples)} to be scored")
                window_answers.append(WindowAnswers(self.examples[question_id], spans, null_score))
        answers = choose_answers(window_answers, self.null_threshold, n_best or self.n_best)
        missing = [question_id for question_id in self.examples if question_id not in answers]
        if missing and not self.partial:
            raise UserError(
                f"question {missing[0]!r} got no window ({len(missing)} of {len(self.examples)} questions did not): "
                "score every window of the set"
            )
        return {question_id: answers[question_id] for question_id in self.examples if question_id in answers}

    def compute(self) -> EvaluationResult:
        """Return the scores of :class:`~distill.metrics.squad.SquadMetric`, the answers and each one's; collective."""
        return self.score({question_id: answer.text for question_id, answer in self.answers(n_best=1).items()})

    def score(self, predictions: Mapping[str, str]) -> EvaluationResult:
        """Return what :meth:`compute` does for given answers, question id to text, which every process must have."""
        examples = [self.examples[question_id] for question_id in predictions]
        tags = sorted({tag for example in examples for tag in example.tags})
        # Every process holds every answer by now, so sums must not be added up again over processes.
        metric = SquadMetric(self.language, tags, sync_on_compute=False)
        references = [[answer.text for answer in example.answers] for example in examples]
        metric.update(list(predictions.values()), references, [example.tags for example in examples])
        outcomes = {
            question_id: question_scores(prediction, answers, self.language)
            for (question_id, prediction), answers in zip(predictions.items(), references, strict=True)
        }
        return EvaluationResult(metric.compute(), predictions, outcomes, breakdowns(examples, self.language))
