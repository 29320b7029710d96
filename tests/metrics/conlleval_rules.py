"""Chunk F1 as conlleval describes it: two flags a word, and one pass with a "both are inside the same chunk" state."""

from __future__ import annotations

from collections.abc import Sequence


def _begins(before: str, tag: str) -> bool:
    """Whether a chunk begins at a tag, given the one before (``O`` at the start of a sentence)."""
    if tag == "O":
        return False
    return tag[0] == "B" or before == "O" or before[2:] != tag[2:]


def _ends(before: str, tag: str) -> bool:
    """Whether a chunk that holds the word before ends with it."""
    if before == "O":
        return False
    return tag == "O" or tag[0] == "B" or before[2:] != tag[2:]


def conlleval(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return precision, recall and F1 in per cent, over one stream of words with a boundary behind each sentence."""
    right = found = wanted = 0
    for predicted, expected in zip(predictions, references, strict=True):
        in_same_chunk = False
        mine_before = other_before = "O"
        for mine, other in zip([*predicted, "O"], [*expected, "O"], strict=True):
            mine_ends, other_ends = _ends(mine_before, mine), _ends(other_before, other)
            if in_same_chunk and (mine_ends or other_ends):
                right += mine_ends and other_ends
                in_same_chunk = False
            mine_begins, other_begins = _begins(mine_before, mine), _begins(other_before, other)
            found, wanted = found + mine_begins, wanted + other_begins
            if mine_begins and other_begins and mine[2:] == other[2:]:
                in_same_chunk = True
            mine_before, other_before = mine, other
    precision = 100 * right / found if found else 0.0
    recall = 100 * right / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}
