"""Turning facts about a few entities of one kind into a paragraph in which they distract from each other."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill.assets.qa_es.content import Attribute, Domain, Naming
from distill.assets.qa_es.grammar import Gender, agree, conjoin, fill, sentence
from distill.assets.qa_es.lexicon import Lexicon

FOLLOW_UPS = ("{}", "{}", "además, {}", "también {}", "asimismo, {}", "según las crónicas, {}", "por otra parte, {}")
CONTRASTS = (
    "{a} {p}, mientras que {b} {q}",
    "{a} {p}; {b}, en cambio, {q}",
    "{a} {p}, pero {b} {q}",
    "a diferencia de {b}, que {q}, {a} {p}",
    "si {a} {p}, {b} {q}",
)
NUM_ATTRIBUTES = 5
RIVAL_SHARE = 0.15  # of the attributes are told of two entities
MIN_WORDS, MAX_WORDS = 28, 64
MIN_SENTENCES, MAX_SENTENCES = 3, 6


@dataclass(frozen=True)
class Entity:
    """A named entity of one paragraph."""

    name: str
    short: str
    roles: Sequence[str]
    gender: Gender


@dataclass(frozen=True)
class Fact:
    """The value of one attribute of one entity, given by its position in the paragraph's list."""

    entity_index: int
    attribute: Attribute
    value: str


@dataclass(frozen=True)
class Paragraph:
    """A context with the entities and facts that it speaks of, and all the attributes that it could have told."""

    context: str
    entities: Sequence[Entity]
    facts: Sequence[Fact]
    attributes: Sequence[Attribute]


def name_entity(naming: Naming, lexicon: Lexicon, rng: random.Random) -> Entity:
    """Invent an entity."""
    name = lexicon.compose(naming.name, rng)
    short = fill(naming.short, {"last": name.split()[-1]}) if naming.short else name
    return Entity(name=name, short=short, roles=naming.roles, gender=naming.gender)


def draw_facts(attributes: Sequence[Attribute], num_entities: int, lexicon: Lexicon, rng: random.Random) -> list[Fact]:
    """Give each of a few attributes to one entity, some also to a rival; others bring answers of the same type.

    Every entity gets a fact.
    """
    facts = []
    chosen = rng.sample(attributes, min(len(attributes), NUM_ATTRIBUTES))
    for number, attribute in enumerate(chosen):
        owner = number if number < num_entities else rng.randrange(num_entities)
        owners = [owner, (owner + 1) % num_entities] if rng.random() < RIVAL_SHARE else [owner]
        facts += [Fact(index, attribute, lexicon.compose(rng.choice(attribute.value), rng)) for index in owners]
    return facts


