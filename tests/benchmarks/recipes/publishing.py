"""What is kept of every run beside a published table: its configuration as it ran, and its report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from distill.files import new_folder, write_text

from .comparison import BUDGETS
from .runs import finished_run

#: The files of a run's folder.
FILES = ("config.yaml", "report.json")


def keep_runs(folder: Path, runs: Iterable[Path], target: Path) -> None:
    """Copy configuration and report of runs of a comparison, in place of what an earlier look at it has left there.

    Wherever the comparison was run, its own folder is ``.`` in the copies.

    Args:
        folder: The comparison's.
        runs: The folders in it of the runs that the table shows; others, such as lengths tried on the way to equal
            time, would stand there unexplained.
        target: Gets the same folders with these two files each; another folder than the comparison's.
    """
    places = [run.relative_to(folder) for run in runs]
    for budget in BUDGETS:
        with new_folder(target / budget, replace=True) as partial:
            for place in (place for place in places if place.parts[0] == budget):
                for name in FILES:
                    text = (finished_run(folder / place / "fit") / name).read_text(encoding="utf-8")
                    write_text(partial / place.relative_to(budget) / name, text.replace(str(folder), "."))
