"""Documents from hub data sets, streamed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import datasets
import httpx
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from lightning.pytorch.utilities import rank_zero_info

from distill.files import write_json
from distill.text.files import fingerprint_files
from distill.text.reading import cut_document, text_of_row
from distill.text.report import TextReport
from distill.text.sources import TextSource
from distill.types import UserError

#: Everything that the libraries raise for what a user can mend: no network, wrong name, configuration or split.
_LOADING_ERRORS = (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError)
#: What a hub says that was reached and has no such data, or none for this user.
_REFUSALS = (RepositoryNotFoundError, RevisionNotFoundError)

_COMMIT_LENGTH = 40


class HubSource(TextSource):
    """The ``train`` split of a hub data set, or of a local folder in a form that ``datasets`` reads, streamed.

    Args:
        dataset: Name on the hub, or a local folder.
        config: Configuration.
        revision: Branch, tag or commit; the newest commit when left out.
        text_field: Column of the text.
        cache_dir: Where the commit that a branch stood for is kept, for when the hub cannot be reached.
    """

    def __init__(
        self,
        dataset: str,
        config: str | None = None,
        revision: str | None = None,
        text_field: str = "text",
        cache_dir: Path | None = None,
    ) -> None:
        self.name = f"{dataset} {config or ''}".rstrip()
        self._dataset, self._config, self._revision, self._text_field = dataset, config, revision, text_field
        key = hashlib.sha256(json.dumps([dataset, revision]).encode()).hexdigest()[:32]
        self._record = cache_dir / f"commit-{key}.json" if cache_dir is not None else None

    def fingerprint(self) -> str:
        """Return the commit of the data set, or a hash of a local folder's files.

        Raises:
            UserError: If the hub cannot be asked and has not been asked before.
        """
        folder = Path(self._dataset)
        if folder.is_dir():
            contents = fingerprint_files(sorted(file for file in folder.rglob("*") if file.is_file()))
        else:
            contents = self._commit
        return f"hub {self._dataset} {self._config} {contents} {self._text_field}"

    def documents(self, report: TextReport) -> Iterator[str]:
        """Yield the documents of the split in order.

        Raises:
            UserError: If the data cannot be reached or hold no text.
        """
        revision = None if Path(self._dataset).is_dir() else self._commit
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

    @cached_property
    def _commit(self) -> str:
        """The commit that the revision stands for: now, or when the hub was last reached."""
        if self._revision and len(self._revision) == _COMMIT_LENGTH:
            return self._revision
        try:
            commit = str(HfApi().dataset_info(self._dataset, revision=self._revision).sha)
        except _LOADING_ERRORS as error:
            known = None if isinstance(error, _REFUSALS) else self._known_commit()
            if known is None:
                raise self._unreachable(error) from error
            reason = _first_line(error)
            rank_zero_info(
                "%s: no hub reachable (%s): going on with commit %s, its newest then", self.name, reason, known
            )
            return known
        self._keep(commit)
        return commit

    def _known_commit(self) -> str | None:
        """Return the commit that the hub named last; None where it has not, or what was kept is damaged."""
        if self._record is None:
            return None
        try:
            commit = json.loads(self._record.read_text(encoding="utf-8"))["commit"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return commit if isinstance(commit, str) and len(commit) == _COMMIT_LENGTH else None

    def _keep(self, commit: str) -> None:
        if self._record is not None and commit != self._known_commit():
            # Without it, or where another process was faster, nothing is lost but a start without a hub.
            with suppress(OSError):
                write_json(self._record, {"dataset": self._dataset, "revision": self._revision, "commit": commit})

    def _unreachable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.name}: cannot be loaded, no hub reachable or no such data ({_first_line(error)}): check the name, "
            "or use train_files and validation_files"
        )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
