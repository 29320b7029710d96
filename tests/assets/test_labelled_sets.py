"""The shipped sets of entities and of pairs keep their promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import distill.assets
from distill.assets.ner_es import generate as ner
from distill.assets.pairs_es import generate as pairs
from distill.metrics.spans import spans
from distill.tasks.classification import SequenceClassification
from distill.tasks.tagging import TokenClassification

ASSETS = Path(distill.assets.__file__).parent
SPLITS = ("train", "dev")


def entities(split: str) -> list[tuple[str, str]]:
    """Return type and text of every entity of a split."""
    task = TokenClassification()
    sentences, _ = task.read([task.embedded(split)])
    return [
        (kind, " ".join(sentence.words[start:end]))
        for sentence in sentences
        for start, end, kind in spans(sentence.labels)
    ]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("generator", "file"), [(ner, "ner_es/{}.conll"), (pairs, "pairs_es/{}.tsv")])
def test_files_are_what_the_generator_writes(generator, file, split):
    assert (ASSETS / file.format(split)).read_bytes() == generator.serialize(generator.generate(split))


def test_entities_of_both_splits_are_disjoint_and_every_type_is_there():
    train, dev = entities("train"), entities("dev")
    assert not {text for _, text in train} & {text for _, text in dev}
    for found in (train, dev):
        counts = Counter(kind for kind, _ in found)
        assert counts.keys() == {"PER", "LOC", "ORG", "MISC"}
        assert min(counts.values()) > 0.05 * len(found)


def test_the_same_name_is_of_several_types():
    """What a name is cannot be looked up: context decides."""
    kinds: dict[str, set[str]] = {}
    for kind, text in entities("train"):
        kinds.setdefault(text, set()).add(kind)
    assert sum(len(found) > 1 for found in kinds.values()) > 50


def test_pairs_are_balanced_distinct_and_have_words_that_tell_nothing():
    """Exchanging both names of a sentence changes the label and not one word."""
    task = SequenceClassification()
    for split in SPLITS:
        examples, _ = task.read([task.embedded(split)])
        labels = Counter(example.label for example in examples)
        assert 0.45 < labels["1"] / len(examples) < 0.55
        assert all(example.text != example.pair for example in examples)


def test_both_labels_have_the_same_words(monkeypatch):
    """The pair that a draw makes with the other label has the same bag of words."""
    seen = 0
    for number in range(200):
        written = []
        for label in (0, 1):
            rng = pairs.random.Random(number)
            monkeypatch.setattr(rng, "randrange", lambda stop, label=label: label)
            relation = pairs.load_relations()[number % len(pairs.load_relations())]
            lexicon = pairs.load_lexicon("dev").extended({**pairs.WORDS, "year": ["1900"], "score": ["2 a 0"]})
            written.append(pairs.write_pair(relation, lexicon, rng))
        (one, other, wrong), (again, turned, right) = written
        assert (one, wrong, right) == (again, 0, 1)
        assert other != turned
        assert sorted(other.lower().strip(".").replace(",", "").replace(".", "").split()) == sorted(
            turned.lower().strip(".").replace(",", "").replace(".", "").split()
        )
        seen += 1
    assert seen == 200


def test_names_of_pairs_are_disjoint():
    def composed(split: str) -> set[str]:
        task = SequenceClassification()
        examples, _ = task.read([task.embedded(split)])
        words = {word.strip(".,") for example in examples for word in f"{example.text} {example.pair}".split()}
        return {word for word in words if word[0].isupper()}

    names = pairs.load_lexicon
    invented = {name for kind in ("surname", "toponym", "brand") for name in names("dev")._lists[kind]}
    assert not composed("train") & invented
    assert composed("dev") & invented
