"""The model card of a masked-language model: what its run's report tells, and "unknown" for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCardData

from distill.reporting.environment import hide_folders

_UNKNOWN = "unknown"


def build_backbone_card(
    report: Mapping[str, Any], model: Mapping[str, Any], teacher: str | None = None, config: str | None = None
) -> str:
    """Return the card as Markdown with the hub's metadata on top.

    Args:
        report: The content of ``report.json``.
        model: The model's configuration, as ``config.json`` has it.
        teacher: What taught it, where anything did.
        config: The run's configuration as YAML.
    """
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag="fill-mask",
        tags=["masked-language-model", *(["distillation"] if teacher else [])],
    )
    sections = [
        _introduction(report, model, teacher),
        _USE,
        _scores(report),
        _data(report),
        _training(report),
        "## Licence\n\nUnknown: nobody named one. The text has licences of its own, and so has a teacher.",
        _configuration(config),
    ]
    return f"---\n{metadata.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"


_USE = """## Use

It fills masked words, and is meant as a start: `FOLDER` is where this card lies.

```
python train.py fit --config configs/teacher.yaml --model.tokenizer null --model.architecture null --model.model FOLDER
python train.py fit --config configs/general.yaml --model.teacher FOLDER
python train.py fit --config configs/distill.yaml --model.student '{init: FOLDER}'
```

The first fine-tunes it for questions, the second has it teach a smaller model, the third starts a student from it."""


def _introduction(report: Mapping[str, Any], model: Mapping[str, Any], teacher: str | None) -> str:
    taught = f"distilled from `{hide_folders(teacher)}`" if teacher else "trained without a teacher"
    layers, width, heads = (_size(model, *names) for names in _SIZES)
    return (
        f"# A masked-language model\n\nA {model.get('model_type', _UNKNOWN)} of {layers} layers, {width} wide, {heads} "
        f"heads, {report['student']['num_parameters']:,} parameters, with a vocabulary of "
        f"{_count(model.get('vocab_size'))} pieces; {taught}."
    )


#: What layers, width and heads are called in the configurations of different families.
_SIZES = (("num_hidden_layers", "n_layers"), ("hidden_size", "dim"), ("num_attention_heads", "n_heads"))


def _size(model: Mapping[str, Any], *names: str) -> str:
    return next((str(model[name]) for name in names if name in model), _UNKNOWN)


def _scores(report: Mapping[str, Any]) -> str:
    student, teacher = report["student"]["scores"], (report["teacher"] or {}).get("scores")
    columns = [student, *([teacher] if teacher else [])]
    rows = [
        [score["label"], *(f"{column[score['name']]:.2f}" for column in columns)]
        for score in report["headline"]
        if score["name"] in student
    ]
    source = (report["data"].get("validation") or {}).get("source", _UNKNOWN)
    return (
        f"## Scores\n\nOn {_count(student.get('num_masked_tokens'))} hidden tokens of the validation part, "
        f"`{_short(source)}`; perplexities compare for the same tokenizer and the same text alone.\n\n"
        + _table(["score", "model", *(["teacher"] if teacher else [])], rows)
    )


def _data(report: Mapping[str, Any]) -> str:
    data = report["data"]
    parts = [(name, data[name]) for name in ("train", "validation") if data.get(name)]
    rows = [
        [name, f"`{_short(part['source'])}`", *(_count(part.get(kind)) for kind in ("documents", "blocks", "tokens"))]
        for name, part in parts
    ]
    reading = (data.get("train") or {}).get("reading") or {}
    found = {
        "files": reading.get("files"),
        "documents read": reading.get("documents"),
        "characters": reading.get("characters"),
        "duplicates dropped": reading.get("duplicates"),
        "foreign documents dropped": reading.get("foreign_dropped"),
        "bytes that are not UTF-8": sum((reading.get("invalid_bytes") or {}).values()),
    }
    told = ", ".join(f"{_count(number)} {name}" for name, number in found.items())
    return (
        f"## Data\n\n{_table(['part', 'source', 'documents', 'blocks', 'tokens'], rows)}\n\nRead for training: {told}."
    )


def _training(report: Mapping[str, Any]) -> str:
    environment = report["environment"]
    total = (report.get("throughput") or {}).get("total") or {}
    hours = f"{total['seconds'] / 3600:.2f}" if "seconds" in total else _UNKNOWN
    num_steps = _count(environment.get("num_steps"))
    lines = [
        f"- Tokens seen: {_count(total.get('num_tokens'))}, padding aside, in {num_steps} steps",
        f"- Hours of training steps: {hours}, on "
        f"{environment.get('num_devices', 1)} x {_device(environment)}, {environment.get('precision', _UNKNOWN)}",
        f"- Share of tokens to predict: {report['data'].get('masking_probability', _UNKNOWN)}",
        f"- Command: `{environment.get('command', _UNKNOWN)}`",
        f"- Weights: {report['checkpoints']['rule']} (step {report['checkpoints']['best']['step']:,})",
    ]
    stages = [
        [
            stage["name"],
            f"{stage['num_steps']:,}",
            ", ".join(f"{loss} {weight:g}" for loss, weight in stage["weights"].items()),
            f"{stage['learning_rate']:g}",
        ]
        for stage in report["stages"]
    ]
    table = _table(["stage", "steps", "weights of the losses", "learning rate"], stages)
    return "## Training\n\n" + "\n".join(lines) + f"\n\n{table}"


def _device(environment: Mapping[str, Any]) -> str:
    device = str(environment.get("device", _UNKNOWN))
    return (
        f"{environment.get('cpu', _UNKNOWN)} ({environment.get('num_threads')} threads)" if device == "cpu" else device
    )


def _configuration(config: str | None) -> str:
    if config is None:
        return "## Configuration\n\nUnknown."
    text = hide_folders(config).strip()
    return f"## Configuration\n\n<details><summary>As resolved</summary>\n\n```yaml\n{text}\n```\n\n</details>"


def _short(source: str) -> str:
    """Return a list of files that is short enough for a table."""
    names = source.split(", ")
    return source if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} others"


def _count(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.0f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])
