"""The result in W&B: tables, charts, the page and the files, in a workspace that needs no setting up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

from distill.reporting.files import run_folder
from distill.reporting.page.document import PAGE
from distill.reporting.run import Run, read_run
from distill.reporting.tables import DataTable, result_tables, score_column

#: Files of a run that make up its report.
_REPORT_FILES = (
    "report.json",
    PAGE,
    "metrics.csv",
    "latency.json",
    "samples.json",
    "outcomes.jsonl",
    "config.yaml",
    "tasks/*/*.json*",
)


class WandbDashboard(L.Callback):
    """Sends what a fit left in its folder to W&B, where there is a W&B logger; list it last.

    All in the group ``report`` of the workspace: ``report/page`` is the result page, ``report/models``,
    ``report/latency``, ``report/question_word`` and so on are its tables, ``report/quality_against_latency`` and
    ``report/latency_over_length_b<batch>`` its charts. As artifacts: ``student-<run id>``, the result as transformers
    loads it, and ``report-<run id>``, the files of the report. An offline run keeps everything until it is sent.

    Args:
        log_student: Whether the student's weights are sent.
    """

    def __init__(self, log_student: bool = True) -> None:
        self.log_student = log_student

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Send everything, from the first process."""
        folder = run_folder(trainer)  # asked on every process, since it may be agreed among them
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if folder is None or not loggers or not trainer.is_global_zero or not (folder / "report.json").is_file():
            return
        run = read_run(folder)
        media = _media(run, folder)
        for task, part in run.tasks.items():
            media |= {f"{task}/{name}": item for name, item in _media(part, folder / "tasks" / task).items()}
        for logger in loggers:
            logger.experiment.log(media)
            self._log_artifacts(logger.experiment, run, folder)

    def _log_artifacts(self, wandb_run: Any, run: Run, folder: Path) -> None:
        scores = dict(run.scores("student"))
        report = wandb.Artifact(f"report-{wandb_run.id}", type="report", metadata=scores)
        for name in (path for pattern in _REPORT_FILES for path in sorted(folder.glob(pattern))):
            report.add_file(str(name.resolve()), name=name.relative_to(folder).as_posix())
        wandb_run.log_artifact(report)
        if not self.log_student:
            return
        if not (folder / "student").is_dir():
            rank_zero_warn("W&B gets no student: list WandbDashboard after SaveStudent")
            return
        student = wandb.Artifact(f"student-{wandb_run.id}", type="model", metadata=scores)
        # Immutable: taken from where it lies, since a second copy of a large model helps nobody.
        student.add_dir(str((folder / "student").resolve()), policy="immutable")
        wandb_run.log_artifact(student)


def _media(run: Run, folder: Path) -> dict[str, Any]:
    """Return tables, charts and the page by name."""
    tables = result_tables(run)
    media: dict[str, Any] = {f"report/{name}": _table(table) for name, table in tables.items()}
    if (folder / PAGE).is_file():
        media["report/page"] = wandb.Html(str(folder / PAGE), inject=False)
    if "models" in tables:
        score = run.main_score
        title = f"{score['label']} against p50 latency in ms"
        media["report/quality_against_latency"] = wandb.plot.scatter(
            _table(tables["models"]), "p50_ms", score_column(score["name"]), title=title
        )
    if "latency" in tables:
        media |= _latency_charts(tables["latency"])
    return media


def _latency_charts(table: DataTable) -> dict[str, Any]:
    """Return p50 over length, one chart for each batch size with a line for each model."""
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    charts = {}
    for batch_size in dict.fromkeys(table.column("batch_size")):
        here = [row for row in rows if row["batch_size"] == batch_size]
        models = list(dict.fromkeys(row["model"] for row in here))
        lengths = sorted({row["length"] for row in here})
        p50_ms = [
            [row["p50_ms"] for length in lengths for row in here if (row["model"], row["length"]) == (model, length)]
            for model in models
        ]
        charts[f"report/latency_over_length_b{batch_size}"] = wandb.plot.line_series(
            lengths, p50_ms, models, title=f"p50 in ms, batch {batch_size}", xname="tokens in a window"
        )
    return charts


def _table(table: DataTable) -> Any:
    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
