"""The commands on human-written Spanish questions; skipped without the third-party sets."""

import json
from pathlib import Path

import pytest

from distill.cli import main
from distill.tasks.question_answering.reading import read_examples

from .export.alone import compare, readers_of
from .metrics.official_rules import OfficialRules

ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.slow

COMMON = ["--config", str(ROOT / "configs" / "distill.yaml"), "--trainer.enable_progress_bar", "false"]
CHECKPOINT = "lightning_logs/distill/version_0/checkpoints/last.ckpt"


@pytest.fixture
def run_folder(real_data, tmp_path, monkeypatch):
    """Where a student was trained for a few steps; commands run there."""
    monkeypatch.chdir(tmp_path)
    stages = "--schedule.stages."
    shortened = [f"{stages}intermediate.epochs=null", f"{stages}intermediate.steps=5"]
    shortened += [f"{stages}logits.epochs=null", f"{stages}logits.steps=20"]
    main(["fit", *COMMON, *shortened])
    return tmp_path


@pytest.fixture
def xquad(real_data):
    return real_data / "qa" / "xquad_es.json"


def test_predictions_of_the_test_command_score_what_it_says(run_folder, xquad):
    main(["test", *COMMON, "--ckpt_path", CHECKPOINT, "--data.test_files", f"[{xquad}]"])

    run = run_folder / "lightning_logs" / "distill" / "version_1"
    predictions = json.loads((run / "predictions.json").read_text(encoding="utf-8"))
    references = {
        question["id"]: [answer["text"] for answer in question["answers"]]
        for article in json.loads(xquad.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }
    assert len(references) == 1190
    assert predictions.keys() == references.keys()
    assert sum(bool(answer) for answer in predictions.values()) > 100
    logged = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    scores = dict(zip(logged[0].split(","), map(float, logged[-1].split(",")), strict=True))
    rules = OfficialRules()
    mlqa = rules.score(rules.mlqa, predictions, references)
    squad = rules.score(rules.squad, predictions, references)
    assert (scores["test/exact_match"], scores["test/f1"]) == pytest.approx(mlqa, rel=1e-6)
    assert (scores["test/squad/exact_match"], scores["test/squad/f1"]) == pytest.approx(squad, rel=1e-6)


def test_exports_answer_as_the_student_does_with_transformers_alone_and_with_onnxruntime_alone(run_folder, xquad):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    main(["export", *COMMON, "--ckpt_path", CHECKPOINT, "--output", "exported"])
    examples, _ = read_examples([xquad])
    found = compare(
        readers_of(run_folder / "lightning_logs" / "distill" / "version_0" / "student", "exported"), examples
    )
    assert found["transformers"]["max_difference"] == 0.0
    assert found["onnxruntime"]["max_difference"] < 1e-4
    for name in ("transformers", "onnxruntime"):
        # Only where two answers are as good as equal may rounding choose the other one.
        assert all(margin < 1e-4 for margin in found[name]["changed"].values())
    assert found["onnxruntime int8"]["f1"] > found["student"]["f1"] - 0.5
