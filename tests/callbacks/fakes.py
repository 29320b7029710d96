"""A module with the surface that callbacks rely on, and models small enough to time."""

from __future__ import annotations

import lightning as L
import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForQuestionAnswering

from distill.tasks.base import EvaluationResult
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Answer, Example

CONTEXT = "Lucía nació en Cádiz y Mateo en Jaén."
EXAMPLES = [
    Example(f"q{i}", f"¿Dónde nació la persona {i}?", CONTEXT, (Answer("Cádiz", CONTEXT.index("Cádiz")),))
    for i in range(6)
]


def tiny_bert(num_layers: int = 1) -> BertForQuestionAnswering:
    """Return a question-answering BERT of width 8 that takes 32 tokens."""
    config = BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=num_layers, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=32,
    )  # fmt: skip
    return BertForQuestionAnswering(config)


class Examples(torch.utils.data.Dataset):
    """Indices with the examples beside them."""

    examples = EXAMPLES

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return index


class FakeModule(L.LightningModule):
    """Trains one number of the student; its F1 falls after the first epoch, so that best and last differ."""

    def __init__(self, with_teacher: bool = True) -> None:
        super().__init__()
        self.name = None
        self.task = QuestionAnswering()
        self.student = tiny_bert(1)
        self.teacher = tiny_bert(3).eval().requires_grad_(False) if with_teacher else None
        self.last_evaluation: EvaluationResult | None = None
        self.active_stage = None
        self.trains_head = True
        self.evaluated: list[str] = []
        with torch.no_grad():
            self.student.qa_outputs.bias.zero_()

    @property
    def members(self):
        return {None: self}

    @property
    def main_score(self):
        return self.task.main_score

    @property
    def headline(self):
        return self.task.headline

    def mean_score(self, results):
        return results[None].scores["f1"]

    def evaluate(self, model, dataloader) -> EvaluationResult:
        self.evaluated.append("student" if model is self.student else "teacher")
        assert isinstance(dataloader, DataLoader)
        return self._result(model)

    def load_student_weights(self, checkpoint) -> None:
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        weights = {name.removeprefix("student."): value for name, value in state.items() if name.startswith("student.")}
        self.student.load_state_dict(weights)

    def training_step(self, batch, batch_idx):
        return self.student.qa_outputs.bias.sum() * 0

    def on_train_epoch_start(self) -> None:
        with torch.no_grad():
            self.student.qa_outputs.bias.fill_(float(self.current_epoch + 1))

    def validation_step(self, batch, batch_idx) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        self.last_evaluation = self._result(self.student)
        self.log_dict({f"val/{name}": value for name, value in self.last_evaluation.scores.items()})

    test_step = predict_step = validation_step

    def on_test_epoch_end(self) -> None:
        self.last_evaluation = self._result(self.student)

    on_predict_epoch_end = on_test_epoch_end

    def configure_optimizers(self):
        return torch.optim.SGD(self.student.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(Examples(), batch_size=2)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader

    def _result(self, model) -> EvaluationResult:
        # The student's bias is the number of epochs done.
        f1 = 90.0 - 10 * model.qa_outputs.bias[0].item() if model is self.student else 95.0
        answers = {example.question_id: "Jaén" if model is self.student else "Cádiz" for example in EXAMPLES}
        scores = {"exact_match": f1 - 20, "f1": f1, "unseen_wording/f1": f1 - 5, "num_questions": 6.0}
        return EvaluationResult(scores, answers)


class FakeData(L.LightningDataModule):
    """Describes itself, as the report asks of a data module."""

    def summary(self) -> dict[str, int]:
        return {"questions": len(EXAMPLES)}

    def train_dataloader(self):
        return DataLoader(Examples(), batch_size=2)

    val_dataloader = train_dataloader


def tiny_trainer(folder, callbacks, **settings) -> L.Trainer:
    """Return a quiet trainer of two epochs on the CPU, without a logger unless one is given."""
    defaults = {
        "max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "enable_checkpointing": False, "num_sanity_val_steps": 0,
        "default_root_dir": str(folder),
    }  # fmt: skip
    return L.Trainer(**{**defaults, **settings}, callbacks=callbacks)
