"""The module that fine-tunes one model: teachers, and baselines that learn from labels alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig

from distill.losses.base import DistillationLoss
from distill.losses.logits import LabelLoss
from distill.models.loading import load_config, load_tokenizer, max_positions, resolve_source
from distill.models.recording import Recorder, model_shape
from distill.modules.base import TaskModule
from distill.tasks.base import Task
from distill.types import Batch, UserError


class QuestionAnsweringModule(TaskModule):
    """One model learning from labels, evaluated exactly as a distilled student is.

    Args:
        model: Folder or hub name that the weights start from; leave it out to start from random weights.
        architecture: For random weights, the transformers configuration: ``model_type`` and its sizes.
        tokenizer: Folder or hub name of the tokenizer; the model's own when left out.
        losses: Named terms that stages may weight; ``labels`` alone when left out.
        task: What is predicted; extractive question answering when left out.
        optimizer: Makes the optimizer; the learning rate is the stage's.

    Raises:
        UserError: If neither or both of ``model`` and ``architecture`` are given.
    """

    def __init__(
        self,
        model: str | None = None,
        architecture: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        losses: dict[str, DistillationLoss] | None = None,
        task: Task | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
    ) -> None:
        super().__init__(losses if losses is not None else {"labels": LabelLoss()}, task, optimizer)
        if (model is None) == (architecture is None):
            raise UserError("model.init_args: give either a pretrained model or an architecture for random weights")
        if architecture is not None and (tokenizer is None or "model_type" not in architecture):
            raise UserError("model.init_args: random weights need architecture.model_type and a tokenizer")
        self.model_source = model
        self.architecture = architecture
        self.tokenizer_source = tokenizer if tokenizer is not None else model
        self._recorder: Recorder | None = None

    def check(self, max_length: int) -> None:
        """Check that configuration, tokenizer and ``max_length`` fit, before weights or data are loaded."""
        limit = max_positions(self._config())
        if max_length > limit:
            raise UserError(f"data.max_length {max_length} is more than the model's {limit} positions")

    def configure_model(self) -> None:
        """Load or build the model; once."""
        if self._recorder is not None:
            return
        if self.model_source is not None:
            self.student = self.task.load_model(resolve_source(self.model_source)).train()
        else:
            self.student = self.task.build_model(self._config()).train()
        self.objective.bind(model_shape(self.student), None, None, self.task)
        self._recorder = Recorder(self.student)

    def compute_terms(
        self, batch: Batch, weights: Mapping[str, float], temperature: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted objective of a batch, (), and the raw mean of each active term."""
        student_plan, _ = self.objective.plans(weights)
        assert self._recorder is not None
        student = self._recorder.record(batch.inputs, student_plan, self.task.logits)
        value = self.objective(student, None, batch, weights, temperature)
        return value.total, value.terms

    def _config(self) -> PreTrainedConfig:
        if self.model_source is not None:
            return load_config(self.model_source)
        assert self.architecture is not None
        assert self.tokenizer_source is not None
        tokenizer = load_tokenizer(self.tokenizer_source)
        sizes = {key: value for key, value in self.architecture.items() if key != "model_type"}
        try:
            return AutoConfig.for_model(
                self.architecture["model_type"],
                vocab_size=len(tokenizer),
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                **sizes,
            )
        except ValueError as error:
            raise UserError(f"model.architecture: {str(error).splitlines()[0]}") from error
