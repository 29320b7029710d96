"""Folders of runs as fits leave them, with made-up but consistent figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

STAGES = [
    {
        "name": name, "start_step": start, "num_steps": steps, "weights": weights, "temperature": 2.0,
        "learning_rate": 0.002, "warmup": 0.1, "decay": "linear",
    }
    for name, start, steps, weights in (
        ("intermediate", 0, 40, {"attention": 1.0, "hidden": 1.0}),
        ("logits", 40, 60, {"logits": 1.0, "labels": 0.5}),
    )
]  # fmt: skip


def side(f1: float, num_parameters: int, p50_ms: float | None) -> dict[str, Any]:
    """Return what a report says about one model."""
    return {
        "exact_match": f1 - 3, "f1": f1, "num_parameters": num_parameters, "size_bytes": 4 * num_parameters,
        "latency_ms": {"p50": p50_ms, "p95": None if p50_ms is None else 2 * p50_ms},
        "windows_per_second": None if p50_ms is None else 1000 / p50_ms, "peak_memory_bytes": None,
        "scores": {"exact_match": f1 - 3, "f1": f1, "has_answer/f1": f1 + 1, "num_questions": 12.0},
    }  # fmt: skip


def report(with_teacher: bool = True, with_benchmark: bool = True) -> dict[str, Any]:
    """Return the content of a ``report.json``."""
    student = side(78.5, 308_674, 3.0 if with_benchmark else None)
    teacher = side(84.4, 1_243_522, 12.1 if with_benchmark else None) if with_teacher else None
    scores = {"exact_match": 75.5, "f1": 78.5}
    groups = [("qué", 7, 80.0, 90.0), ("dónde", 5, 76.4, 76.6)]
    return {
        "status": "finished",
        "student": student,
        "teacher": teacher,
        "retention": {"exact_match": 0.927, "f1": 0.93} if teacher else {"exact_match": None, "f1": None},
        "speedup": {"p50": 4.03 if teacher and with_benchmark else None},
        "compression": {"parameters": 4.03, "bytes": 4.03} if teacher else {"parameters": None, "bytes": None},
        "checkpoints": {
            "rule": "best validation F1 within the final stage",
            "best": {"path": "checkpoints/best.ckpt", "step": 100, "scores": scores},
            "last": {"path": "checkpoints/last.ckpt", "step": 100, "scores": scores},
        },
        "stages": STAGES,
        "data": {"max_length": 384, "train": {"source": "embedded", "examples": 24114}},
        "benchmark": {"batch_size": 1, "length": 384, "device": "cpu", "cpu": "x", "dtype": "float32", "num_threads": 1}
        if with_benchmark
        else None,
        "environment": {"device": "cpu", "precision": "bf16-mixed", "num_steps": 100, "commit": None},
        "breakdowns": {
            "question word": [
                {"group": group, "num_items": count, "student": {"exact_match": mine - 3, "f1": mine},
                 "teacher": {"exact_match": other - 3, "f1": other} if teacher else None}
                for group, count, mine, other in groups
            ]
        },
        "agreement": {"both": 8, "teacher_only": 2, "student_only": 1, "neither": 1} if teacher else None,
    }  # fmt: skip


def metrics() -> list[dict[str, Any]]:
    """Return the rows of a ``metrics.csv``: two terms in either stage, and scores from the tenth step on."""
    rows: list[dict[str, Any]] = []
    for step in range(0, 100, 5):
        stage = 0 if step < 40 else 1
        terms = (
            {"train/intermediate/attention": 80 - step, "train/intermediate/hidden": 2.5 - step / 40}
            if stage == 0
            else {"train/logits/logits": 12 - step / 10, "train/logits/labels": 5 - step / 30}
        )
        rows.append(
            {"step": step, "train/loss": 90 - step, "train/learning_rate": 0.002, "train/stage": stage, **terms}
        )
        if step % 20 == 15:
            scores = {"f1": 10 + step * 0.72, "exact_match": 5 + step * 0.7, "has_answer/f1": step, "num_questions": 12}
            rows.append({"step": step, **{f"val/{name}": value for name, value in scores.items()}})
    return rows


def latency() -> dict[str, Any]:
    """Return the content of a ``latency.json``: two models, two batch sizes, three lengths."""
    rows = [
        {
            "model": model, "batch_size": batch_size, "length": length, "p50_ms": factor * batch_size * length / 128,
            "p95_ms": factor * batch_size * length / 100, "windows_per_second": 100.0, "peak_memory_bytes": None,
        }
        for model, factor in (("student", 1.0), ("teacher", 4.0))
        for batch_size in (1, 8)
        for length in (64, 128, 384)
    ]  # fmt: skip
    return {"reference": {"batch_size": 1, "length": 384}, "rows": rows}


SAMPLES = [
    {"question_id": "q1", "question": "¿Dónde nació Íñigo Peña?",
     "context": "Íñigo Peña nació en Cádiz & murió en Jaén.", "reference": "Cádiz", "student": "Jaén",
     "teacher": "Cádiz"},
    {"question_id": "q2", "question": "¿Quién murió?", "context": "Íñigo Peña nació en Cádiz.", "reference": "",
     "student": "", "teacher": ""},
    {"question_id": "q3", "question": "¿<script>alert(1)</script>?", "context": "a < b > c \x07", "reference": "b",
     "student": "<b>", "teacher": ""},
]  # fmt: skip

SIMILARITY = {"measure": "linear CKA", "layers": [0, 2], "matrix": [[0.91, 0.4, 0.1], [0.2, 0.55, 1.0]]}

EXPORT = {
    "reference": {"batch_size": 1, "length": 384},
    "formats": {
        name: {
            "size_bytes": size, "scores": {"f1": f1, "exact_match": f1 - 3}, "problems": problems,
            "latency": [{"batch_size": 1, "length": 384, "p50_ms": p50, "p95_ms": p50, "windows_per_second": 1.0}],
        }
        for name, size, f1, p50, problems in (
            ("torch", 1_234_696, 78.5, 3.1, []),
            ("int8", 400_000, 77.6, 3.4, ["loses 0.90 F1", "slower than torch float32: 1.10x the time"]),
        )
    },
}  # fmt: skip


def write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write a ``metrics.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def write_run(folder: Path, **parts: Any) -> Path:
    """Write a run's folder; ``parts`` replaces a file's content by name, None leaves it out."""
    contents = {"report": report(), "metrics": metrics(), "latency": latency(), "samples": SAMPLES, **parts}
    folder.mkdir(parents=True, exist_ok=True)
    if contents["metrics"] is not None:
        write_metrics(folder, contents["metrics"])
    for name in ("report", "latency", "samples"):
        if contents[name] is not None:
            (folder / f"{name}.json").write_text(json.dumps(contents[name], ensure_ascii=False), encoding="utf-8")
    if "export" in parts:
        (folder / "export").mkdir()
        (folder / "export" / "export.json").write_text(json.dumps(parts["export"]), encoding="utf-8")
    if "similarity" in parts:
        (folder / "layer_similarity.json").write_text(json.dumps(parts["similarity"]), encoding="utf-8")
    outcomes = [
        {"id": "q1", "student": {"prediction": "Jaén", "exact_match": 0.0, "f1": 12.0}, "teacher": {"f1": 99.0}}
    ]
    (folder / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in outcomes), encoding="utf-8")
    (folder / "config.yaml").write_text("seed_everything: 42\n", encoding="utf-8")
    return folder
