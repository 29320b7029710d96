"""What simple tricks score on the set; run ``python -m distill.assets.ner_es.baselines``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence

from distill.assets.ner_es.generate import TaggedWord, generate
from distill.metrics.spans import SpanMetric

Tagger = Callable[[Sequence[str]], list[str]]


def always_outside(words: Sequence[str]) -> list[str]:
    """Label every word ``O``, the most frequent label."""
    return ["O"] * len(words)


def capitals(kind: str) -> Tagger:
    """Return a tagger that takes each run of capitalised words, the first word of a sentence aside, for one entity."""

    def tag(words: Sequence[str]) -> list[str]:
        labels: list[str] = []
        for index, word in enumerate(words):
            is_name = index > 0 and word[0].isupper()
            goes_on = is_name and labels[-1] != "O"
            labels.append(f"{'I' if goes_on else 'B'}-{kind}" if is_name else "O")
        return labels

    return tag


def memory(sentences: Sequence[Sequence[TaggedWord]]) -> Tagger:
    """Return a tagger that gives each word the label it has most often in some sentences, and unknown words ``O``."""
    counts: dict[str, Counter[str]] = {}
    for sentence in sentences:
        for word, label in sentence:
            counts.setdefault(word, Counter())[label] += 1
    best = {word: labels.most_common(1)[0][0] for word, labels in counts.items()}
    return lambda words: [best.get(word, "O") for word in words]


def score(tagger: Tagger, sentences: Sequence[Sequence[TaggedWord]]) -> dict[str, float]:
    """Return the scores that models are compared by."""
    metric = SpanMetric(["PER", "ORG", "LOC", "MISC"])
    for sentence in sentences:
        metric.update([tagger([word for word, _ in sentence])], [[label for _, label in sentence]])
    return metric.compute()


def main() -> None:
    """Print the scores of every baseline on dev."""
    train, dev = list(generate("train")), list(generate("dev"))
    taggers = {"always O": always_outside, "capitals are LOC": capitals("LOC"), "label in train": memory(train)}
    for name, tagger in taggers.items():
        scores = score(tagger, dev)
        sys.stdout.write(f"{name:20} span F1 {scores['f1']:5.1f}  accuracy {scores['accuracy']:5.1f}\n")


if __name__ == "__main__":
    main()
