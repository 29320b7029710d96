"""The progress bar, with the stage in it."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar


class StageProgressBar(RichProgressBar):
    """Lightning's rich progress bar; also names the active stage."""

    def get_metrics(self, trainer: L.Trainer, pl_module: Any) -> dict[str, Any]:
        """Return what stands beside the bar: the stage first, then what was logged for the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        active = getattr(pl_module, "active_stage", None)
        return metrics if active is None else {"stage": active.name, **metrics}
