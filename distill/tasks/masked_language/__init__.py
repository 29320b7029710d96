"""Masked-language modelling: hidden words of plain text, guessed from what stands around them."""

from distill.tasks.masked_language.evaluation import MaskedLanguageEvaluation
from distill.tasks.masked_language.task import MaskedLanguage

__all__ = ["MaskedLanguage", "MaskedLanguageEvaluation"]
