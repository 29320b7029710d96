"""What is kept of every run beside a published table: its configuration as it ran, and its report."""

from __future__ import annotations

from pathlib import Path

from distill.files import write_text

from .runs import finished_run

#: The files of a run's folder.
FILES = ("config.yaml", "report.json")


def keep_runs(folder: Path, target: Path) -> list[Path]:
    """Copy configuration and report of every finished run of a comparison; return the folders that they are in.

    Wherever the comparison was run, its own folder is ``.`` in the copies.

    Args:
        folder: The comparison's.
        target: Gets the same folders with these two files each.
    """
    folder = folder.resolve()
    kept = []
    for run in sorted(path.parent for path in folder.rglob("result.json")):
        place = target / run.relative_to(folder)
        for name in FILES:
            text = (finished_run(run / "fit") / name).read_text(encoding="utf-8")
            write_text(place / name, text.replace(str(folder), "."))
        kept.append(place)
    return kept
