"""What a misspelt name may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

#: Suggestions at most.
_NUM_SUGGESTIONS = 2

#: How alike the last part of a name must be where its first part says nothing.
_LEAF_CUTOFF = 0.8


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return the end of a message that names what is spelt most alike, after a prefix; empty where nothing is.

    Example:
        >>> did_you_mean("batchsize", ["batch_size", "max_length"])
        '; did you mean batch_size?'
        >>> did_you_mean("trainr.max_epochs", ["trainer", "trainer.max_epochs"])
        '; did you mean trainer.max_epochs?'
        >>> did_you_mean("colour", ["batch_size", "max_length"])
        ''
    """
    found = [f"{prefix}{near}" for near in nearest(name, known)]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known dotted names that are spelt most like one, the likeliest first.

    Names are compared part by part from the left, so that a long common beginning does not make names alike. Where the
    first part is like none, or the whole is the end of a known one, the last part decides: ``max_epochs`` is found as
    ``trainer.max_epochs``.
    """
    names = sorted(set(known))
    if ends := [other for other in names if other.endswith(f".{name}")]:
        return ends[:_NUM_SUGGESTIONS]
    *_, leaf = parts = name.split(".")
    for depth, part in enumerate(parts):
        before, after = parts[:depth], parts[depth + 1 :]
        siblings = {split[depth] for split in (other.split(".") for other in names) if split[:depth] == before != split}
        if part not in siblings:
            found = get_close_matches(part, siblings, _NUM_SUGGESTIONS)
            if found or depth:
                return [".".join([*before, near, *after]) for near in found]
            break
    leaves = {other.rpartition(".")[2] for other in names}
    alike = get_close_matches(leaf, leaves, _NUM_SUGGESTIONS, _LEAF_CUTOFF)
    return [other for near in alike for other in names if other.rpartition(".")[2] == near][:_NUM_SUGGESTIONS]