class Narrator:
    """Writes one paragraph sentence by sentence, remembering who was spoken of last.

    ``topic`` is the entity that an omitted subject refers to, ``pair`` the two entities that "the former" and "the
    latter" refer to; either is None when such a reference would be unclear.
    """

    def __init__(self, entities: Sequence[Entity], facts: Sequence[Fact], rng: random.Random) -> None:
        """Take what is to be told; the order of telling is drawn from ``rng``."""
        self.entities, self.rng = entities, rng
        self.queues: list[list[Fact]] = [[] for _ in entities]
        for fact in rng.sample(facts, len(facts)):
            self.queues[fact.entity_index].append(fact)
        self.introduced: set[int] = set()
        self.topic: int | None = None
        self.pair: tuple[int, int] | None = None

    def open_with(self, pattern: str) -> str:
        """Introduce all the entities together; ``<list>`` stands for their names."""
        names = [self._mention(index) for index in range(len(self.entities))]
        everyone = conjoin(", ".join(names[:-1]), names[-1])
        gender: Gender = "f" if all(entity.gender == "f" for entity in self.entities) else "m"
        self.topic, self.pair = None, (0, 1) if len(names) == 2 else None
        return sentence(fill(agree(pattern, gender), {"list": everyone}))

    def lure(self, attribute: Attribute, entity_index: int) -> str:
        """Speak of an attribute of an entity without giving its value."""
        text = fill(self._agree(attribute.lure, entity_index), {"e": self._mention(entity_index)})
        self.topic, self.pair = entity_index, None
        return sentence(text)

    def tell_some(self) -> str:
        """Tell the next fact or two."""
        return sentence(self._next())

    def _next(self) -> str:
        waiting = [index for index, queue in enumerate(self.queues) if queue]
        if self.topic in waiting and self.rng.random() < 0.15:
            return self._follow_up(self.topic)
        if self.pair and self.rng.random() < 0.1 and (ready := [index for index in self.pair if index in waiting]):
            return self._ordinal(self.pair, ready)
        if len(waiting) > 1 and self.rng.random() < 0.4:
            return self._contrast(*self.rng.sample(waiting, 2))
        return self._single(self.rng.choice(waiting))

    def _single(self, index: int) -> str:
        fact = self.queues[index].pop()
        name, self.topic, self.pair = self._mention(index), index, None
        if fact.attribute.clauses and self.rng.random() < 0.4:
            return self._clause(fact, name)
        if self.queues[index] and self.rng.random() < 0.55:
            first = self._predicate(fact)
            second = self._predicate(self.queues[index].pop(), after=first)
            relative = not name.endswith("»") and self.rng.random() < 0.4
            return f"{name}, que {first}, {second}" if relative else f"{name} {conjoin(first, second)}"
        return f"{name} {self._predicate(fact)}"

    def _follow_up(self, index: int) -> str:
        self.pair = None
        fact, role = self.queues[index].pop(), self.rng.choice(self.entities[index].roles)
        if fact.attribute.clauses and self.rng.random() < 0.35:
            return self._clause(fact, role)
        predicate = self._predicate(fact)
        if self.queues[index] and self.rng.random() < 0.25:
            predicate = conjoin(predicate, self._predicate(self.queues[index].pop(), after=predicate))
        return f"{role} {predicate}" if self.rng.random() < 0.45 else self.rng.choice(FOLLOW_UPS).format(predicate)

    def _ordinal(self, pair: tuple[int, int], ready: Sequence[int]) -> str:
        told = [f"{self._ordinal_name(pair, index)} {self._predicate(self.queues[index].pop())}" for index in ready]
        if len(told) == 2 and self.rng.random() < 0.5:
            told.reverse()
            ready = ready[::-1]
        self.topic, self.pair = (None, pair) if len(told) == 2 else (ready[0], None)
        return conjoin(*told) if len(told) == 2 else told[0]

    def _ordinal_name(self, pair: tuple[int, int], index: int) -> str:
        return self._agree("(el primero/la primera)" if index == pair[0] else "(el segundo/la segunda)", index)

    def _contrast(self, first: int, second: int) -> str:
        fact = self.queues[first].pop()
        # The same attribute of both, where it is still to be told, makes the sentence useless without the name.
        rivals = self.queues[second]
        rival = next((other for other in rivals if other.attribute is fact.attribute), rivals[-1])
        rivals.remove(rival)
        pattern = self.rng.choice(CONTRASTS)
        inverted = pattern.index("{b}") < pattern.index("{a}")
        self.topic, self.pair = None, (second, first) if inverted else (first, second)
        return pattern.format(
            a=self._mention(first), p=self._predicate(fact), b=self._mention(second), q=self._predicate(rival)
        )

    def _predicate(self, fact: Fact, after: str = "") -> str:
        # "nació en 1917 y nació por iniciativa de ..." would repeat the verb of the predicate before.
        fresh = [text for text in fact.attribute.predicates if text.split()[0] != after.split(" ", 1)[0]]
        pattern = self._agree(self.rng.choice(fresh or fact.attribute.predicates), fact.entity_index)
        return fill(pattern, {"v": fact.value})

    def _clause(self, fact: Fact, mention: str) -> str:
        pattern = self._agree(self.rng.choice(fact.attribute.clauses), fact.entity_index)
        return fill(pattern, {"v": fact.value, "e": mention})

    def _mention(self, index: int) -> str:
        entity, known = self.entities[index], index in self.introduced
        self.introduced.add(index)
        return entity.short if known and self.rng.random() < 0.3 else entity.name

    def _agree(self, pattern: str, index: int) -> str:
        return agree(pattern, self.entities[index].gender)


def occurs_once(value: str, context: str) -> bool:
    """Whether ``value`` has one occurrence in ``context`` as whole words (``el rey`` is not in ``del rey``)."""
    return context.count(value) == 1 and len(re.findall(rf"(?<!\w){re.escape(value)}(?!\w)", context)) == 1


def write_paragraph(domain: Domain, lexicon: Lexicon, rng: random.Random) -> Paragraph:
    """Write one paragraph of a domain, drawing again until it has the right length and no ambiguous value."""
    while True:
        num_entities = rng.choice((2, 2, 3))
        entities = [name_entity(rng.choice(domain.entities), lexicon, rng) for _ in range(num_entities)]
        facts = draw_facts(domain.attributes, num_entities, lexicon, rng)
        sentences = narrate(domain, entities, facts, lexicon, rng)
        context = " ".join(sentences)
        has_right_length = (
            MIN_WORDS <= len(context.split()) <= MAX_WORDS and MIN_SENTENCES <= len(sentences) <= MAX_SENTENCES
        )
        if has_right_length and all(occurs_once(fact.value, context) for fact in facts):
            return Paragraph(context, entities, facts, domain.attributes)


def narrate(
    domain: Domain, entities: Sequence[Entity], facts: Sequence[Fact], lexicon: Lexicon, rng: random.Random
) -> list[str]:
    """Tell every fact, in sentences that may also introduce several entities, tell nothing or speak of other things."""
    narrator = Narrator(entities, facts, rng)
    opens = rng.random() < 0.35 and len(entities) > 1
    sentences = [narrator.open_with(rng.choice(domain.openers))] if opens else []
    lures = rng.choice((0, 0, 1))
    while any(narrator.queues):
        if lures and rng.random() < 0.3:
            lures -= 1
            index = rng.randrange(len(entities))
            sentences.append(narrator.lure(rng.choice([fact.attribute for fact in facts]), index))
        sentences.append(narrator.tell_some())
    if rng.random() < 0.3:
        filler = sentence(lexicon.compose(rng.choice(domain.fillers), rng))
        sentences.insert(rng.choice((0, len(sentences))), filler)
    return sentences
