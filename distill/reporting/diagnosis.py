"""What a run is about to do, on one screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedModel

from distill.models.families import intermediate_size
from distill.reporting.size import num_parameters


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a run before its first step.

    Attributes:
        models: Name of a model to its figures, see :func:`model_facts`.
        facts: What else there is to know, label to text, in order.
        stages: The stages as plain data, see :meth:`~distill.stages.StagePlan.describe`.
        warnings: What looks wrong.
    """

    models: Mapping[str, Mapping[str, str]]
    facts: Mapping[str, str]
    stages: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = field(default_factory=tuple)


def model_facts(model: PreTrainedModel) -> dict[str, str]:
    """Return what the screen shows of a model: family, sizes, parameters and precision."""
    config = model.config
    return {
        "family": str(config.model_type),
        "layers": str(config.num_hidden_layers),
        "width": str(config.hidden_size),
        "heads": f"{config.num_attention_heads} x {config.hidden_size // config.num_attention_heads}",
        "feed-forward": str(intermediate_size(config)),
        "vocabulary": f"{config.vocab_size:,}",
        "parameters": f"{num_parameters(model):,}",
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
    }


def diagnosis_screen(diagnosis: Diagnosis) -> RenderableType:
    """Return the screen: models side by side, facts, stages, warnings."""
    models = Table(title="Before training")
    models.add_column("")
    for name in diagnosis.models:
        models.add_column(name, justify="right")
    labels = dict.fromkeys(label for facts in diagnosis.models.values() for label in facts)
    for label in labels:
        models.add_row(label, *(facts.get(label, "-") for facts in diagnosis.models.values()))
    facts = Table.grid(padding=(0, 2))
    for label, text in diagnosis.facts.items():
        facts.add_row(Text(label, style="bold"), Text(text))
    for stage in diagnosis.stages:
        weights = ", ".join(f"{name} {weight:g}" for name, weight in stage["weights"].items() if weight)
        facts.add_row(
            Text(f"stage {stage['name']}", style="bold"),
            Text(f"{stage['num_steps']:,} steps at {stage['learning_rate']:g}: {weights}"),
        )
    return Group(models, facts, *(Text(f"warning: {warning}", style="bold yellow") for warning in diagnosis.warnings))


def duration(seconds: float) -> str:
    """Return a length of time as people say it, to two figures or so.

    Example:
        >>> duration(42.4), duration(754), duration(9000), duration(200000)
        ('42 s', '13 min', '2 h 30 min', '2 d 8 h')
    """
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"
