"""The result in W&B, read back from disk by W&B's own viewer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger

from distill.callbacks.benchmark import LatencyBenchmark
from distill.callbacks.dashboard import WandbDashboard
from distill.callbacks.page import ResultPage
from distill.callbacks.report import Report
from distill.loggers import NOTES, WandbRun
from distill.tasks.base import EvaluationResult

from .fakes import EXAMPLES, FakeModule, tiny_trainer


class Grouped(FakeModule):
    """Its items have scores of their own and belong to groups."""

    def _result(self, model) -> EvaluationResult:
        result = super()._result(model)
        ids = [example.question_id for example in EXAMPLES]
        outcomes = {item: {"exact_match": 100.0 * (i % 2), "f1": 10.0 * i} for i, item in enumerate(ids)}
        groups = {"question word": {"dónde": ids[:4], "qué": ids[4:]}}
        return EvaluationResult(result.scores, result.predictions, outcomes, groups)


class FakeStudent(L.Callback):
    """Leaves a student's folder, as SaveStudent does."""

    def on_fit_end(self, trainer, pl_module) -> None:
        folder = Path(trainer.log_dir) / "student"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")


def inspect(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(folder / "wandb")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished tiny run: its folder, its W&B folder, what W&B's viewer sums up, and its records."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.delenv("WANDB_DATA_DIR", raising=False)
        loggers = [CSVLogger(folder, name="", version="run"), WandbRun(save_dir=str(folder / "online"))]
        benchmark = LatencyBenchmark(batch_sizes=(1, 2), lengths=(8, 16), rounds=2, warmup=0)
        callbacks = [benchmark, Report(), FakeStudent(), ResultPage(), WandbDashboard()]
        tiny_trainer(folder, callbacks, logger=loggers).fit(Grouped())
        wandb.finish()
    summary = json.loads(inspect(folder / "online", "--summary"))
    records = [json.loads(line) for line in inspect(folder / "online").splitlines()]
    return folder / "run", folder / "online", summary, records


def table(online: Path, entry: dict) -> dict:
    (path,) = online.glob(f"wandb/offline-run-*/files/{entry['path']}")
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_summary_equals_the_report(run):
    folder, _, summary, _ = run
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    shown = summary["summary"]
    for model in ("student", "teacher"):
        assert shown[f"report/{model}/f1"] == pytest.approx(report[model]["f1"])
        assert shown[f"report/{model}/num_parameters"] == report[model]["num_parameters"]
        assert shown[f"report/{model}/latency_ms/p50"] == pytest.approx(report[model]["latency_ms"]["p50"])
    assert shown["report/retention/f1"] == pytest.approx(report["retention"]["f1"])
    assert shown["report/speedup/p50"] == pytest.approx(report["speedup"]["p50"])
    assert shown["val/f1"] == {"last": 70, "max": 80}
    assert summary["notes"] == NOTES
    assert summary["state"] == "finished"


def test_tables_hold_the_reports_rows(run):
    folder, online, summary, _ = run
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    latency = json.loads((folder / "latency.json").read_text(encoding="utf-8"))
    models = table(online, summary["summary"]["report/models"])
    rows = [dict(zip(models["columns"], row, strict=True)) for row in models["data"]]
    assert {row["model"]: row["f1_percent"] for row in rows} == {"teacher": 95.0, "student": 70.0}
    assert {row["model"]: row["p50_ms"] for row in rows} == pytest.approx(
        {model: report[model]["latency_ms"]["p50"] for model in ("teacher", "student")}
    )
    assert len(table(online, summary["summary"]["report/latency"])["data"]) == len(latency["rows"]) == 8
    words = table(online, summary["summary"]["report/question_word"])
    assert words["data"][0][:2] == ["dónde", 4]
    assert words["data"][0][words["columns"].index("student/f1_percent")] == 15.0


def test_the_page_is_there_as_it_is_in_the_folder(run):
    folder, online, summary, _ = run
    (page,) = online.glob(f"wandb/offline-run-*/files/{summary['summary']['report/page']['path']}")
    assert page.read_bytes() == (folder / "report.html").read_bytes()


def test_charts_have_titles_with_units(run):
    *_, records = run
    text = "\n".join(json.dumps(record) for record in records)
    assert "F1 against p50 latency in ms" in text
    assert "p50 in ms, batch 2" in text
    assert '"x": "p50_ms", "y": "f1_percent"' in text


def test_counters_have_no_charts_and_everything_runs_over_steps(run):
    *_, records = run
    defined = {}
    for record in records:
        if record["type"] == "metric":
            metric = record["metric"]
            defined.setdefault(metric.get("name") or metric.get("glob_name"), {}).update(metric)
    assert defined["epoch"]["options"]["hidden"]
    assert defined["trainer/global_step"]["options"]["hidden"]
    assert defined["*"]["step_metric"] == defined["val/f1"]["step_metric"] == "trainer/global_step"


def test_student_and_report_are_artifacts_that_wait_beside_the_run(run):
    folder, online, summary, records = run
    artifacts = {r["artifact"]["name"]: r["artifact"] for r in records if r["type"] == "artifact"}
    student, report = (artifacts[f"{name}-{summary['run_id']}"] for name in ("student", "report"))
    assert (student["type"], report["type"]) == ("model", "report")
    (weights,) = student["manifest"]["contents"]
    assert Path(weights["local_path"]) == folder / "student" / "model.safetensors"
    names = {entry["path"] for entry in report["manifest"]["contents"]}
    assert names == {"report.json", "report.html", "metrics.csv", "latency.json", "outcomes.jsonl"}
    assert all(Path(entry["local_path"]).is_relative_to(online) for entry in report["manifest"]["contents"])


def test_a_student_that_is_not_there_is_said(tmp_path):
    loggers = [CSVLogger(tmp_path, name="", version="run"), WandbRun(save_dir=str(tmp_path))]
    with pytest.warns(UserWarning, match="list WandbDashboard after SaveStudent"):
        tiny_trainer(tmp_path, [Report(), WandbDashboard()], logger=loggers).fit(FakeModule())


def test_without_wandb_nothing_happens(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="run")
    tiny_trainer(tmp_path, [Report(), WandbDashboard()], logger=logger).fit(FakeModule())
    assert wandb.run is None
