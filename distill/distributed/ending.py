"""How the processes of a run end, so that the first one can say why and finish what it writes."""

from __future__ import annotations

import os
import time

from torch import distributed as dist

from distill.distributed.layout import launched_layout

#: Seconds that the first process is given to end by itself when another one has failed.
PATIENCE = 60.0

#: What has started this process, asked while it is sure to be there.
_PARENT = os.getppid()


def is_started_by_lightning() -> bool:
    """Whether Lightning has started this process beside a first one, which it kills soon after this one fails."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0 and launched_layout() is None


def let_first_process_end(patience: float = PATIENCE) -> None:
    """Wait in a process that has failed and was started by Lightning, until the first one has ended or time is up.

    It hears of the failure at once, since this process hangs up on the others.

    Args:
        patience: Seconds to wait at most.
    """
    if not is_started_by_lightning():
        return
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    since = time.monotonic()
    while os.getppid() == _PARENT and time.monotonic() - since < patience:
        time.sleep(0.1)


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error says that the other processes of a run do not answer."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))
