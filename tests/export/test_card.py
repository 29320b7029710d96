import copy

import pytest
import yaml

from distill.export.card import build_card
from distill.export.provenance import Provenance

SCORES = {"exact_match": 70.0, "f1": 80.0, "squad/f1": 81.0, "no_answer/f1": 60.0, "num_questions": 300.0}


def form(file, **changes):
    return {
        "file": file,
        "dtype": "float32",
        "size_bytes": 4_000_000,
        "max_difference": {"padded": 1e-6, "unpadded": 2e-6},
        "exact_match": 70.0,
        "f1": 80.0,
        "intervals": {"exact_match": [65.0, 75.0], "f1": [76.5, 83.5]},
        "changed_answers": {},
        "latency": [{"batch_size": 1, "length": 384, "p50_ms": 10.0, "p95_ms": 12.0, "windows_per_second": 100.0}],
        "scores": SCORES,
        "problems": [],
        **changes,
    }


EXPORT = {
    "student": {
        "model_type": "roberta",
        "num_parameters": 1_000_000,
        "vocab_size": 3000,
        "num_layers": 2,
        "hidden_size": 64,
        "num_heads": 4,
    },
    "task": {"language": "es", "max_answer_length": 30, "n_best": 20, "null_threshold": 0.0},
    "formats": {
        "torch": form("model.safetensors"),
        "onnx": form("onnx/model.onnx"),
        "int8": form(
            "onnx/model_int8.onnx",
            size_bytes=1_000_000,
            f1=79.0,
            changed_answers={"q1": 0.5, "q2": 0.001, "q3": None},
            problems=["loses 1.00 F1"],
            latency=[{"batch_size": 1, "length": 384, "p50_ms": 2.5, "p95_ms": 3.0, "windows_per_second": 400.0}],
        ),
    },
    "quantization": {"divergence": 0.001, "max_divergence": 0.01, "quantized": ["a", "b"], "kept": ["/head/MatMul"]},
    "reference": {"batch_size": 1, "length": 384},
    "benchmark": {"rounds": 30, "warmup": 5, "num_threads": 1},
    "environment": {"cpu": "Some CPU"},
    "data": {
        "max_length": 384,
        "doc_stride": 128,
        "validation": {"source": "dev.json", "examples": 300, "impossible": 30, "windows": 310, "tokens": 9000},
    },
}
REPORT = {
    "teacher": {"scores": {**SCORES, "f1": 88.0}},
    "speedup": {"p50": 4.2},
    "data": {
        "train": {"source": "train.json", "examples": 5000, "windows": 5100},
        "validation": {"source": "dev.json", "examples": 300, "windows": 310, "tokens": 9000},
    },
    "environment": {"command": "distill fit", "precision": "bf16-mixed", "num_steps": 900, "torch": "2.13.0"},
    "stages": [
        {"name": "logits", "num_steps": 900, "weights": {"logits": 1.0}, "temperature": 2.0, "learning_rate": 1e-3}
    ],
}
CONFIG = "model: {init_args: {teacher: /home/ana/models/large}}\ndata: {init_args: {train_files: [/home/ana/qa.json]}}"


@pytest.fixture
def known():
    return Provenance(CONFIG, REPORT, "best.ckpt", "cc-by-4.0")


def line(card: str, start: str) -> str:
    return next(line for line in card.splitlines() if line.startswith(start))


def test_metadata_is_what_the_hub_reads(known):
    card = build_card(EXPORT, known, "alumno")
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["license"] == "cc-by-4.0"
    assert metadata["language"] == "es"
    assert metadata["pipeline_tag"] == "question-answering"
    metrics = metadata["model-index"][0]["results"][0]["metrics"]
    assert {metric["type"]: metric["value"] for metric in metrics} == {"exact_match": 70.0, "f1": 80.0}


def test_every_format_has_its_scores_size_latency_and_verdict(known):
    card = build_card(EXPORT, known, "alumno")
    row = line(card, "| int8 ")
    for expected in ("`onnx/model_int8.onnx`", "1.00", "79.00 (76.5 to 83.5)", "| 3 |", "loses 1.00 F1"):
        assert expected in row
    assert line(card, "| torch ").endswith("| good |")
    assert "2.50 / 3.00 (4.00x)" in line(card, "| 1 x 384 ")
    assert "Left in float32 by the INT8 form, the most sensitive first: /head/MatMul." in card


def test_making_is_told_from_the_run(known):
    card = build_card(EXPORT, known, "alumno")
    assert line(card, "| F1 |") == "| F1 | 80.00 | 88.00 |"
    for expected in ("`train.json`, 5,000 questions", "`distill fit`", "| logits | 900 | logits 1 | 2 | 0.001 |"):
        assert expected in card
    assert "4.20x faster than the teacher's" in card


def test_nothing_of_the_makers_machine_is_told(known):
    card = build_card(EXPORT, known, "alumno")
    assert "/home" not in card
    assert "`large`" in card
    assert "qa.json" in card


def test_teacher_scored_on_other_questions_is_not_put_beside_the_student(known):
    report = copy.deepcopy(REPORT)
    report["data"]["validation"]["tokens"] = 9001
    card = build_card(EXPORT, Provenance(CONFIG, report, None, "unknown"), "alumno")
    assert line(card, "| F1 |") == "| F1 | 80.00 |"
    assert "The teacher's scores on these questions: unknown." in card


def test_what_is_not_known_is_said_to_be():
    card = build_card(EXPORT, Provenance(None, None, None, "unknown"), "alumno")
    assert "its teacher, if any, is unknown" in card
    assert "Data, recipe and command: unknown" in card
    assert "Unknown: nobody named one." in card
    assert "## Configuration\n\nUnknown." in card


def test_limits_say_how_unanswerable_questions_are_treated(known):
    assert "No answer is given when" in build_card(EXPORT, known, "alumno")
    never = {**EXPORT, "task": {**EXPORT["task"], "null_threshold": None}}
    assert "An answer is always given" in build_card(never, known, "alumno")


def test_samples_name_what_the_user_loads(known):
    card = build_card(EXPORT, known, "alumno", "ana/alumno")
    assert 'name = "ana/alumno"' in card
    assert 'InferenceSession("onnx/model_int8.onnx")' in card
    alone = {**EXPORT, "formats": {"torch": EXPORT["formats"]["torch"]}, "quantization": None}
    assert "onnxruntime" not in build_card(alone, known, "alumno")
