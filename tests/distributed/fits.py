"""Small fits whose gradients and weights can be compared between one process and several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch import Trainer

from distill.callbacks.stages import StageSchedule
from distill.data.base import TaskDataModule
from distill.data.datamodule import SquadDataModule
from distill.data.labelled import LabelledDataModule
from distill.data.multitask import MultiTaskDataModule
from distill.data.text import TextDataModule
from distill.distributed.strategy import StagedDDP
from distill.losses.relations import RelationLoss
from distill.losses.repetition import RepetitionLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule, default_losses
from distill.modules.members import TaskSettings
from distill.modules.multitask import MultiTaskModule
from distill.modules.run import RunModule
from distill.modules.single import MaskedLanguageModule
from distill.stages import Stage
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.tagging.task import TokenClassification

#: Windows in a batch of all processes together.
BATCH_SIZE = 6

#: Padded tokens in a batch of all processes together, where batches go by tokens: six windows of 32 or four of 48.
MAX_TOKENS = 192

#: Fifteen steps that leave the head idle, fifteen that leave the projections and one loss's layer idle.
STAGES = {
    "intermediate": Stage(
        {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0, "relations": 0.5, "repetition": 0.5},
        steps=15,
        learning_rate=2e-3,
    ),
    "logits": Stage({"logits": 1.0, "labels": 0.5}, steps=15, learning_rate=2e-3, temperature=2.0, balance=4),
}

#: The same for several tasks, which have the usual losses; those of the first stage leave the words' head idle.
TASK_STAGES = {
    "intermediate": Stage(
        {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}, steps=15, learning_rate=2e-3, tasks=["many", "few"]
    ),
    "logits": STAGES["logits"],
}

#: The labels of the words.
WORD_LABELS = ("O", "B-PER")


class Notes(L.Callback):
    """Keeps the gradients of every step, averaged and not yet clipped, and what was logged."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.logged: list[dict[str, float]] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        for member in pl_module.members.values():
            if trainer.precision == "64-true" and member.teacher is not None:
                member.teacher.double()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.gradients.append({name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.logged.append({n: float(v) for n, v in trainer.callback_metrics.items() if "train/" in n})


def fit(
    module: RunModule, data: TaskDataModule, stages: dict[str, Stage], num_processes: int, folder: str, **settings: Any
) -> dict[str, Any]:
    """Return gradients and logged values by step, and the final weights."""
    notes = Notes()
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=num_processes,
        strategy=StagedDDP() if num_processes > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        max_epochs=-1,
        gradient_clip_val=1.0,
        callbacks=[StageSchedule(stages), notes],
        **settings,
    )
    trainer.fit(module, data)
    weights = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return {"gradients": notes.gradients, "logged": notes.logged, "weights": weights}


def fit_questions(
    num_processes: int, teacher: str, questions: str, folder: str, by_tokens: bool = False, **settings: Any
) -> dict[str, Any]:
    """Distil a tiny student through both stages; it is as wide as half its teacher, so hidden states are projected."""
    torch.manual_seed(5)
    losses = {**default_losses(), "relations": RelationLoss(num_relation_heads=2), "repetition": RepetitionLoss(1, 1)}
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
    module = DistillationModule(teacher, student, losses=losses, teacher_cache=None)
    data = SquadDataModule(
        tokenizer=teacher,
        train_files=[questions],
        validation_files=[questions],
        max_length=48,
        doc_stride=8,
        max_question_length=24,
        batch_size=BATCH_SIZE // num_processes,
        max_tokens=MAX_TOKENS // num_processes if by_tokens else None,
        cache_dir=f"{folder}/cache",
    )
    return fit(module, data, STAGES, num_processes, folder, **settings)


def fit_text(num_processes: int, backbone: str, text: str, folder: str, **settings: Any) -> dict[str, Any]:
    """Train a masked-language model: how many tokens are hidden differs from block to block."""
    torch.manual_seed(5)
    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    module = MaskedLanguageModule(architecture={"model_type": "roberta", **sizes, **dropout}, tokenizer=backbone)
    data = TextDataModule(
        tokenizer=backbone,
        train_files=[text],
        validation_files=[str(Path(text).with_name("otro.txt"))],
        block_length=32,
        batch_size=BATCH_SIZE // num_processes,
        deduplicate=False,
        cache_dir=f"{folder}/cache",
    )
    stages = {"masking": Stage({"labels": 1.0}, steps=8, learning_rate=2e-3)}
    return fit(module, data, stages, num_processes, folder, **settings)


def fit_tasks(num_processes: int, teacher: str, questions: str, words: str, folder: str, **settings: Any) -> Any:
    """Distil a tiny student for two sets of questions and for words, of very different sizes."""
    torch.manual_seed(5)
    tasks = {
        "many": TaskSettings(QuestionAnswering(), teacher),
        "few": TaskSettings(QuestionAnswering(), teacher, weight=0.5),
        "words": TaskSettings(TokenClassification(WORD_LABELS)),
    }
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
    module = MultiTaskModule(tasks, student, teacher_cache=None)
    shared: dict[str, Any] = {"batch_size": BATCH_SIZE // num_processes, "cache_dir": f"{folder}/cache"}
    limits = {"max_length": 48, "doc_stride": 8, "max_question_length": 24}
    parts: dict[str, TaskDataModule] = {
        name: SquadDataModule(train_files=[file], validation_files=[file], **limits, **shared)
        for name, file in (("many", questions), ("few", questions.replace(".json", "-few.json")))
    }
    parts["words"] = LabelledDataModule(train_files=[words], validation_files=[words], max_length=48, **shared)
    data = MultiTaskDataModule(parts, tokenizer=teacher, seed=5)
    module.tell_tasks(data)
    return fit(module, data, TASK_STAGES, num_processes, folder, **settings)


def compare(
    teacher: str, backbone: str, questions: str, text: str, words: str, folder: str, num_processes: int
) -> dict[str, Any]:
    """Run every fit that tests compare."""
    results = {}
    for precision in ("32-true", "64-true"):
        for case, accumulated in ((1, 1), (2, 2), ("tokens", 2)):
            settings = {"precision": precision, "accumulate_grad_batches": accumulated, "by_tokens": case == "tokens"}
            results[precision, case] = fit_questions(num_processes, teacher, questions, folder, **settings)
        settings = {"precision": precision, "accumulate_grad_batches": 2}
        results[precision, "tasks"] = fit_tasks(num_processes, teacher, questions, words, folder, **settings)
        results[precision, "text"] = fit_text(num_processes, backbone, text, folder, precision=precision)
    return results
