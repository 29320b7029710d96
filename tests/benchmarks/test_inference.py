import json

import pytest

from distill.reporting.latency import TimedCalls
from tests.benchmarks.inference import FORMS, Sizes, headlines, main, num_rounds, summarise

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_ratios_are_taken_round_by_round():
    # The machine was twice as slow during the second round.
    times = {
        "teacher torch float32": (100, 200, 100),
        "teacher onnx int8": (50, 100, 50),
        "student onnx int8": (10, 20, 5),
    }
    calls = {name: TimedCalls(tuple(1_000_000 * ms for ms in found), 3) for name, found in times.items()}
    row = next(row for row in summarise(calls) if row["model"] == "student")
    assert (row["form"], row["rounds"]) == ("onnx int8", 3)
    assert row["p50_ms"] == 10.0
    assert row["p95_ms"] == pytest.approx(19.0)
    assert row["speedup"] == (10.0, 10.0, 15.0)
    assert row["like_for_like"] == (5.0, 5.0, 7.5)


def test_large_points_get_fewer_rounds_within_bounds():
    points = (1, 64), (8, 128), (32, 384)
    assert [num_rounds(*point, tokens=8192, least=3, most=20) for point in points] == [20, 8, 3]


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
    points = {"batch_sizes": [1], "lengths": [8], "max_rounds": 1, "min_rounds": 1, "forms": ["torch float32"]}
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
        max_rounds=4,
        forms=FORMS,
    )
    result = json.loads(output.read_text(encoding="utf-8"))
    assert {row["rounds"] for row in result["rows"]} == {4}
    assert len(result["rows"]) == 2 * 2 * 2 * len(FORMS)
    assert {(row["batch_size"], row["length"]) for row in result["rows"]} == {(1, 8), (1, 16), (2, 8), (2, 16)}
    assert result["parameters"]["teacher"] > result["parameters"]["student"]
    assert all(row["p50_ms"] > 0 for row in result["rows"])
    printed = capsys.readouterr().out
    assert all(printed.count(f"{role} {form}") == 4 for role in ("student", "teacher") for form in FORMS)
