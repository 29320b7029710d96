"""Scores of extracted answers: pure normalisers, pure scores and a metric that accumulates them."""

from distill.metrics.normalize import LANGUAGES, normalize_mlqa, normalize_squad
from distill.metrics.squad import SquadMetric, exact_match, f1

__all__ = ["LANGUAGES", "SquadMetric", "exact_match", "f1", "normalize_mlqa", "normalize_squad"]
