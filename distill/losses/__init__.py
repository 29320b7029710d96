"""Losses that a student is trained on."""

from distill.losses.attention import AttentionLoss
from distill.losses.base import DistillationLoss
from distill.losses.embedding import EmbeddingLoss
from distill.losses.hidden import HiddenStateLoss
from distill.losses.logits import LabelLoss, LogitLoss
from distill.losses.objective import Objective, ObjectiveValue, check_weights
from distill.losses.relations import RelationLoss
from distill.losses.repetition import RepetitionLoss

__all__ = [
    "AttentionLoss",
    "DistillationLoss",
    "EmbeddingLoss",
    "HiddenStateLoss",
    "LabelLoss",
    "LogitLoss",
    "Objective",
    "ObjectiveValue",
    "RelationLoss",
    "RepetitionLoss",
    "check_weights",
]
