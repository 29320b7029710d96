"""A log that takes its time to close, as one that sends what it holds does."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

#: More than the 5 seconds after which Lightning kills the first process once another one has failed.
SECONDS = 12.0


class SlowLog(Logger):
    """Logs nothing; leaves a file when it is closed."""

    name = "slow"
    version = 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log nothing."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Log nothing."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Take the time, then leave the file."""
        time.sleep(SECONDS)
        Path("closed.txt").write_text(status, encoding="utf-8")
