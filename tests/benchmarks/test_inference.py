import json

import pytest

from distill.reporting.latency import Latency
from tests.benchmarks.inference import FORMS, Sizes, headlines, main, summarise

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


def test_the_fastest_form_and_the_ratios_like_for_like_stand_side_by_side():
    def row(form, speedup, like):
        return {"batch_size": 1, "length": 384, "model": "student", "form": form,
                "speedup": (speedup, 0.0, 0.0), "like_for_like": (like, 0.0, 0.0)}  # fmt: skip

    rows = [row("torch float32", 11.0, 11.0), row("onnx int8", 24.04, 9.0)]
    assert headlines({"rows": [*rows, {**rows[0], "model": "teacher"}]}) == [
        "1 x 384: onnx int8 24.0x the float32 torch teacher; like for like: torch float32 11.0x, onnx int8 9.0x"
    ]


def test_forms_and_the_processors_clock_are_chosen(tmp_path):
    output = tmp_path / "inference.json"
    tiny = {"student": Sizes(1, 8, 2, 16), "teacher": Sizes(1, 8, 2, 16), "vocab_size": 50, "output": str(output)}
    points = {"batch_sizes": [1], "lengths": [8], "rounds": 1, "blocks": 1, "forms": ["torch float32"]}
    main(**tiny, **points, clock="processor")
    result = json.loads(output.read_text(encoding="utf-8"))
    assert [row["form"] for row in result["rows"]] == ["torch float32"] * 2
    assert result["clock"] == "processor"
    with pytest.raises(SystemExit, match="--threads 1"):
        main(**tiny, **points, clock="processor", threads=2)
    with pytest.raises(SystemExit, match="torch float32 must be one"):
        main(**tiny, **{**points, "forms": ["onnx int8"]})


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
