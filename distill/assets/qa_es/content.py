"""The hand-written content of a domain: what its entities are called, and how each attribute is stated and asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from distill.assets.qa_es.grammar import SLOT, Gender
from distill.assets.qa_es.lexicon import read_yaml
from distill.types import UserError


@dataclass(frozen=True)
class Attribute:
    """One property of an entity. In its patterns ``<e>`` is the entity and ``<v>`` the value.

    Attributes:
        value: Patterns of the value, which is the answer.
        predicates: Statements without a subject (``nació en <v>``), which can be combined.
        clauses: Statements that name the entity elsewhere than as first subject (``<v> vio nacer a <e>``).
        asks: Question wordings used in both splits.
        unseen: Question wordings used in dev only.
        lure: A sentence with the words of the attribute and no value.
        describe: A noun phrase that singles the entity out by the value (``la autora de <v>``); empty if there is none.
    """

    name: str
    value: Sequence[str]
    predicates: Sequence[str]
    clauses: Sequence[str]
    asks: Sequence[str]
    unseen: Sequence[str]
    lure: str
    describe: str = ""


@dataclass(frozen=True)
class Naming:
    """How entities of one gender are called: full name, short name (``<last>`` is its last word) and roles."""

    gender: Gender
    name: str
    roles: Sequence[str]
    short: str = ""


@dataclass(frozen=True)
class Domain:
    """A kind of entity with everything that can be said about it."""

    name: str
    title: str
    entities: Sequence[Naming]
    openers: Sequence[str]
    fillers: Sequence[str]
    attributes: Sequence[Attribute]
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)


def parse_attribute(name: str, content: Mapping[str, object], file: str) -> Attribute:
    """Build an attribute from its YAML entry.

    Raises:
        UserError: If a key is missing or too few statements can be combined.
    """
    try:
        says, value = list(content["says"]), content["value"]  # type: ignore[call-overload]
        attribute = Attribute(
            name=name,
            value=[value] if isinstance(value, str) else value,  # type: ignore[arg-type]
            predicates=[text for text in says if "<e>" not in text],
            clauses=[text for text in says if "<e>" in text],
            **{key: content[key] for key in content.keys() - {"says", "value"}},  # type: ignore[arg-type]
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{file}: attribute '{name}': {error}; see the keys of the other attributes") from error
    if len(attribute.predicates) < 2:
        raise UserError(f"{file}: attribute '{name}' needs two statements without <e>")
    return attribute


@cache
def load_domains() -> tuple[Domain, ...]:
    """Load every file of ``domains/`` in alphabetical order, with the shared attributes it includes."""
    shared = read_yaml("shared.yaml")
    names = sorted(
        entry.name for entry in files(__package__).joinpath("domains").iterdir() if entry.name.endswith(".yaml")
    )
    domains = []
    for file in names:
        content = read_yaml(f"domains/{file}")
        entries = {**{key: shared[key] for key in content.pop("include", ())}, **content.pop("attributes")}
        attributes = [parse_attribute(name, entry, file) for name, entry in entries.items()]
        entities = [Naming(**entity) for entity in content.pop("entities")]
        if bad := [entity.short for entity in entities if SLOT.findall(entity.short) not in ([], ["last"])]:
            raise UserError(f"{file}: short name '{bad[0]}' may use <last> only, the last word of the full name")
        domains.append(Domain(name=file.removesuffix(".yaml"), entities=entities, attributes=attributes, **content))
    return tuple(domains)
