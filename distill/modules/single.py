"""Modules that train one model from labels: backbones, teachers, and baselines for students."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from transformers import PreTrainedConfig, PreTrainedModel

from distill.losses.base import DistillationLoss
from distill.losses.logits import LabelLoss
from distill.models.architecture import build_config
from distill.models.initialisation import initialise_mimetic
from distill.models.loading import check_length, check_vocabulary, load_config, load_model, load_tokenizer
from distill.models.recording import Recorder, model_shape
from distill.models.student import MIMETIC, check_dropout, set_attention_dropout
from distill.modules.base import TaskModule
from distill.tasks.base import Task
from distill.tasks.masked_language.task import MaskedLanguage
from distill.types import Batch, Mean, UserError


class SingleModule(TaskModule):
    """One model learning from labels, evaluated exactly as a distilled student is.

    Args:
        model: Folder or hub name that the weights start from; leave it out to start from random weights.
        architecture: For random weights, the transformers configuration: ``model_type`` and its sizes.
        init: How random weights are drawn: all alike, or ``mimetic``, with attention started on likeness and nearness.
        tokenizer: Folder or hub name of the tokenizer; the model's own when left out.
        losses: Named terms that stages may weight; ``labels`` alone when left out.
        task: What is predicted; :attr:`default_task` when left out.
        optimizer: Makes the optimizer; the learning rate is the stage's.
        attention_dropout: Dropout on attention; the pretrained model's or the architecture's when left out. Above 0 a
            CPU computes attention without its fused kernel: 0 trains a quarter to a third faster there.

    Raises:
        UserError: If neither or both of ``model`` and ``architecture`` are given, or ``attention_dropout`` is no share.
    """

    def __init__(
        self,
        model: str | None = None,
        architecture: dict[str, Any] | None = None,
        init: Literal["random", "mimetic"] = "random",
        tokenizer: str | None = None,
        losses: dict[str, DistillationLoss] | None = None,
        task: Task | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        attention_dropout: float | None = None,
    ) -> None:
        super().__init__(losses if losses is not None else {"labels": LabelLoss()}, task, optimizer)
        if (model is None) == (architecture is None):
            raise UserError("model.init_args: give either a pretrained model or an architecture for random weights")
        if architecture is not None and (tokenizer is None or "model_type" not in architecture):
            raise UserError("model.init_args: random weights need architecture.model_type and a tokenizer")
        check_dropout(attention_dropout, "model.init_args.attention_dropout")
        self.model_source = model
        self.attention_dropout = attention_dropout
        self.architecture = architecture
        self.init = init
        self.tokenizer_source = tokenizer if tokenizer is not None else model
        self._recorder: Recorder | None = None
        self._is_bound = False

    @property
    def starts_at_random(self) -> bool:
        """Whether there is no pretrained model to start from."""
        return self.model_source is None

    @property
    def student_config(self) -> PreTrainedConfig:
        """The model's configuration, before its weights are loaded."""
        if self.model_source is not None:
            config = load_config(self.model_source)
        else:
            assert self.architecture is not None
            assert self.tokenizer_source is not None
            config = build_config(self.architecture, load_tokenizer(self.tokenizer_source))
        set_attention_dropout(config, self.attention_dropout)
        return config

    def check(self, max_length: int) -> None:
        """Check that configuration, tokenizer and ``max_length`` fit, before weights or data are loaded."""
        assert self.tokenizer_source is not None
        config = self.student_config
        check_length(max_length, config, "model")
        check_vocabulary(load_tokenizer(self.tokenizer_source), config, "model")
        self._bind(config)

    def configure_model(self) -> None:
        """Load or build the model; once."""
        if self._recorder is not None:
            return
        self.student = self._build().train()
        self._bind(self.student.config)
        self.share_encoder()
        self._recorder = Recorder(self.student)

    def compute_means(self, batch: Batch, weights: Mapping[str, float], temperature: float) -> dict[str, Mean]:
        """Return the unweighted, undivided mean of each active term over a batch."""
        student_plan, _ = self.objective.plans(weights)
        assert self._recorder is not None
        student = self._recorder.record(batch.inputs, student_plan, self.task.logits)
        return self.objective(student, None, batch, weights, temperature).means

    def _build(self) -> PreTrainedModel:
        """Load the model, or build it with random weights."""
        if self.model_source is None:
            model = self.task.build_model(self.student_config)
            return initialise_mimetic(model) if self.init == MIMETIC else model
        model, missing = load_model(self.task, self.model_source, "model", config=self.student_config)
        if missing:
            rank_zero_info("%s starts at random, since %s lacks it", ", ".join(missing), self.model_source)
        return model

    def _bind(self, config: PreTrainedConfig) -> None:
        """Settle the learned parts of the losses, once."""
        if not self._is_bound:
            self.objective.bind(model_shape(config), None, None, self.task)
            self._is_bound = True


class QuestionAnsweringModule(SingleModule):
    """One question-answering model: a teacher, or what a student is compared with."""


class MaskedLanguageModule(SingleModule):
    """One masked-language model: a backbone that teachers and students start from."""

    default_task = MaskedLanguage
