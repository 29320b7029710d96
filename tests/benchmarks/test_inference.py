import json

import pytest

from distill.reporting.latency import Latency
from tests.benchmarks.inference import FORMS, Sizes, main, summarise

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_ratios_are_taken_block_by_block():
    def block(teacher, student):
        return {
            "teacher torch float32": Latency(teacher, teacher, 1.0),
            "teacher onnx int8": Latency(teacher / 2, teacher, 1.0),
            "student onnx int8": Latency(student, 2 * student, 1.0),
        }

    # The machine was twice as slow during the second block.
    rows = summarise([block(100.0, 10.0), block(200.0, 20.0), block(100.0, 5.0)])
    row = next(row for row in rows if row["model"] == "student")
    assert row["form"] == "onnx int8"
    assert row["p50_ms"] == 10.0
    assert row["p50_ms_range"] == [5.0, 20.0]
    assert row["p95_ms"] == 20.0
    assert row["speedup"] == (10.0, 10.0, 20.0)
    assert row["like_for_like"] == (5.0, 5.0, 10.0)


def test_every_form_is_timed_at_every_point(tmp_path, capsys):
    output = tmp_path / "inference.json"
    main(
        output=str(output),
        student=Sizes(1, 8, 2, 16),
        teacher=Sizes(2, 16, 2, 32),
        vocab_size=50,
        batch_sizes=[1, 2],
        lengths=[8, 16],
        rounds=2,
        warmup=0,
        blocks=2,
    )
    result = json.loads(output.read_text(encoding="utf-8"))
    assert len(result["rows"]) == 2 * 2 * 2 * len(FORMS)
    assert {(row["batch_size"], row["length"]) for row in result["rows"]} == {(1, 8), (1, 16), (2, 8), (2, 16)}
    assert result["parameters"]["teacher"] > result["parameters"]["student"]
    assert all(row["p50_ms"] > 0 for row in result["rows"])
    printed = capsys.readouterr().out
    assert all(printed.count(f"{role} {form}") == 4 for role in ("student", "teacher") for form in FORMS)
