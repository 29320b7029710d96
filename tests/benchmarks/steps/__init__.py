"""One training step, as this project, bare loops and other tools take it: the arms of ``tests.benchmarks.training``."""
