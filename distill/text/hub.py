"""Documents from hub data sets, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets
import httpx
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi

from distill.text.files import fingerprint_files
from distill.text.reading import cut_document, text_of_row
from distill.text.report import TextReport
from distill.text.sources import TextSource
from distill.types import UserError

#: Everything that the libraries raise for what a user can mend: no network, wrong name, configuration or split.
_LOADING_ERRORS = (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError)


class HubSource(TextSource):
    """The ``train`` split of a hub data set, or of a local folder in a form that ``datasets`` reads, streamed.

    Args:
        dataset: Name on the hub, or a local folder.
        config: Configuration.
        revision: Branch, tag or commit; the newest commit when left out.
        text_field: Column of the text.
    """

    def __init__(
        self, dataset: str, config: str | None = None, revision: str | None = None, text_field: str = "text"
    ) -> None:
        self.name = f"{dataset} {config or ''}".rstrip()
        self._dataset, self._config, self._revision, self._text_field = dataset, config, revision, text_field

    def fingerprint(self) -> str:
        """Return the commit of the data set, or a hash of a local folder's files.

        Raises:
            UserError: If the hub cannot be asked.
        """
        folder = Path(self._dataset)
        if folder.is_dir():
            contents = fingerprint_files(sorted(file for file in folder.rglob("*") if file.is_file()))
        else:
            contents = self._commit()
        return f"hub {self._dataset} {self._config} {contents} {self._text_field}"

    def documents(self, report: TextReport) -> Iterator[str]:
        """Yield the documents of the split in order.

        Raises:
            UserError: If the data cannot be reached or hold no text.
        """
        revision = None if Path(self._dataset).is_dir() else self._commit()
        report.files += 1
        try:
            rows = datasets.load_dataset(
                self._dataset, name=self._config, split="train", revision=revision, streaming=True
            )
            for index, row in enumerate(rows):
                text = text_of_row(row, self._text_field, f"{self.name}: row {index:,}", report)
                for document in cut_document(text.strip(), report):
                    if document:
                        report.documents += 1
                        report.characters += len(document)
                        yield document
        except UserError:
            raise
        except _LOADING_ERRORS as error:
            raise self._unreachable(error) from error
        if not report.documents:
            raise UserError(f"{self.name}: no text in the column {self._text_field!r}")

    def _commit(self) -> str:
        """Return the commit that the revision stands for now; a full hash stands for itself."""
        revision = self._revision
        if revision and len(revision) == 40:
            return revision
        try:
            return str(HfApi().dataset_info(self._dataset, revision=revision).sha)
        except _LOADING_ERRORS as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UserError:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return UserError(
            f"{self.name}: cannot be loaded, no hub reachable or no such data ({reason}): check the name, or use "
            "train_files and validation_files"
        )
