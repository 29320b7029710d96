"""Run ``python train.py fit --config configs/distill.yaml``; see ``python train.py --help``."""

from distill.cli import main

if __name__ == "__main__":
    main()
