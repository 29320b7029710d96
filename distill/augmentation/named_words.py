"""Which words of a context its questions and answers depend on."""

from __future__ import annotations

from collections.abc import Sequence

from distill.augmentation.words import words_of
from distill.text.language import SPANISH_WORDS
from distill.types import Example

#: A question's shorter words tie it to no place in the context where they are as frequent as "de" and "la".
_NAMING_LENGTH = 4


class NamedWords:
    """The words of a context that a paragraph's questions and answers name, whatever their case.

    These are all words of answers; of questions those with four or more letters, those with a capital behind the first
    word, and shorter ones that are not among the frequent words of Spanish ("mar", but not "la"). With a capital in the
    context any word of a question is a name: "Ana" of "¿dónde nació ana?".

    Args:
        examples: All questions of one context.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        questions = [_words(example.question) for example in examples]
        self._in_answers = {word.casefold() for e in examples for answer in e.answers for word in _words(answer.text)}
        self._in_questions = {word.casefold() for words in questions for word in words}
        #: All words of the questions and answers, casefolded.
        self.all = frozenset(self._in_answers | self._in_questions)
        self._tied = {word.casefold() for words in questions for i, word in enumerate(words) if _ties(word, i == 0)}

    def __contains__(self, word: str) -> bool:
        """Whether a word, as it stands in the context, is named."""
        folded = word.casefold()
        is_name = word[:1].isupper() and folded in self._in_questions
        return is_name or folded in self._in_answers or folded in self._tied


def _words(text: str) -> list[str]:
    return [text[start:end] for start, end in words_of(text)]


def _ties(word: str, is_first: bool) -> bool:
    # The list is in lower case: behind the first word a capital keeps a word off it.
    return len(word) >= _NAMING_LENGTH or (word.lower() if is_first else word) not in SPANISH_WORDS
