"""Callbacks: stages, checkpoints, benchmark, report."""
