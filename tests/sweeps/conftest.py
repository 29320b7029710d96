"""Sweeps whose trials are a stub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.sweeps.spec import Sweep, parse_sweep

STUB = Path(__file__).with_name("stub.py")


def sweep_of(parameters: dict[str, Any], method: str = "grid", extra: tuple[str, ...] = (), **keys: Any) -> Sweep:
    """Return a sweep of the stub over parameters."""
    content = {
        "program": str(STUB),
        "method": method,
        "metric": {"name": "final/f1", "goal": "maximize"},
        "command": ["${interpreter}", "${program}", *extra, "${args}"],
        "parameters": parameters,
        **keys,
    }
    return parse_sweep(content, "stubbed")
