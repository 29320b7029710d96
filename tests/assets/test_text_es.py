"""The sample of plain text keeps its promises: a megabyte, the same every time, and nothing that dev keeps."""

from __future__ import annotations

import random
import re
from importlib.resources import files
from itertools import islice

import pytest

from distill.assets.qa_es.content import load_domains
from distill.assets.qa_es.grammar import agree, contract, fill
from distill.assets.qa_es.lexicon import invent, load_lexicon, read_yaml
from distill.assets.text_es.generate import NUM_DOCUMENTS, sample_documents, write_document
from distill.text.language import LanguageCheck
from distill.text.report import TextReport


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return list(sample_documents())


def test_sample_is_about_a_megabyte_of_different_documents(documents):
    assert len(set(documents)) == NUM_DOCUMENTS
    assert 1_000_000 < sum(len(document.encode()) for document in documents) < 1_300_000


def test_card_tells_what_was_written(documents):
    card = (files("distill.assets") / "text_es" / "README.md").read_text(encoding="utf-8")
    words, text = sum(len(document.split()) for document in documents), "\n".join(documents)
    assert f"| documents | {len(documents):,} |" in card
    num_different = len(set(re.findall(r"\w+", text.lower())))
    assert f"| words | {words:,}, of which {num_different:,} different |" in card
    assert f"| words in a document: mean | {words / len(documents):.0f} |" in card
    with_questions = sum("¿" in document for document in documents)
    assert f"answers | {with_questions}, with {text.count('¿'):,} questions |" in card


def test_writing_again_gives_the_same(documents):
    assert list(islice(sample_documents(), 20)) == documents[:20]


def test_names_of_the_dev_part_never_occur(documents):
    text = "\n".join(documents)
    words, titles = set(re.findall(r"\w+", text)), set(re.findall("«[^»]+»", text))
    used = {split: invent(read_yaml("lexicon.yaml")["names"], split) for split in ("train", "dev")}
    for kind, names in used["dev"].items():
        seen = titles if kind == "title" else words
        assert not seen & set(names), kind
        assert kind.startswith("petname") or seen & set(used["train"][kind]), kind


def test_question_wordings_of_the_dev_part_never_occur(documents):
    domains = {domain.title: domain for domain in load_domains()}
    num_questions = 0
    for document in documents:
        title, names = document.splitlines()[0].split(": ")
        for attribute in domains[title].attributes:
            for name in re.split(", | [ye] ", names):
                asked = [
                    contract(fill(agree(wording, gender), {"e": name}))
                    for wording in attribute.unseen
                    for gender in "mf"
                ]
                assert not [question for question in asked if question in document]
        num_questions += document.count("¿")
    assert num_questions > 1000


def test_documents_are_complete_spanish_text(documents):
    report = TextReport()
    assert all(LanguageCheck().keeps(document, report) for document in documents)
    assert report.foreign == 0
    text = "\n".join(documents)
    assert not re.search(r"[<>{}]|\(\w*/\w*\)|  | [.,;]", text)
    assert all(document.endswith(".") for document in documents)


def test_a_document_tells_an_attribute_of_an_entity_once():
    # Every river has one length: two would contradict each other.
    domain = next(domain for domain in load_domains() if domain.name == "rios")
    lexicon = load_lexicon("train").extended(domain.words)
    for seed in range(100):
        article = write_document(domain, lexicon, random.Random(seed)).split("\n\n¿")[0]
        names = article.splitlines()[0].removeprefix("Ríos: ").replace(" y ", ", ").split(", ")
        assert len(re.findall(r"\d+ kilómetros", article)) <= min(len(names), 2)
