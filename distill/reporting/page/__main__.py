"""Draw the page of a run again: ``python -m distill.reporting.page RUN_FOLDER``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from distill.reporting.page.document import write_page
from distill.types import UserError


def main(args: list[str] | None = None) -> int:
    """Write ``report.html`` into each folder and name it; return 1 if one of them is no run's."""
    parser = argparse.ArgumentParser(prog="python -m distill.reporting.page", description=__doc__)
    parser.add_argument("run_folder", type=Path, nargs="+", help="folder with report.json or metrics.csv")
    code = 0
    for folder in parser.parse_args(args).run_folder:
        try:
            sys.stdout.write(f"wrote {write_page(folder)}\n")
        except UserError as error:
            sys.stderr.write(f"error: {error}\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
