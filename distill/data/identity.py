"""What training data is, so that a resumed run can tell whether it goes on with the same."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten
from typing import TypedDict

from distill.types import UserError

#: Characters of a list of files that a message gives.
_SOURCE_CHARS = 80


class Identity(TypedDict):
    """Training data in plain values, which a checkpoint holds.

    Attributes:
        source: What it was read from, for people.
        fingerprint: Hash of the texts, the tokenizer and the settings that cut them; equal ones give equal batches.
        items: How many windows or blocks it is.
    """

    source: str
    fingerprint: str
    items: int


def check_unchanged(then: Mapping[str, Identity], now: Mapping[str, Identity]) -> None:
    """Check that training data is what it was when a checkpoint was written.

    Data that only one side knows, as that of a stage that came later, is not compared.

    Args:
        then: Where in the configuration each kind of data stands, to what it was.
        now: The same for what it is.

    Raises:
        UserError: At the first kind that is not the same.
    """
    for place, old in then.items():
        new = now.get(place)
        if new is None or new["fingerprint"] == old["fingerprint"]:
            continue
        was, present = _described(old), _described(new)
        change = f"it holds {present}, and held {was}" if was != present else f"it holds {present}, as then, but others"
        raise UserError(
            f"{place}: the training data has changed since the checkpoint was written, so that no batch would be what "
            f"it was ({change}): restore the files and the settings that cut them, or begin a new run without "
            "--ckpt_path"
        )


def _described(data: Identity) -> str:
    return f"{data['items']:,} items of {shorten(data['source'], _SOURCE_CHARS, placeholder=' ...')}"
