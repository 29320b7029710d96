"""Where documents come from: files, the hub, the sample that the package writes; each with a fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from distill.assets.text_es.generate import GENERATOR_VERSION, sample_documents
from distill.text.files import fingerprint_files, text_files
from distill.text.reading import Separator, read_documents, read_file
from distill.text.report import TextReport


class TextSource(ABC):
    """A collection of documents that can be read from the start again and again."""

    #: What messages and reports call it.
    name: str
    #: The files that it reads, in order, where it reads named files, and what lies beside them in named folders.
    files: Sequence[Path] = ()
    passed_over: Sequence[Path] = ()

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what identifies the contents; equal fingerprints give equal documents."""

    @abstractmethod
    def documents(self, report: TextReport) -> Iterator[str]:
        """Yield the documents, never empty, and count into ``report``."""


class FileSource(TextSource):
    """Plain text and JSON lines; see :func:`~distill.text.reading.read_documents` for the arguments.

    Raises:
        UserError: If nothing is named, or a file is missing or not named as text.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        text_field: str = "text",
        separator: Separator = "blank_lines",
        strict: bool = False,
    ) -> None:
        self.files, self.passed_over = text_files(files)
        self.name = ", ".join(file.name for file in self.files)
        self._settings = (text_field, separator, strict)

    def fingerprint(self) -> str:
        """Return a hash of the files' contents and of how they are read."""
        return f"files {fingerprint_files(self.files)} {self._settings}"

    def documents(self, report: TextReport) -> Iterator[str]:
        """Yield the documents of the files in order."""
        report.passed_over += map(str, self.passed_over)
        return read_documents(self.files, report, *self._settings)

    def documents_by_file(self, report: TextReport) -> Iterator[tuple[Path, Iterator[str]]]:
        """Yield each file with its documents, which are to be read before the next file; none of an empty file."""
        report.passed_over += map(str, self.passed_over)
        for path in self.files:
            yield path, read_file(path, report, *self._settings)


class EmbeddedSource(TextSource):
    """The Spanish sample that the package writes itself."""

    name = "embedded"

    def fingerprint(self) -> str:
        """Return the version of its generator."""
        return f"embedded {GENERATOR_VERSION}"

    def documents(self, report: TextReport) -> Iterator[str]:
        """Write the documents, one at a time."""
        report.files += 1
        for document in sample_documents():
            report.documents += 1
            report.characters += len(document)
            yield document
