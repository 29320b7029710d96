"""The report at the end of a run."""

from __future__ import annotations

import json

import pytest
from lightning.pytorch.loggers import CSVLogger

from distill.callbacks.benchmark import LatencyBenchmark
from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint, best_rule
from distill.callbacks.progress import StageProgressBar
from distill.callbacks.report import NO_CHECKPOINT, Report
from distill.callbacks.stages import StageSchedule
from distill.stages import Stage
from distill.tasks.base import EvaluationResult
from distill.types import UserError

from .fakes import FakeData, FakeModule, tiny_trainer


def best_checkpoint():
    return BestInFinalStage()


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def benchmark():
    return LatencyBenchmark(batch_sizes=(1,), lengths=(8, 16), rounds=2, warmup=0)


def test_report_compares_the_best_student_with_the_teacher(tmp_path, capsys, benchmark):
    module = FakeModule()
    logger = CSVLogger(tmp_path, name="", version="run")
    callbacks = [benchmark, Report(), best_checkpoint(), LastCheckpoint()]
    trainer = tiny_trainer(tmp_path, callbacks, logger=logger, enable_checkpointing=True)
    trainer.fit(module)
    report = read(tmp_path / "run" / "report.json")
    assert (report["student"]["f1"], report["teacher"]["f1"]) == (80.0, 95.0)
    assert report["retention"]["f1"] == pytest.approx(80 / 95)
    assert report["checkpoints"]["rule"] == best_rule(module.task)
    best, last = report["checkpoints"]["best"], report["checkpoints"]["last"]
    assert (best["path"], best["step"], best["scores"]["f1"]) == ("checkpoints/best.ckpt", 2, 80.0)
    assert (last["path"], last["step"], last["scores"]["f1"]) == ("checkpoints/last.ckpt", 4, 70.0)
    row = next(r for r in benchmark.result["rows"] if r["model"] == "teacher" and r["length"] == 16)
    assert report["teacher"]["latency_ms"] == {"p50": row["p50_ms"], "p95": row["p95_ms"]}
    assert report["benchmark"]["length"] == 16
    assert report["compression"]["parameters"] > 1
    assert report["stages"] == []
    assert report["status"] == "finished"
    assert module.evaluated == ["student", "teacher"]
    assert "report/retention/f1" in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    printed = capsys.readouterr().out
    assert "teacher" in printed
    assert "F1, unseen_wording" in printed
    assert best_rule(module.task) in " ".join(printed.split())


def test_the_student_holds_the_best_weights_afterwards(tmp_path):
    module = FakeModule()
    tiny_trainer(tmp_path, [Report(), best_checkpoint()], enable_checkpointing=True).fit(module)
    assert module.student.qa_outputs.bias.tolist() == [1.0, 1.0]


def test_without_a_checkpoint_the_last_weights_are_reported_and_said_so(tmp_path, capsys):
    module = FakeModule()
    tiny_trainer(tmp_path, [Report()]).fit(module)
    checkpoints = read(tmp_path / "report.json")["checkpoints"]
    assert checkpoints["rule"] == NO_CHECKPOINT
    assert checkpoints["best"] == {"path": None, "step": 4, "scores": checkpoints["last"]["scores"]}
    assert NO_CHECKPOINT in " ".join(capsys.readouterr().out.split())


def test_without_teacher_or_benchmark_their_figures_are_null(tmp_path):
    tiny_trainer(tmp_path, [Report()]).fit(FakeModule(with_teacher=False))
    report = read(tmp_path / "report.json")
    assert report["teacher"] is None
    assert report["benchmark"] is None
    assert report["student"]["latency_ms"] == {"p50": None, "p95": None}


def test_a_trial_run_prints_the_table_and_writes_nothing(tmp_path, capsys):
    tiny_trainer(tmp_path, [Report(), best_checkpoint()], fast_dev_run=True, enable_checkpointing=True).fit(
        FakeModule()
    )
    assert "F1" in capsys.readouterr().out
    assert list(tmp_path.rglob("*.json")) == []


def test_sanity_checking_writes_nothing(tmp_path):
    report = Report()
    trainer = tiny_trainer(tmp_path, [report], num_sanity_val_steps=1)
    trainer.fit(FakeModule())
    assert not (tmp_path / "predictions.json").exists()
    assert report.report is not None


def test_a_fit_without_validation_warns_and_reports_nothing(tmp_path):
    with pytest.warns(UserWarning, match="no validation data"):
        tiny_trainer(tmp_path, [Report()], limit_val_batches=0).fit(FakeModule())
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize("command", ["validate", "test"])
def test_predictions_are_written_after_validate_and_test(tmp_path, capsys, command):
    module = FakeModule()
    getattr(tiny_trainer(tmp_path, [Report()]), command)(module, verbose=False)
    assert read(tmp_path / "predictions.json") == {f"q{i}": "Jaén" for i in range(6)}
    printed = capsys.readouterr().out
    assert "90.00" in printed
    target = tmp_path / "predictions.json"
    assert printed.splitlines()[-1] == f"{command}: 6 questions; EM 70.00, F1 90.00; wrote {target}"


def test_predict_ends_with_what_was_answered_and_where_it_is(tmp_path, capsys):
    module = FakeModule()
    tiny_trainer(tmp_path, [Report()]).predict(module)
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"predict: 6 predictions; wrote {tmp_path / 'predictions.json'}"
    assert "F1" not in printed  # of questions without references


def test_last_line_of_an_evaluation_stands_below_the_progress_bar(tmp_path, capsys):
    bar = StageProgressBar(leave=True)
    tiny_trainer(tmp_path, [Report(), bar], enable_progress_bar=True).test(FakeModule(), verbose=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("test: 6 questions; EM 70.00")


def test_outcomes_of_single_items_are_written_where_the_task_has_them(tmp_path):
    class Scored(FakeModule):
        def _result(self, model):
            result = super()._result(model)
            outcomes = {item: {"exact_match": 100.0 if model is self.teacher else 0.0} for item in result.predictions}
            return EvaluationResult(result.scores, result.predictions, outcomes, {"kind": {"all": list(outcomes)}})

    tiny_trainer(tmp_path, [Report()]).fit(Scored())
    rows = [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {
        "id": "q0",
        "student": {"prediction": "Jaén", "exact_match": 0.0},
        "teacher": {"prediction": "Cádiz", "exact_match": 100.0},
    }
    report = read(tmp_path / "report.json")
    assert report["agreement"] == {"both": 0, "teacher_only": 6, "student_only": 0, "neither": 0}
    assert report["breakdowns"]["kind"][0]["num_items"] == 6
    tiny_trainer(tmp_path / "plain", [Report()]).fit(FakeModule())
    assert not (tmp_path / "plain" / "outcomes.jsonl").exists()


def test_a_benchmark_listed_too_late_is_refused(tmp_path, benchmark):
    with pytest.raises(UserError, match="list LatencyBenchmark before Report"):
        tiny_trainer(tmp_path, [Report(), benchmark]).fit(FakeModule())


def test_stages_and_data_are_described(tmp_path):
    stages = {"intermediate": Stage({"hidden": 1.0}, epochs=1), "logits": Stage({"logits": 1.0}, epochs=1)}
    module, report = FakeModule(), Report()
    trainer = tiny_trainer(tmp_path, [StageSchedule(stages), report])
    trainer.fit(module, datamodule=FakeData())
    assert [(s["name"], s["start_step"], s["num_steps"]) for s in report.report["stages"]] == [
        ("intermediate", 0, 2),
        ("logits", 2, 2),
    ]
    assert read(tmp_path / "report.json")["data"] == {"questions": 6}
