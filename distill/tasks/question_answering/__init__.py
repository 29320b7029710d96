"""Extractive question answering: reading, windows over long contexts, decoding, scores."""

from distill.tasks.question_answering.answers import ChosenAnswer, best_spans, choose_answers
from distill.tasks.question_answering.composing import ComposedText, compose
from distill.tasks.question_answering.evaluation import QuestionAnsweringEvaluation
from distill.tasks.question_answering.hub import read_hub
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.report import ReadingReport
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.question_answering.windows import build_windows, check_lengths, count_flagged

__all__ = [
    "ChosenAnswer",
    "ComposedText",
    "QuestionAnswering",
    "QuestionAnsweringEvaluation",
    "ReadingReport",
    "best_spans",
    "build_windows",
    "check_lengths",
    "choose_answers",
    "compose",
    "count_flagged",
    "read_examples",
    "read_hub",
]
