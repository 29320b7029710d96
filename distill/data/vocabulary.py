"""Trimmed tokenizers on disk, so that a vocabulary is counted once, and the texts that they are counted in."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from distill.files import new_folder
from distill.models.loading import load_tokenizer
from distill.models.vocabulary import trim_tokenizer
from distill.text.report import TextReport
from distill.text.sources import FileSource


class VocabularyTexts:
    """The texts whose pieces a trimmed tokenizer keeps, read from the start whenever they are gone through.

    Those of the training windows come first, then the files' line by line, composed (NFC) as windows are.

    Args:
        texts: The training windows' texts, see :func:`~distill.tasks.question_answering.windows.window_texts`.
        files: Plain text or JSON lines, see :class:`~distill.text.sources.FileSource`; any number of them.

    Raises:
        UserError: If a file is missing or not named as text; while reading if it is malformed or holds no text.
    """

    def __init__(self, texts: Sequence[str], files: Sequence[str]) -> None:
        self._texts = texts
        self._source = FileSource(files) if files else None
        #: What was read of the files, and repaired, the latest time that they were gone through.
        self.report = TextReport()

    def __iter__(self) -> Iterator[str]:
        yield from self._texts
        if self._source is not None:
            self.report = TextReport()
            for document in self._source.documents(self.report):
                # Lines, since a whole book cut at once would take hundreds of times its size.
                yield from (unicodedata.normalize("NFC", line) for line in document.splitlines() if line.strip())


def trimmed_tokenizer(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], folder: Path
) -> PreTrainedTokenizerBase:
    """Return the tokenizer with the pieces of ``texts`` alone, from ``folder`` where it was made before.

    Args:
        tokenizer: The tokenizer with all its pieces.
        texts: What decides, see :func:`~distill.models.vocabulary.trim_tokenizer`; read from the start several times.
        folder: Where trimmed tokenizers are kept, each under a hash of what it depends on.
    """
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    target = folder / f"vocabulary-{digest.hexdigest()[:32]}"
    if not target.exists():
        try:
            with new_folder(target) as unfinished:
                trim_tokenizer(tokenizer, texts).save_pretrained(unfinished)
        except OSError:
            if not target.exists():  # else another process was faster, and its tokenizer is the same
                raise
    return load_tokenizer(str(target))
