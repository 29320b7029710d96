"""Steps whose numbers were not finite: what is said of one, and what is kept of it so that it can be repeated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from distill.files import new_folder, write_json
from distill.types import Batch, UserError

#: How many identifiers a message lists before it only counts them.
_SHOWN_ITEMS = 3


@dataclass(frozen=True)
class Fault:
    """One optimizer step whose loss or gradient was not finite.

    Attributes:
        stage: The active stage's name.
        step: The run's optimizer step, from 0.
        values: For each batch of the step ``loss``, the weighted total, and every active term's raw mean.
        gradient_norm: Norm of the gradients before clipping.
        items: For each batch of the step what it was made of: question ids, or window ids where there are no questions.
        tasks: For each batch of the step its task, in a run of several.
        weights: The stage's weights of the terms.
        temperature: The stage's temperature.
    """

    stage: str
    step: int
    values: list[dict[str, float]]
    gradient_norm: float
    items: list[list[str]]
    tasks: list[str | None]
    weights: dict[str, float]
    temperature: float

    @property
    def culprits(self) -> list[int]:
        """Which batches of the step hold a value that is not finite; all of them if only the gradient is not."""
        bad = [i for i, values in enumerate(self.values) if not all(map(math.isfinite, values.values()))]
        return bad or list(range(len(self.values)))

    def describe(self) -> str:
        """Return the stage, the step, the terms that are not finite and the items, on one line.

        Example:
            >>> values, items = [{"loss": math.nan, "logits": math.nan, "labels": 2.5}], [["a", "b", "c", "d"]]
            >>> Fault("logits", 17, values, math.nan, items, [None], {}, 1.0).describe()
            "stage 'logits', step 17: logits is nan for questions a, b, c and 1 more"
        """
        values = {name: value for i in self.culprits for name, value in self.values[i].items() if name != "loss"}
        broken = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if not broken and any(not math.isfinite(batch["loss"]) for batch in self.values):
            broken = ["the weighted sum of finite terms is not finite"]
        elif not broken:
            broken = [f"the gradient is not finite (norm {self.gradient_norm})"]
        items = list(dict.fromkeys(item for i in self.culprits for item in self.items[i]))
        more = f" and {len(items) - _SHOWN_ITEMS} more" if len(items) > _SHOWN_ITEMS else ""
        tasks = dict.fromkeys(task for i in self.culprits if (task := self.tasks[i]) is not None)
        of_task = f"of task {', '.join(tasks)} " if tasks else ""
        return (
            f"stage {self.stage!r}, step {self.step}: {', '.join(broken)} {of_task}for questions "
            f"{', '.join(items[:_SHOWN_ITEMS])}{more}"
        )


def save_fault(
    folder: Path,
    fault: Fault,
    batches: Sequence[Batch],
    randoms: Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, Tensor],
) -> None:
    """Write a step's facts, batches and weights into a new folder, whole or not at all.

    ``fault.json`` tells the facts, with values that JSON has no number for as text; ``batches.safetensors`` holds
    ``<batch>.<inputs|labels>.<name>``, ``<batch>.window_ids`` and ``<batch>.random.<cpu|cuda>``, the generators'
    states before it; ``weights.safetensors`` holds the module before the step.
    """
    tensors: dict[str, Tensor] = {}
    for i, (batch, random) in enumerate(zip(batches, randoms, strict=True)):
        tensors[f"{i}.window_ids"] = batch.window_ids
        tensors |= {f"{i}.inputs.{name}": tensor for name, tensor in batch.inputs.items()}
        tensors |= {f"{i}.labels.{name}": tensor for name, tensor in batch.labels.items()}
        tensors |= {f"{i}.random.{name}": tensor for name, tensor in random.items()}
    with new_folder(folder, replace=True) as unfinished:
        save_file(_on_disk(tensors), unfinished / "batches.safetensors")
        save_file(_on_disk(weights), unfinished / "weights.safetensors")
        write_json(unfinished / "fault.json", _as_json(asdict(fault)))


def load_fault(folder: Path) -> tuple[Fault, list[Batch], list[dict[str, Tensor]], dict[str, Tensor]]:
    """Read what :func:`save_fault` wrote: the facts, the batches, the generators' states, the weights.

    Raises:
        UserError: If the folder does not hold a whole step.
    """
    try:
        raw = json.loads((folder / "fault.json").read_text(encoding="utf-8"))
        raw["values"] = [{name: float(value) for name, value in values.items()} for values in raw["values"]]
        fault = Fault(**{**raw, "gradient_norm": float(raw["gradient_norm"])})
        tensors = load_file(folder / "batches.safetensors")
        batches = [_batch(tensors, i) for i in range(len(fault.values))]
        randoms = [_part(tensors, f"{i}.random.") for i in range(len(batches))]
        return fault, batches, randoms, load_file(folder / "weights.safetensors")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UserError(f"{folder}: not a step that a run has kept ({error}); name a folder under faults/") from error


def _batch(tensors: Mapping[str, Tensor], i: int) -> Batch:
    inputs, labels = (_part(tensors, f"{i}.{part}.") for part in ("inputs", "labels"))
    return Batch(inputs, labels, tensors[f"{i}.window_ids"])


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _on_disk(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Copies, since safetensors refuses tensors that share memory, as tied weights do.
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
