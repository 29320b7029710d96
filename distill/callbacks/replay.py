"""Repeating a step that a run has kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from distill.reporting.faults import load_fault
from distill.stages import ActiveStage
from distill.types import UserError


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the generators' states by device type, without waiting for the device."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put the generators where they were."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def replay(trainer: L.Trainer, module: Any, folder: Path) -> list[str]:
    """Compute a kept step's values and gradient again; return them beside the kept ones, a line for each."""
    if not hasattr(module, "compute_means"):
        raise UserError("guard.replay: steps of runs of several tasks cannot be repeated yet; look at what was kept")
    fault, batches, randoms, weights = load_fault(folder)
    schedule: Any = next(callback for callback in trainer.callbacks if hasattr(callback, "plan"))  # type: ignore[attr-defined]
    if schedule.stages.get(fault.stage) is None:
        raise UserError(f"{folder}: the kept step is of stage {fault.stage!r}, which this configuration lacks")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{folder}: the kept weights are not of this configuration: {error}") from error
    index = list(schedule.stages).index(fault.stage)
    module.active_stage = ActiveStage(index, fault.stage, schedule.stages[fault.stage], 0, 1)
    lines = [f"replay of stage {fault.stage!r}, step {fault.step}"]
    for i, (batch, kept) in enumerate(zip(batches, fault.values, strict=True)):
        others = [*batches[:i], *batches[i + 1 :]]
        batch = replace(batch, others=others).to(module.device)
        set_random_state(randoms[i], module.device)
        module.on_train_batch_start(batch, i)
        with trainer.precision_plugin.train_step_context():
            shares = module.shares(batch, fault.weights, fault.temperature)
        terms = {name: share.value for name, share in shares.items()}
        total = torch.stack([fault.weights[name] * value for name, value in terms.items()]).sum()
        loss = torch.stack([fault.weights[name] * share.loss for name, share in shares.items()]).sum()
        torch.autograd.backward(loss / trainer.accumulate_grad_batches)
        now = {"loss": total, **terms}
        lines += [
            f"  batch {i}: {name} {float(value.detach()):.6g}, was {kept[name]:.6g}" for name, value in now.items()
        ]
    norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    module.zero_grad()
    return [*lines, f"  gradient norm {float(norm):.6g}, was {fault.gradient_norm:.6g}"]
