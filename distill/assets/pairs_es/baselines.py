"""What simple tricks score on the set; run ``python -m distill.assets.pairs_es.baselines``."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence

from distill.assets.pairs_es.generate import Pair, generate

Feature = Callable[[str, str], object]


def overlap(one: str, other: str) -> float:
    """Return the share of words that two sentences have in common, rounded to a tenth."""
    mine, theirs = set(re.findall(r"\w+", one.lower())), set(re.findall(r"\w+", other.lower()))
    return round(len(mine & theirs) / len(mine | theirs), 1)


def same_first_name(one: str, other: str) -> bool:
    """Return whether the name that comes first in one sentence comes first in the other, no matter what they say."""
    shared = set(re.findall(r"\b[A-ZÁÉÍÓÚÑ]\w+", one)) & set(re.findall(r"\b[A-ZÁÉÍÓÚÑ]\w+", other))
    firsts = [next((word for word in re.findall(r"\w+", text) if word in shared), "") for text in (one, other)]
    return firsts[0] == firsts[1]


def accuracy(feature: Feature, train: Sequence[Pair], dev: Sequence[Pair]) -> float:
    """Return the accuracy on dev, in per cent, of the more frequent label in train for each value of a feature."""
    counts: dict[object, Counter[int]] = {}
    for one, other, label in train:
        counts.setdefault(feature(one, other), Counter())[label] += 1
    most = Counter(label for _, _, label in train).most_common(1)[0][0]
    best = {value: labels.most_common(1)[0][0] for value, labels in counts.items()}
    return 100 * sum(best.get(feature(one, other), most) == label for one, other, label in dev) / len(dev)


def main() -> None:
    """Print the accuracy of every baseline on dev."""
    train, dev = list(generate("train")), list(generate("dev"))
    features: dict[str, Feature] = {
        "the more frequent label": lambda one, other: None,
        "word overlap": overlap,
        "same name first": same_first_name,
    }
    for name, feature in features.items():
        sys.stdout.write(f"{name:25} accuracy {accuracy(feature, train, dev):5.1f}\n")


if __name__ == "__main__":
    main()
