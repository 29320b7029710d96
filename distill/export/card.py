"""The model card of an export: what is known and was measured, and the word "unknown" for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from distill.export.checks import MAX_F1_LOSS
from distill.export.provenance import Provenance
from distill.export.samples import ONNX_SAMPLE, TORCH_SAMPLE
from distill.models.loading import EMBEDDED
from distill.reporting.comparison import score_label, table_scores
from distill.reporting.environment import hide_folders

UNKNOWN = "unknown"


def build_card(export: Mapping[str, Any], provenance: Provenance, name: str, source: str = ".") -> str:
    """Return the card of an export as Markdown with the hub's metadata on top.

    Args:
        export: The content of ``export.json``.
        provenance: Where the student comes from.
        name: What the model is called.
        source: What its user loads it from: the hub name, or the folder that the card lies in.
    """
    sections = [
        _introduction(export, provenance, name),
        _usage(export, source),
        _scores(export, provenance),
        _latency(export, provenance),
        _training(export, provenance),
        _limits(export),
        f"## Licence\n\n{_license(provenance)}",
        _configuration(provenance),
    ]
    return f"---\n{_metadata(export, provenance, name).to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"


def _metadata(export: Mapping[str, Any], provenance: Provenance, name: str) -> ModelCardData:
    data, scores = export["data"]["validation"], export["formats"]["torch"]
    results = [
        EvalResult(
            task_type="question-answering",
            dataset_type=data["source"],
            dataset_name=data["source"],
            metric_type=metric,
            metric_value=round(scores[metric], 2),
        )
        for metric in ("exact_match", "f1")
    ]
    return ModelCardData(
        language=export["task"]["language"],
        license=provenance.license,
        library_name="transformers",
        pipeline_tag="question-answering",
        tags=["distillation", "extractive-question-answering", *(["onnx"] if "onnx" in export["formats"] else [])],
        model_name=name,
        eval_results=results,
    )


def _introduction(export: Mapping[str, Any], provenance: Provenance, name: str) -> str:
    student = export["student"]
    taught = f"distilled from {_teachers(provenance)}" if provenance.teachers else "its teacher, if any, is unknown"
    return (
        f"# {name}\n\n"
        f"Extractive question answering ({export['task']['language']}): a {student['model_type']} of "
        f"{student['num_layers']} layers, {student['hidden_size']} wide, {student['num_heads']} heads, "
        f"{student['num_parameters']:,} parameters; {taught}."
    )


def _usage(export: Mapping[str, Any], source: str) -> str:
    parts = [f"## Use\n\n```python\n{TORCH_SAMPLE.replace('NAME', source)}```"]
    if "onnx" in export["formats"]:
        file = export["formats"]["int8" if "int8" in export["formats"] else "onnx"]["file"]
        parts.append("With ONNX Runtime, from this folder:\n\n" + f"```python\n{ONNX_SAMPLE.replace('FILE', file)}```")
    return "\n\n".join(parts)


def _scores(export: Mapping[str, Any], provenance: Provenance) -> str:
    data = export["data"]["validation"]
    rows = [
        [
            name,
            f"`{form['file']}`",
            f"{form['size_bytes'] / 1e6:.2f}",
            _with_interval(form, "exact_match"),
            _with_interval(form, "f1"),
            f"{len(form['changed_answers']):,}",
            f"{max(form['max_difference'].values()):.1e}",
            "; ".join(form["problems"]) or "good",
        ]
        for name, form in export["formats"].items()
    ]
    header = ["format", "weights", "MB", "EM", "F1", "answers unlike torch", "largest logit difference", "verdict"]
    parts = [
        f"## Scores\n\nOn `{data['source']}`, {data['examples']:,} questions, {data['impossible']:,} of them without "
        "an answer; 95 % bootstrap intervals over contexts. The verdict says where a format loses more than "
        f"{MAX_F1_LOSS} F1, or where its calls are longer than float32 torch's.",
        _table(header, rows),
    ]
    scores = export["formats"]["torch"]["scores"]
    teacher = _teacher_scores(export, provenance)
    parts.append(
        _table(
            ["score", "student", *(["teacher"] if teacher else [])],
            [
                [score_label(name), f"{scores[name]:.2f}", *([f"{teacher[name]:.2f}"] if teacher else [])]
                for name in table_scores(scores)
                if teacher is None or name in teacher
            ],
        )
    )
    if provenance.teachers and teacher is None:
        parts.append(f"The teacher's scores on these questions: {UNKNOWN}.")
    kept = (export["quantization"] or {}).get("kept")
    if kept:
        parts.append("Left in float32 by the INT8 form, the most sensitive first: " + ", ".join(kept) + ".")
    return "\n\n".join(parts)


def _latency(export: Mapping[str, Any], provenance: Provenance) -> str:
    formats, environment, benchmark = export["formats"], export["environment"], export["benchmark"]
    rows = []
    for index, point in enumerate(formats["torch"]["latency"]):
        row = [f"{point['batch_size']} x {point['length']}"]
        for form in formats.values():
            timing = form["latency"][index]
            ratio = point["p50_ms"] / timing["p50_ms"]
            row.append(f"{timing['p50_ms']:.2f} / {timing['p95_ms']:.2f} ({ratio:.2f}x)")
        rows.append(row)
    text = (
        f"## Latency\n\nMilliseconds of a call, p50 / p95, and how many times faster than float32 torch at the p50; "
        f"{benchmark['rounds']} rounds, the formats in turns, {benchmark['num_threads']} thread(s) on "
        f"{environment['cpu']}.\n\n" + _table(["batch x length", *formats], rows)
    )
    speedup = ((provenance.report or {}).get("speedup") or {}).get("p50")
    if speedup:
        text += f"\n\nAt the end of its training the student's p50 was {speedup:.2f}x faster than the teacher's."
    return text


def _training(export: Mapping[str, Any], provenance: Provenance) -> str:
    report = provenance.report
    if report is None:
        lines = [f"Data, recipe and command: {UNKNOWN} (no report of a finished run lay beside the weights)."]
    else:
        train = report["data"].get("train") or {}
        environment = report["environment"]
        lines = [
            f"- Teacher: {_teachers(provenance) if provenance.teachers else 'none'}",
            f"- Data: `{train.get('source', UNKNOWN)}`, {_count(train.get('examples'))} questions in "
            f"{_count(train.get('windows'))} windows",
            f"- Command: `{environment.get('command', UNKNOWN)}`",
            f"- Precision: {environment.get('precision', UNKNOWN)}; {_count(environment.get('num_steps'))} steps; "
            f"torch {environment.get('torch', UNKNOWN)}, transformers {environment.get('transformers', UNKNOWN)}",
            f"- Weights: {provenance.weights or UNKNOWN}",
        ]
        if provenance.other_tasks:
            lines.append(f"- Other tasks that trained the same encoder: {', '.join(provenance.other_tasks)}")
        header = ["stage", "steps", "weights of the losses", "temperature", "learning rate"]
        stages = [
            [
                stage["name"],
                f"{stage['num_steps']:,}",
                ", ".join(f"{loss} {weight:g}" for loss, weight in stage["weights"].items()),
                f"{stage['temperature']:g}",
                f"{stage['learning_rate']:g}",
            ]
            for stage in report["stages"]
        ]
        lines.append(f"\n{_table(header, stages)}")
    return "## Training\n\n" + "\n".join(lines)


def _limits(export: Mapping[str, Any]) -> str:
    data, task = export["data"], export["task"]
    threshold = task["null_threshold"]
    lines = [
        "It marks a span of the text that it is given; it writes nothing of its own and knows nothing else.",
        f"Scored on `{data['validation']['source']}` alone; how it does on other texts is unknown.",
        f"It reads windows of at most {data['max_length']} tokens, question included; the scores come from longer "
        f"texts cut into windows that share {data['doc_stride']} tokens.",
        "An answer is always given, also where there is none."
        if threshold is None
        else f"No answer is given when the first token's score exceeds the best span's by more than {threshold:g}.",
        f"Latency and INT8 scores hold for the processor named above ({export['environment']['cpu']}).",
    ]
    if data["validation"]["source"] == EMBEDDED:
        lines.append("The embedded questions are templated: a score on them says nothing about human-written language.")
    if "int8" in export["formats"]:
        lines.append(
            "INT8 scales activations by the largest value in a call, so scores depend a little on what shares the "
            "batch; on x86 processors without VNNI its sums may saturate and lose accuracy."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _license(provenance: Provenance) -> str:
    if provenance.license == UNKNOWN:
        return "Unknown: nobody named one. Teacher and data have licences of their own, which bind the student too."
    return f"`{provenance.license}`"


def _configuration(provenance: Provenance) -> str:
    if provenance.config is None:
        return f"## Configuration\n\n{UNKNOWN.capitalize()}."
    text = hide_folders(provenance.config).strip()
    return f"## Configuration\n\n<details><summary>As resolved</summary>\n\n```yaml\n{text}\n```\n\n</details>"


def _teachers(provenance: Provenance) -> str:
    return " and ".join(
        "the teacher that the package `distill` carries" if teacher == EMBEDDED else f"`{hide_folders(teacher)}`"
        for teacher in provenance.teachers
    )


def _teacher_scores(export: Mapping[str, Any], provenance: Provenance) -> Mapping[str, float] | None:
    """Return the teacher's scores of the run's report if they are of the same questions."""
    report = provenance.report
    if report is None or report["teacher"] is None:
        return None
    same = ("source", "examples", "windows", "tokens")
    mine, theirs = export["data"]["validation"], report["data"].get("validation") or {}
    return report["teacher"]["scores"] if all(mine[key] == theirs.get(key) for key in same) else None


def _with_interval(form: Mapping[str, Any], metric: str) -> str:
    low, high = form["intervals"][metric]
    return f"{form[metric]:.2f} ({low:.1f} to {high:.1f})"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
