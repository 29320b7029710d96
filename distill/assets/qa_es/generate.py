"""Assembling the two files of the set, byte for byte the same on every run."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

from distill.assets.qa_es.content import Domain, load_domains
from distill.assets.qa_es.lexicon import Split, load_lexicon
from distill.assets.qa_es.paragraphs import Paragraph, write_paragraph
from distill.assets.qa_es.questions import Question, ask

NUM_PARAGRAPHS: dict[Split, int] = {"train": 4000, "dev": 260}


def generate(split: Split) -> dict[str, Any]:
    """Generate one split as a SQuAD v2.0 dictionary with one article for each domain.

    Every paragraph has its own random state, seeded with its id, so a change in one domain leaves the others alone.
    """
    domains = load_domains()
    articles = []
    for domain_index, domain in enumerate(domains):
        paragraph_indices = range(domain_index, NUM_PARAGRAPHS[split], len(domains))
        paragraphs = [_entry(domain, split, f"{split}-{index:04d}") for index in paragraph_indices]
        articles.append({"title": domain.title, "paragraphs": paragraphs})
    return {"version": "v2.0", "data": articles}


def serialize(dataset: dict[str, Any]) -> bytes:
    """Encode a data set as UTF-8 in NFC, one line for the whole file."""
    text = json.dumps(dataset, ensure_ascii=False, separators=(",", ":"))
    return unicodedata.normalize("NFC", text).encode() + b"\n"


def write(split: Split, folder: Path) -> Path:
    """Write ``<split>.json`` into ``folder`` under a temporary name, then rename it."""
    path = folder / f"{split}.json"
    temporary = path.with_suffix(".json.partial")
    temporary.write_bytes(serialize(generate(split)))
    return temporary.replace(path)


def _entry(domain: Domain, split: Split, paragraph_id: str) -> dict[str, Any]:
    rng = random.Random(paragraph_id)
    paragraph = write_paragraph(domain, load_lexicon(split).extended(domain.words), rng)
    unique = {question.text: question for question in ask(paragraph, split, rng)}.values()
    qas = [_qa(question, paragraph, f"{paragraph_id}-{number}") for number, question in enumerate(unique)]
    return {"context": paragraph.context, "qas": qas}


def _qa(question: Question, paragraph: Paragraph, question_id: str) -> dict[str, Any]:
    answers = []
    if question.answer is not None:
        answers.append({"text": question.answer, "answer_start": paragraph.context.index(question.answer)})
    qa = {"id": question_id, "question": question.text, "answers": answers, "is_impossible": not answers}
    return {**qa, "tags": ["unseen_wording"]} if question.is_unseen_wording else qa
