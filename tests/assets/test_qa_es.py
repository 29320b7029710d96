"""The shipped set keeps its promises: exact spans, disjoint splits, reproducible bytes, and no cheap trick works."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from distill.assets.qa_es import baselines, grammar
from distill.assets.qa_es.content import load_domains, parse_attribute
from distill.assets.qa_es.generate import generate, serialize
from distill.assets.qa_es.lexicon import Lexicon, load_lexicon, read_yaml
from distill.types import UserError

WORD = re.compile(r"\w+")


@pytest.fixture(scope="module")
def splits() -> dict[str, dict[str, Any]]:
    return {split: baselines.load(f"{split}.json") for split in ("train", "dev")}


def paragraphs(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    return [paragraph for article in dataset["data"] for paragraph in article["paragraphs"]]


def qas(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    return [qa for paragraph in paragraphs(dataset) for qa in paragraph["qas"]]


def text_of(dataset: dict[str, Any]) -> str:
    return "\n".join(
        itertools.chain.from_iterable(
            (paragraph["context"], *(qa["question"] for qa in paragraph["qas"])) for paragraph in paragraphs(dataset)
        )
    )


@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_answer_is_the_only_occurrence_of_its_span(splits: dict[str, dict[str, Any]], split: str) -> None:
    for paragraph in paragraphs(splits[split]):
        for qa in paragraph["qas"]:
            assert qa["is_impossible"] == (not qa["answers"])
            for answer in qa["answers"]:
                start = answer["answer_start"]
                assert paragraph["context"][start : start + len(answer["text"])] == answer["text"]
                assert paragraph["context"].count(answer["text"]) == 1
                assert not paragraph["context"][start - 1 : start].isalnum()
                assert not paragraph["context"][start + len(answer["text"]) :][:1].isalnum()


def test_ids_are_unique_and_questions_unique_in_their_paragraph(splits: dict[str, dict[str, Any]]) -> None:
    everything = [qa["id"] for dataset in splits.values() for qa in qas(dataset)]
    assert len(everything) == len(set(everything))
    for paragraph in itertools.chain.from_iterable(paragraphs(dataset) for dataset in splits.values()):
        questions = [qa["question"] for qa in paragraph["qas"]]
        assert len(questions) == len(set(questions)) >= 3


@pytest.mark.parametrize("split", ["train", "dev"])
def test_texts_are_clean_spanish_of_the_promised_length(splits: dict[str, dict[str, Any]], split: str) -> None:
    for paragraph in paragraphs(splits[split]):
        assert 28 <= len(paragraph["context"].split()) <= 64
    text = text_of(splits[split])
    # No mark of the pattern language, missing contraction, doubled space or repeated full stop is left.
    assert re.search(r"[<>{}()]|\b(?:de|a) el\b|  |\.\.", text) is None
    assert all(qa["question"].count("¿") == 1 and qa["question"].endswith("?") for qa in qas(splits[split]))


def test_no_invented_name_of_dev_occurs_in_train(splits: dict[str, dict[str, Any]]) -> None:
    words = {split: set(WORD.findall(text_of(dataset))) for split, dataset in splits.items()}
    lists = read_yaml("lexicon.yaml")["names"]
    pools = {split: load_lexicon(split)._lists for split in ("train", "dev")}
    drawn = {kind for kind in lists.keys() - {"title"} if words["dev"] & set(pools["dev"][kind])}
    assert drawn >= {"surname", "toponym"}, "dev draws no names: the comparison would be empty"
    for kind in lists.keys() - {"title"}:
        assert not words["train"] & set(pools["dev"][kind]), kind
        assert not words["dev"] & set(pools["train"][kind]), kind
    titles = {split: set(re.findall(r"«[^»]+»", text_of(dataset))) for split, dataset in splits.items()}
    assert titles["dev"]
    assert not titles["dev"] & titles["train"]


def test_unseen_wordings_are_asked_in_dev_only(splits: dict[str, dict[str, Any]]) -> None:
    attributes = [attribute for domain in load_domains() for attribute in domain.attributes]
    seen = {wording for attribute in attributes for wording in attribute.asks}
    unseen = {wording for attribute in attributes for wording in attribute.unseen}
    assert not seen & unseen
    # The words before the entity identify a wording unless they are shared with a wording that train may ask.
    prefixes = {wording.split("<e>")[0] for wording in unseen}
    unambiguous = tuple(prefix for prefix in prefixes if not any(wording.startswith(prefix) for wording in seen))
    assert len(unambiguous) > len(unseen) / 2
    assert not any("tags" in qa or qa["question"].startswith(unambiguous) for qa in qas(splits["train"]))
    tagged = [qa for qa in qas(splits["dev"]) if qa.get("tags") == ["unseen_wording"]]
    assert 0.1 < len(tagged) / len(qas(splits["dev"])) < 0.2


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_ninth_of_the_questions_is_unanswerable(splits: dict[str, dict[str, Any]], split: str) -> None:
    share = sum(qa["is_impossible"] for qa in qas(splits[split])) / len(qas(splits[split]))
    assert 0.09 < share < 0.14


def test_answers_are_spread_over_the_context(splits: dict[str, dict[str, Any]]) -> None:
    thirds = Counter(
        3 * qa["answers"][0]["answer_start"] // len(paragraph["context"])
        for paragraph in paragraphs(splits["dev"])
        for qa in paragraph["qas"]
        if qa["answers"]
    )
    assert set(thirds) == {0, 1, 2}
    assert max(thirds.values()) < 2.5 * min(thirds.values())


def test_dev_is_regenerated_byte_for_byte() -> None:
    assert serialize(generate("dev")) == files(baselines.__package__).joinpath("dev.json").read_bytes()


@pytest.mark.slow
def test_train_is_regenerated_byte_for_byte() -> None:
    assert serialize(generate("train")) == files(baselines.__package__).joinpath("train.json").read_bytes()


def test_cheap_tricks_fail_on_dev(splits: dict[str, dict[str, Any]]) -> None:
    dev = splits["dev"]
    for predictor in (baselines.overlap, baselines.overlap_sentence, baselines.first_of_type):
        assert baselines.mean_f1(dev, baselines.predict(dev, predictor)) < 40


def test_mean_f1_rewards_the_right_answers(splits: dict[str, dict[str, Any]]) -> None:
    references = {qa["id"]: qa["answers"][0]["text"] if qa["answers"] else "" for qa in qas(splits["dev"])}
    assert baselines.mean_f1(splits["dev"], references) == 100.0


def test_overlap_answers_where_the_question_repeats_the_sentence() -> None:
    context = "Ana Soto nació en Talmera. Luis Vela murió en Robledo."
    assert baselines.overlap("¿Dónde murió Luis Vela?", context) == "Robledo"


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [("canta", "ingresó", "canta e ingresó"), ("canta", "hizo", "canta e hizo"), ("canta", "baila", "canta y baila")],
)
def test_conjoin_avoids_y_before_i(left: str, right: str, joined: str) -> None:
    assert grammar.conjoin(left, right) == joined


def test_patterns_agree_and_contract() -> None:
    assert grammar.agree("fue fundad(o/a) por (el autor/la autora)", "f") == "fue fundada por la autora"
    assert grammar.sentence("las obras de el puente") == "Las obras del puente."
    assert grammar.contract("un número de El Faro") == "un número de El Faro"


def test_a_slot_without_a_list_is_named() -> None:
    with pytest.raises(UserError, match=r"lexicon\.yaml: no list called 'tonw'"):
        Lexicon({}, {}).compose("nació en <tonw>", random.Random(0))


def test_an_attribute_without_wordings_is_named() -> None:
    with pytest.raises(UserError, match=r"x\.yaml: attribute 'color'.*asks"):
        parse_attribute("color", {"says": ["es <v>", "fue <v>"], "value": "rojo", "unseen": [], "lure": ""}, "x.yaml")
