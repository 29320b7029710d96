"""Writing the sample: articles on a few entities each, the same on every run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from distill.assets.qa_es.content import Domain, load_domains
from distill.assets.qa_es.grammar import agree, conjoin, contract, fill, sentence
from distill.assets.qa_es.lexicon import Lexicon, load_lexicon
from distill.assets.qa_es.paragraphs import Entity, Fact, draw_facts, name_entity, narrate

#: Raised whenever the sample changes, so that older caches are not read.
GENERATOR_VERSION = 1

NUM_DOCUMENTS = 1500
QUESTIONS_SHARE = 0.3  # of the documents end with a few questions and their answers
NUM_QUESTIONS = 3


def sample_documents() -> Iterator[str]:
    """Yield the documents of the sample, about a megabyte in all.

    Every document has its own random state, seeded with its number. Names and wordings are those of the train part of
    the question set: no name of its dev part occurs, and no wording that it keeps for dev.
    """
    domains, lexicon = load_domains(), load_lexicon("train")
    lexicons = [lexicon.extended(domain.words) for domain in domains]
    for number in range(NUM_DOCUMENTS):
        index = number % len(domains)
        yield write_document(domains[index], lexicons[index], random.Random(f"text-{number}"))


def write_document(domain: Domain, lexicon: Lexicon, rng: random.Random) -> str:
    """Write a heading with the names of two to four entities, and two or three paragraphs on one or two of them each.

    Every attribute is told in one paragraph alone, so that a document does not contradict itself.
    """
    entities = _different_entities(domain, lexicon, rng, rng.randint(2, 4))
    num_paragraphs = rng.randint(2, 3)
    attributes = rng.sample(domain.attributes, len(domain.attributes))
    parts = [f"{domain.title}: {_list_names(entities)}"]
    questions: list[str] = []
    for number in range(num_paragraphs):
        cast = rng.sample(entities, rng.randint(1, 2))
        drawn = draw_facts(attributes[number::num_paragraphs], len(cast), lexicon, rng)
        # The rival that some attributes are told of as well is, in a cast of one, the same entity.
        facts = list({(fact.entity_index, fact.attribute.name): fact for fact in drawn}.values())
        parts.append(" ".join(narrate(domain, cast, facts, lexicon, rng)))
        questions += [_question(fact, cast[fact.entity_index], rng) for fact in facts]
    if rng.random() < QUESTIONS_SHARE:
        parts.append("\n".join(rng.sample(questions, min(NUM_QUESTIONS, len(questions)))))
    return "\n\n".join(parts)


def _different_entities(domain: Domain, lexicon: Lexicon, rng: random.Random, number: int) -> list[Entity]:
    entities: dict[str, Entity] = {}
    while len(entities) < number:
        entity = name_entity(rng.choice(domain.entities), lexicon, rng)
        entities[entity.name] = entity
    return list(entities.values())


def _list_names(entities: Sequence[Entity]) -> str:
    *others, last = [entity.name for entity in entities]
    return conjoin(", ".join(others), last)


def _question(fact: Fact, entity: Entity, rng: random.Random) -> str:
    wording = fill(agree(rng.choice(fact.attribute.asks), entity.gender), {"e": entity.name})
    return f"{contract(wording)} {sentence(fact.value)}"
