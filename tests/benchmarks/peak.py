"""How much memory a process has held at its peak."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory() -> int:
    """Return the most bytes that this process has held at once since its program began.

    ``ru_maxrss`` would count what the process held before it began its program: that of the one that started it. It is
    asked only where there is no ``/proc``.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
