"""Which documents of a collection are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from distill.text.duplicates import SeenKeys, document_key
from distill.text.language import LanguageCheck
from distill.text.report import TextReport


class DocumentFilter:
    """Passes on the documents that are neither duplicates nor dropped for their language; remembers across calls.

    Args:
        report: Counts what is dropped, or does not look like the language.
        deduplicate: Whether documents that came before are dropped.
        language: What decides whether a document is in the language; nothing is asked when None.
    """

    def __init__(self, report: TextReport, deduplicate: bool = True, language: LanguageCheck | None = None) -> None:
        self._report, self._deduplicate, self._language = report, deduplicate, language
        self._seen = SeenKeys()

    def __call__(self, documents: Iterable[str]) -> Iterator[str]:
        """Yield the documents that are kept, in order."""
        for text in documents:
            if self._deduplicate and not self._seen.add(document_key(text)):
                self._report.duplicates += 1
            elif self._language is None or self._language.keeps(text, self._report):
                yield text
