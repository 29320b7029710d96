"""The log of metrics in a run's folder, which a resumed run goes on with."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


class CsvRun(CSVLogger):
    """Lightning's CSV logger, but a ``metrics.csv`` that is there already is continued, not deleted.

    Of a run that was killed, a last line that was cut short is dropped. Steps that a resumed run repeats are logged
    again; readers take the later line.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer of the file; made on first use, on the first process only."""
        writer: ExperimentWriter | None = self.__dict__["_experiment"]
        if writer is None:
            writer = self._experiment = _ContinuedWriter(self.log_dir)
        return writer


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
            rows = list(csv.DictReader(file))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=fieldnames)
        writer.writeheader()
        writer.writerows(rows)
        self._write(text.getvalue())

    def _write(self, text: str) -> None:
        """Replace the file, under a temporary name first."""
        path = Path(self.metrics_file_path)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
