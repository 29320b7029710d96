"""One pass of one model over sentences: windows in, labels and scores out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from distill.distributed.processes import gather
from distill.metrics.spans import SpanMetric
from distill.tasks.base import Evaluation, EvaluationResult
from distill.tasks.labelled import IGNORED
from distill.tasks.tagging.examples import SentenceWindow, TaggedSentence
from distill.types import Batch, UserError


class TaggingEvaluation(Evaluation):
    """Collects the best label of every word, then scores every sentence once.

    With several processes labels are gathered, whichever of them has seen a word, so every process returns the same
    totals.

    Args:
        sentences: All sentences to be scored, the same on every process.
        labels: The labels, in the order of the head's classes.
        kinds: The types of spans; None scores words alone.
        partial: Whether sentences may be left out, as in trial runs; they are then not scored.
    """

    def __init__(
        self,
        sentences: Sequence[TaggedSentence],
        labels: Sequence[str],
        kinds: Sequence[str] | None,
        partial: bool = False,
    ) -> None:
        self.sentences = {sentence.sentence_id: sentence for sentence in sentences}
        if len(self.sentences) < len(sentences):
            raise UserError("two sentences were read from the same place: name every file once")
        self.labels = tuple(labels)
        self.kinds = kinds
        self.partial = partial
        self._found: dict[str, dict[int, str]] = {}

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add the head's scores of one batch, (B, S, C)."""
        is_word = batch.labels["label_ids"].ne(IGNORED)
        best = logits.argmax(-1)
        window: SentenceWindow
        for window, mask, classes in zip(batch.windows, is_word.cpu(), best.cpu(), strict=True):
            names = [self.labels[index] for index in classes[mask].tolist()]
            found = self._found.setdefault(window.sentence.sentence_id, {})
            found |= dict(zip(window.words, names, strict=True))

    def compute(self) -> EvaluationResult:
        """Return the scores of :class:`~distill.metrics.spans.SpanMetric`, without spans those of words; collective.

        Predictions are labels joined by spaces; each sentence's ``exact_match`` is 100 where all of them are right.

        Raises:
            UserError: If a sentence was not scored although the pass is not partial.
        """
        found: dict[str, dict[int, str]] = {}
        for part in gather(self._found):
            for sentence_id, labels_by_word in part.items():
                found.setdefault(sentence_id, {}).update(labels_by_word)
        missing = [sentence_id for sentence_id in self.sentences if sentence_id not in found]
        if missing and not self.partial:
            raise UserError(f"sentence {missing[0]} got no window ({len(missing)} did not): score the whole set")
        labels = {
            sentence_id: [found[sentence_id].get(index, "") for index in range(len(sentence.words))]
            for sentence_id, sentence in self.sentences.items()
            # A trial run may end between the windows of a sentence.
            if len(found.get(sentence_id, ())) == len(sentence.words)
        }
        predictions = {sentence_id: " ".join(names) for sentence_id, names in labels.items()}
        known = {key: names for key, names in labels.items() if self.sentences[key].labels is not None}
        references = [list(self.sentences[key].labels or ()) for key in known]
        outcomes = {
            key: {"exact_match": 100.0 * (names == expected)}
            for (key, names), expected in zip(known.items(), references, strict=True)
        }
        return EvaluationResult(self._scores(list(known.values()), references), predictions, outcomes)

    def _scores(self, predictions: list[list[str]], references: list[list[str]]) -> dict[str, float]:
        # Every process holds every sentence by now, so sums must not be added up again over processes.
        metric = SpanMetric(self.kinds or (), sync_on_compute=False)
        if self.kinds is not None:
            metric.update(predictions, references)
            return metric.compute()
        metric.update_words(predictions, references)
        scores = metric.compute()
        return {name: scores[name] for name in ("accuracy", "exact_match", "num_sentences", "num_words")}
