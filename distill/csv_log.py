"""The log of metrics in a run's folder, which a resumed run goes on with."""

from __future__ import annotations

import atexit
import csv
import io
from contextlib import suppress
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from distill.files import write_text


class CsvRun(CSVLogger):
    """Lightning's CSV logger, but a ``metrics.csv`` that is there already is continued, not deleted.

    Of a run that was killed, a last line that was cut short is dropped. Steps that a resumed run repeats are logged
    again; readers take the later line. Two runs that begin at once get a folder each.
    """

    _version: int | str | None

    @property
    def version(self) -> int | str:
        """The number of the run's folder, which is made when it is first asked for, so that no other run takes it."""
        if self._version is None:
            self._version = self._claim_version()
        return self._version

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer of the file; made on first use, on the first process only."""
        writer: ExperimentWriter | None = self.__dict__["_experiment"]
        if writer is None:
            writer = self._experiment = _ContinuedWriter(self.log_dir)
        return writer

    def _claim_version(self) -> int:
        root = Path(self.root_dir)
        version: int = self._get_next_version() if root.is_dir() else 0
        if rank_zero_only.rank != 0:
            return version
        root.mkdir(parents=True, exist_ok=True)
        while True:
            folder = root / f"version_{version}"
            try:
                folder.mkdir()
            except FileExistsError:
                version += 1
            else:
                atexit.register(_remove_if_empty, folder)
                return version


def _remove_if_empty(folder: Path) -> None:
    """Take back the folder of a run that ended before it wrote anything."""
    with suppress(OSError):
        folder.rmdir()


class _ContinuedWriter(ExperimentWriter):
    """Appends to the file that it finds, and never leaves it half-written."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        if self._fs.isfile(self.metrics_file_path):
            with self._fs.open(self.metrics_file_path, "r", newline="", encoding="utf-8") as file:
                text = file.read()
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                self._write(whole)
            self.metrics_keys = next(csv.reader(io.StringIO(whole)), [])

    def _check_log_dir_exists(self) -> None:
        """Do nothing; Lightning's own deletes the file."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with self._fs.open(self.metrics_file_path, "r", newline="", encoding="utf-8") as file:
            # A line with more cells than the header was torn, and its cells are of other columns.
            rows = [row for row in csv.DictReader(file) if None not in row]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=fieldnames)
        writer.writeheader()
        writer.writerows(rows)
        self._write(text.getvalue())

    def _write(self, text: str) -> None:
        """Replace the file as a whole."""
        write_text(Path(self.metrics_file_path), text)
