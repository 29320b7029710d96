"""Sweeps over settings of the command line: W&B's own YAML, run here and without an account."""
