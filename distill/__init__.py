"""Distil question-answering models: a large Spanish teacher into a small, fast student that loses almost nothing."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: Public names and where they live; loaded on first use, so that ``import distill`` costs nothing.
_PUBLIC = {
    "BestInFinalStage": "distill.callbacks.checkpoints",
    "CsvRun": "distill.csv_log",
    "DistillationModule": "distill.modules.distillation",
    "Doctor": "distill.callbacks.doctor",
    "ExtraTeacher": "distill.teaching.teachers",
    "FinalStageScores": "distill.callbacks.final_stage",
    "LabelledDataModule": "distill.data.labelled",
    "LanguageCheck": "distill.text.language",
    "LastCheckpoint": "distill.callbacks.checkpoints",
    "LatencyBenchmark": "distill.callbacks.benchmark",
    "MaskedLanguage": "distill.tasks.masked_language.task",
    "MaskedLanguageModule": "distill.modules.single",
    "MultiTaskDataModule": "distill.data.multitask",
    "MultiTaskModule": "distill.modules.multitask",
    "NumericalGuard": "distill.callbacks.guard",
    "QuestionAnswerer": "distill.answering.answerer",
    "QuestionAnswering": "distill.tasks.question_answering.task",
    "QuestionAnsweringModule": "distill.modules.single",
    "RandomState": "distill.callbacks.random_state",
    "Report": "distill.callbacks.report",
    "ResultPage": "distill.callbacks.page",
    "SaveStudent": "distill.callbacks.saving",
    "SafeCheckpointIO": "distill.callbacks.plugins",
    "SignalStop": "distill.callbacks.signals",
    "SquadDataModule": "distill.data.datamodule",
    "SequenceClassification": "distill.tasks.classification.task",
    "SingleModule": "distill.modules.single",
    "SquadMetric": "distill.metrics.squad",
    "StagedDataModule": "distill.data.staged",
    "StageSchedule": "distill.callbacks.stages",
    "StatusFile": "distill.callbacks.status",
    "Student": "distill.models.student",
    "TaskSettings": "distill.modules.members",
    "TeacherCache": "distill.teaching.teachers",
    "TextDataModule": "distill.data.text",
    "Throughput": "distill.callbacks.throughput",
    "TokenClassification": "distill.tasks.tagging.task",
    "UserError": "distill.types",
    "WandbDashboard": "distill.callbacks.dashboard",
    "WandbRun": "distill.loggers",
    "WholeWordMasking": "distill.text.masking",
    "pipeline": "distill.answering.pipeline",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'distill' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
