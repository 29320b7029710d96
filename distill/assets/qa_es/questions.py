"""Asking about a paragraph: what it tells, and what it tells only of somebody else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from distill.assets.qa_es.content import Attribute
from distill.assets.qa_es.grammar import agree, contract, fill
from distill.assets.qa_es.lexicon import Split
from distill.assets.qa_es.paragraphs import Entity, Fact, Paragraph

MAX_ANSWERABLE = 6
UNSEEN_SHARE = 0.15
OF_NOBODY_SHARE = 0.7  # of the unanswerable questions ask for an attribute that the paragraph tells of nobody
UNANSWERABLE_SHARE = 0.7  # of the paragraphs get one such question
DESCRIPTION_SHARE = 0.12  # of the questions about an entity with a describing fact, so about 5 % of all


@dataclass(frozen=True)
class Question:
    """A question with its answer; ``answer`` is None where the paragraph has none."""

    text: str
    answer: str | None
    is_unseen_wording: bool


def ask(paragraph: Paragraph, split: Split, rng: random.Random) -> Iterator[Question]:
    """Ask up to ``MAX_ANSWERABLE`` answerable questions and mostly one unanswerable one, in random order."""
    facts = rng.sample(paragraph.facts, min(len(paragraph.facts), MAX_ANSWERABLE))
    asked: list[tuple[int, Attribute, str | None]] = [(fact.entity_index, fact.attribute, fact.value) for fact in facts]
    if rng.random() < UNANSWERABLE_SHARE:
        asked.append((*rng.choice(_untold(paragraph, rng)), None))
    rng.shuffle(asked)
    for entity_index, attribute, answer in asked:
        is_unseen = split == "dev" and rng.random() < UNSEEN_SHARE
        wording = rng.choice(attribute.unseen if is_unseen else attribute.asks)
        entity = paragraph.entities[entity_index]
        mention = _mention(paragraph, entity_index, attribute, rng)
        text = contract(fill(agree(wording, entity.gender), {"e": mention}))
        yield Question(text, answer, is_unseen)


def _untold(paragraph: Paragraph, rng: random.Random) -> list[tuple[int, Attribute]]:
    """List pairs of entity and attribute that the paragraph leaves out: told of nobody, or only of another entity."""
    told = {(fact.entity_index, fact.attribute.name) for fact in paragraph.facts}
    told_of_somebody = {name for _, name in told}
    ask_of_nobody = rng.random() < OF_NOBODY_SHARE
    pairs = [
        (index, attribute)
        for index in range(len(paragraph.entities))
        for attribute in paragraph.attributes
        if (index, attribute.name) not in told
    ]
    chosen = [pair for pair in pairs if (pair[1].name not in told_of_somebody) == ask_of_nobody]
    return chosen or pairs


def _mention(paragraph: Paragraph, entity_index: int, attribute: Attribute, rng: random.Random) -> str:
    entity = paragraph.entities[entity_index]
    describing = [
        fact
        for fact in paragraph.facts
        if fact.entity_index == entity_index and fact.attribute.describe and fact.attribute is not attribute
    ]
    if describing and rng.random() < DESCRIPTION_SHARE:
        return _describe(entity, describing[0])
    return entity.short if rng.random() < 0.15 else entity.name


def _describe(entity: Entity, fact: Fact) -> str:
    pattern = agree(fact.attribute.describe, entity.gender)
    return fill(pattern, {"v": fact.value, "role": entity.roles[0]})
