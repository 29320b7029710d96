"""A tiny run of three tasks: many and few questions, each with a teacher, and some with labels alone."""

from __future__ import annotations

import torch

from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint
from distill.callbacks.stages import StageSchedule
from distill.models.student import Student
from distill.modules.members import TaskSettings
from distill.modules.multitask import MultiTaskModule
from distill.stages import Stage
from distill.tasks.question_answering.task import QuestionAnswering
from tests.callbacks.fakes import tiny_trainer

STUDENT = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
LAYERS = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}
STAGES = {
    "intermediate": Stage(LAYERS, epochs=1, learning_rate=1e-3, tasks=["many", "few"]),
    "logits": Stage({"logits": 1.0, "labels": 0.5}, epochs=2, temperature=2.0, learning_rate=1e-3),
}


def make_module(teacher_folder, **settings) -> MultiTaskModule:
    teacher = str(teacher_folder)
    tasks = {
        "many": TaskSettings(QuestionAnswering(), teacher),
        "few": TaskSettings(QuestionAnswering(), teacher, weight=0.5),
        "labelled": TaskSettings(QuestionAnswering()),
    }
    return MultiTaskModule(tasks, **{"student": STUDENT, "teacher_cache": None, **settings})


def fit(module, data, folder, stages=STAGES, ckpt_path=None, callbacks=(), **settings):
    torch.manual_seed(3)
    schedule = [StageSchedule(stages), BestInFinalStage(), LastCheckpoint(), *callbacks]
    settings = {"max_epochs": -1, "use_distributed_sampler": False, "enable_checkpointing": True, **settings}
    trainer = tiny_trainer(folder, schedule, **settings)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer
