"""Kills real fits at random moments, resumes them, and compares their students with an uninterrupted run's.

python -m tests.kills --kills 50 [--config distill|pretrain] [--signal KILL|TERM|INT] [--seed 0] [--jobs 1]
[--devices 1] [--workers 0]
"""

import argparse

from tests.kills.trial import CONFIGS, Campaign


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="how many processes to kill")
    parser.add_argument("--config", choices=tuple(CONFIGS), default="distill", help="what is trained")
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="how many runs at a time")
    parser.add_argument("--devices", type=int, default=1, help="processes of a run, all of which are killed")
    parser.add_argument("--workers", type=int, default=0, help="data.num_workers, all of which are sent the signal too")
    parser.add_argument("--folder", default="kills", help="where the runs lie; kept if one does not hold")
    arguments = vars(parser.parse_args())
    raise SystemExit(0 if Campaign(**arguments).run() else 1)


if __name__ == "__main__":
    main()
