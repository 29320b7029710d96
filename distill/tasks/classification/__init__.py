"""Classification of texts and pairs: reading tables, features, accuracy and macro F1."""

from distill.tasks.classification.evaluation import ClassificationEvaluation
from distill.tasks.classification.examples import LabelledText
from distill.tasks.classification.reading import TextColumns, TextReader
from distill.tasks.classification.task import SequenceClassification

__all__ = ["ClassificationEvaluation", "LabelledText", "SequenceClassification", "TextColumns", "TextReader"]
