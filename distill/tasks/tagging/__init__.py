"""Token classification: reading columns, windows of sub-words, span scores."""

from distill.tasks.tagging.evaluation import TaggingEvaluation
from distill.tasks.tagging.examples import SentenceWindow, TaggedSentence
from distill.tasks.tagging.reading import SentenceReader
from distill.tasks.tagging.task import CONLL_LABELS, TokenClassification
from distill.tasks.tagging.windows import build_windows

__all__ = [
    "CONLL_LABELS",
    "SentenceReader",
    "SentenceWindow",
    "TaggedSentence",
    "TaggingEvaluation",
    "TokenClassification",
    "build_windows",
]
