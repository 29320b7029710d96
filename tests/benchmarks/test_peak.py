"""Peak memory is a process's own."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from .peak import peak_memory

_CHILD = "from tests.benchmarks.peak import peak_memory; print(peak_memory())"


def test_a_process_does_not_count_what_started_it():
    large = np.ones(300 * 2**20, np.uint8)
    assert peak_memory() > large.nbytes
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], capture_output=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert 2**20 < int(done.stdout) < large.nbytes / 3
