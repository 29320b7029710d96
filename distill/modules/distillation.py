"""The module that teaches a student what a frozen teacher knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill.losses.attention import AttentionLoss
from distill.losses.base import DistillationLoss
from distill.losses.embedding import EmbeddingLoss
from distill.losses.hidden import HiddenStateLoss
from distill.losses.logits import LabelLoss, LogitLoss
from distill.models.families import family_of
from distill.models.inheritance import Inheritance
from distill.models.layer_map import PRUNED, SIMILARITY, SeparateLayers, map_layers, resolve_layer_map
from distill.models.loading import (
    EMBEDDED,
    check_length,
    check_same_tokenizer,
    check_vocabulary,
    load_config,
    load_frozen,
    load_tokenizer,
)
from distill.models.recording import Recorder, known_padding, model_shape
from distill.models.similarity import LayerSimilarity
from distill.models.start import StudentStart
from distill.models.student import Student
from distill.models.vocabulary import teacher_ids, vocabulary_digest
from distill.modules.base import TaskModule
from distill.modules.teaching_run import teaching_run
from distill.processor import teacher_dtype
from distill.tasks.base import Task
from distill.teaching.teachers import ExtraTeacher, TeacherCache, Teachers
from distill.types import Batch, LayerMap, Mean, UserError


def default_losses() -> dict[str, DistillationLoss]:
    """Return one term of each kind under its usual name."""
    return {
        "attention": AttentionLoss(),
        "hidden": HiddenStateLoss(),
        "embeddings": EmbeddingLoss(),
        "logits": LogitLoss(),
        "labels": LabelLoss(),
    }


class DistillationModule(TaskModule):
    """A trainable student and the frozen teacher that it learns from.

    The teacher is held outside the module tree: no checkpoint, optimizer, ``train()`` or precision setting can reach
    it. Checkpoints hold the student and the learned projections of the losses.

    Args:
        teacher: Folder or hub name of a model with the task's head; ``embedded`` is the one the package carries.
        student: The student's size and first weights.
        layer_map: Which teacher layer each student layer learns from: ``uniform``; ``last``; ``skip``, every k-th from
            the first; ``similarity``, those whose outputs are most alike before training; ``pruned``, those that the
            teacher's answers can least do without; for each student layer the teacher layer, counted from 0; or such
            lists for attention and hidden states apart.
        losses: Named terms that stages may weight; one of each kind when left out.
        task: What is predicted; extractive question answering when left out.
        optimizer: Makes the optimizer; the learning rate is the stage's.
        teacher_dtype: Precision that the teachers are held in; left out, bfloat16 in a run in bfloat16, else float32.
            What the student inherits is not rounded to it.
        extra_teachers: More teachers with the same tokenizer, whose logits are averaged with the first one's. Hidden
            states, attention and the report are the first one's alone.
        teacher_cache: How teachers' logits are stored, so that stages which need nothing else run no teacher; null
            runs them in every step.

    Raises:
        UserError: If the student is to inherit layers that only its own hidden states could name.
    """

    def __init__(
        self,
        teacher: str = EMBEDDED,
        student: Student = Student(),  # noqa: B008 - frozen, so sharing it is safe
        layer_map: Literal["uniform", "last", "skip", "similarity", "pruned"] | list[int] | SeparateLayers = "uniform",
        losses: dict[str, DistillationLoss] | None = None,
        task: Task | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        teacher_dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        extra_teachers: list[ExtraTeacher] | None = None,
        teacher_cache: TeacherCache | None = TeacherCache(),  # noqa: B008 - frozen, so sharing it is safe
    ) -> None:
        super().__init__(losses if losses is not None else default_losses(), task, optimizer)
        self.teacher_source = teacher
        self.student_settings = student
        self.layer_map_settings: str | Sequence[int] | SeparateLayers = layer_map
        self.teacher_dtype = teacher_dtype
        #: Which teacher layers the student learns from; known once the configurations are.
        self.layer_map: LayerMap | None = None
        #: How alike both models' layers were before training, where the layer map comes from that.
        self.similarity: LayerSimilarity | None = None
        #: What the student took over from the teacher, where it did.
        self.inheritance: Inheritance | None = None
        self.extra_teachers = extra_teachers or []
        self.teacher_cache = teacher_cache
        #: Loads a teacher; a run of several tasks has it remember those that tasks share.
        self.load_teacher: Callable[[Task, str, str], PreTrainedModel] = load_frozen
        self._teachers: Teachers | None = None
        self._prepared_stage: int | None = None
        self._student_recorder: Recorder | None = None
        self._student_start: StudentStart | None = None
        self._found_layers: tuple[int, ...] | None = None
        if layer_map == SIMILARITY and student.inherits:
            raise UserError(
                f"layer_map similarity looks at the student's first weights, and student.init {student.init} takes "
                "them from the layers that the map names; choose another map or init"
            )

    @property
    def tokenizer_source(self) -> str:
        """Where the tokenizer comes from: beside the folder that the student starts from, else beside the teacher."""
        return self.student_settings.folder or self.teacher_source

    @property
    def teacher(self) -> PreTrainedModel | None:
        """The frozen teacher; None before the models are loaded."""
        return self._teachers.model if self._teachers is not None else None

    @property
    def teacher_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer with all of the teacher's pieces, where the student has fewer."""
        start = self._student_start
        return load_tokenizer(self.teacher_source) if start is not None and start.teacher_ids is not None else None

    @property
    def starts_at_random(self) -> bool:
        """Whether the student starts from no folder; what it inherits, it inherits when a fit begins."""
        return self.student_settings.folder is None

    @property
    def student_config(self) -> PreTrainedConfig:
        """The student's configuration, before any weights are loaded."""
        return self.student_settings.config(load_config(self.teacher_source))

    def check(self, max_length: int) -> None:
        """Check sizes, layer map, losses and tokenizers from the configurations alone.

        Raises:
            UserError: If something does not fit.
        """
        teacher = load_config(self.teacher_source)
        student = self.student_config
        if self.layer_map_settings == PRUNED:
            family_of(teacher)
        self._bind(student, teacher)
        teacher_tokenizer = load_tokenizer(self.teacher_source)
        folder = self.student_settings.folder
        student_tokenizer = load_tokenizer(folder) if folder is not None else teacher_tokenizer
        teacher_ids(student_tokenizer, teacher_tokenizer)
        extra = {f"teacher {extra.source}": extra.source for extra in self.extra_teachers}
        for role, source in extra.items():
            check_same_tokenizer(load_tokenizer(source), teacher_tokenizer, role)
        configs = {role: load_config(source) for role, source in extra.items()}
        for role, config in {"student": student, "teacher": teacher, **configs}.items():
            tokenizer = student_tokenizer if role == "student" else teacher_tokenizer
            check_length(max_length, config, role)
            check_vocabulary(tokenizer, config, role)

    def configure_model(self) -> None:
        """Build the student and the learned parts of the losses, and load teachers if they are to teach; once."""
        is_new = self._student_start is None
        if self._student_start is None:
            teacher_config = load_config(self.teacher_source)
            self.student = self.student_settings.build(self.task, teacher_config)
            self._bind(self.student.config, teacher_config)
            self._student_start = StudentStart(self.student_settings, self.teacher_source, self.data)
        if self._teachers is None and not self.is_evaluation:
            sources = [self.teacher_source, *(extra.source for extra in self.extra_teachers)]
            dtype = self.teacher_dtype or teacher_dtype(self.precision)
            models = [self.load_teacher(self.task, source, dtype) for source in sources]
            weights = [1.0, *(extra.weight for extra in self.extra_teachers)]
            for model in models:
                self._student_start.translate(model)
            self._teachers = Teachers(self.task, models, weights, self.teacher_cache)
        if is_new:
            self._start_student(self._student_start)
            self.share_encoder()
            if self.teacher is not None and self.layer_map_settings == SIMILARITY:
                # What counts is the encoder that the student computes with, which in a run of several is another's.
                self.similarity = self._student_start.compare(self.student, self.teacher)
                self._take_layers(self.similarity.layers)
            self._student_recorder = Recorder(self.student)

    def on_fit_start(self) -> None:
        """Forget what was prepared for an earlier fit."""
        assert self._teachers is not None
        self._teachers.reset()
        self._prepared_stage = None

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Before a stage's first batch, have its teachers on the device or their logits open."""
        active = self.active_stage
        if active is None or active.index == self._prepared_stage:
            return
        # A stage without weights is one of other tasks.
        plan = self.objective.plans(active.stage.weights)[1] if active.stage.weights else None
        assert self._teachers is not None
        with self.trainer.precision_plugin.val_step_context():
            self._teachers.prepare(plan, teaching_run(self.trainer, active, self.name))
        self._prepared_stage = active.index

    def place_teachers(self) -> None:
        """Have the teachers that run on the device, where a task that shares them has just sent them away."""
        assert self._teachers is not None
        self._teachers.place(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the weights alone do not tell: the vocabulary's pieces, and a layer map that was found."""
        super().on_save_checkpoint(checkpoint)
        if (pieces := self._pieces()) is not None:
            checkpoint["vocabulary"] = pieces
        if self._found_layers is not None:
            checkpoint["layer_map"] = list(self._found_layers)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the layer map that was found.

        Raises:
            UserError: If the checkpoint's student has other pieces.
        """
        super().on_load_checkpoint(checkpoint)
        if checkpoint.get("vocabulary") != self._pieces():
            raise UserError(
                "the checkpoint's vocabulary is not this run's; name the training and vocabulary files that it was "
                "trimmed by, or start from the student/ folder beside it with student.init"
            )
        if "layer_map" in checkpoint:
            self._found_layers = tuple(checkpoint["layer_map"])
            self._bind_layers(self._found_layers)

    def compute_means(self, batch: Batch, weights: Mapping[str, float], temperature: float) -> dict[str, Mean]:
        """Return the unweighted, undivided mean of each active term over a batch."""
        student_plan, teacher_plan = self.objective.plans(weights)
        assert self._student_recorder is not None
        student = self.record(self._student_recorder, batch, student_plan)
        teacher = None
        if teacher_plan is not None:
            assert self._teachers is not None
            with known_padding(batch):
                teacher = self._teachers.record(batch, teacher_plan)
        return self.objective(student, teacher, batch, weights, temperature).means

    def _bind(self, student: PreTrainedConfig, teacher: PreTrainedConfig) -> None:
        """Settle the layer map and the learned parts of the losses, once."""
        if self.layer_map is not None:
            return
        shapes = model_shape(student), model_shape(teacher)
        self.layer_map = resolve_layer_map(self.layer_map_settings, *shapes)
        self.objective.bind(*shapes, self.layer_map, self.task)

    def _start_student(self, start: StudentStart) -> None:
        """Bring the student to where training begins; before an evaluation only its vocabulary, weights come later."""
        if self.teacher is None:
            start.trim(self.student)
            return
        if self.layer_map_settings == PRUNED:
            num_layers, device = self.student.config.num_hidden_layers, self.trainer.strategy.root_device
            kept, changes = start.prune(self.teacher, num_layers, self.task, device)
            self._take_layers(kept)
            rank_zero_info("KL of the teacher's answers after each layer dropped: %s", _numbers(changes))
        assert self.layer_map is not None
        layers = [layer for _, layer in self.layer_map.attention]
        attentions = [term for term in self.objective.terms.values() if isinstance(term, AttentionLoss)]
        num_groups = max((term.num_maps for term in attentions), default=1)
        self.inheritance = start.inherit(self.student, self.teacher, layers, self.task, num_groups)
        if self.inheritance is not None:
            rank_zero_info("student: %s", self.inheritance.describe())
        start.trim(self.student)

    def _take_layers(self, layers: Sequence[int]) -> None:
        """Go by a layer map that was found, the first process's, since each has seen other text."""
        self._found_layers = tuple(self.trainer.strategy.broadcast(tuple(layers)))
        self._bind_layers(self._found_layers)
        rank_zero_info("layer map %s: %s", self.layer_map_settings, ", ".join(map(str, self._found_layers)))

    def _bind_layers(self, layers: Sequence[int]) -> None:
        """Bind the losses anew, to a layer map that was found."""
        self.layer_map = map_layers(layers)
        shapes = model_shape(self.student), model_shape(load_config(self.teacher_source))
        self.objective.bind(*shapes, self.layer_map, self.task)

    def _pieces(self) -> str | None:
        """Return which of the teacher's pieces the student has, nothing where it has all."""
        ids = self._student_start.teacher_ids if self._student_start is not None else None
        return vocabulary_digest(ids) if ids is not None else None


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
