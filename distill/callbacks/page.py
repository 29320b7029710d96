"""The result page at the end of a run."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from distill.reporting.files import run_folder
from distill.reporting.page.document import write_page
from distill.types import UserError


class ResultPage(L.Callback):
    """Writes ``report.html``, one self-contained file with every figure of the run, into the run's folder.

    It is drawn when the fit is over from the files that loggers and other callbacks have left there, so list it after
    them. ``export --output RUN/export`` draws it again with the formats of the export, as does
    ``python -m distill.reporting.page RUN`` with whatever the folder holds.
    """

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write the page, on the first process."""
        folder = run_folder(trainer)  # asked on every process, since it may be agreed among them
        if folder is None or not trainer.is_global_zero or not (folder / "report.json").is_file():
            return
        for logger in trainer.loggers:
            logger.save()  # metrics.csv is otherwise written at its own pace
        try:
            rank_zero_info("wrote %s", write_page(folder))
        except UserError as error:  # what can be drawn again must not fail a run that is done
            rank_zero_warn(f"there is no page of this run: {error}")
