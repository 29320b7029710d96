"""Questions in composed Unicode (NFC), which is what models read, and in which a letter and its accent are one."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

from distill.tasks.question_answering.composing import ComposedText, compose
from distill.types import Answer, Example


def composed(examples: Sequence[Example]) -> list[Example] | None:
    """Return the questions of one context with every text composed, and the answers at their new places.

    None where an answer begins or ends between characters that compose into one, and so has no place any more.
    """
    context = compose(examples[0].context)
    made = []
    for example in examples:
        answers = tuple(moved for answer in example.answers if (moved := _moved(answer, context)) is not None)
        if len(answers) < len(example.answers):
            return None
        question = unicodedata.normalize("NFC", example.question)
        made.append(replace(example, question=question, context=context.text, answers=answers))
    return made


def _moved(answer: Answer, context: ComposedText) -> Answer | None:
    span = (answer.start_char, answer.start_char + len(answer.text))
    start, end = bisect_left(context.starts, span[0]), bisect_right(context.ends, span[1])
    # The nearest place stands for other characters where one of the ends is inside a letter.
    return Answer(context.text[start:end], start) if context.original_span(start, end) == span else None
