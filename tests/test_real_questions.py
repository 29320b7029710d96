"""The commands on human-written Spanish questions; skipped without the third-party sets."""

import json
from pathlib import Path

import pytest

from distill.cli import main

from .metrics.official_rules import OfficialRules

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_predictions_of_the_test_command_score_what_it_says(real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--config", str(ROOT / "configs" / "distill.yaml"), "--trainer.enable_progress_bar", "false"]
    stages = "--schedule.stages."
    shortened = [f"{stages}intermediate.epochs=null", f"{stages}intermediate.steps=5"]
    shortened += [f"{stages}logits.epochs=null", f"{stages}logits.steps=20"]
    main(["fit", *common, *shortened])
    xquad = real_data / "qa" / "xquad_es.json"
    checkpoint = "lightning_logs/distill/version_0/checkpoints/last.ckpt"
    main(["test", *common, "--ckpt_path", checkpoint, "--data.test_files", f"[{xquad}]"])

    run = tmp_path / "lightning_logs" / "distill" / "version_1"
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
