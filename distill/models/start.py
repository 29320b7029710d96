"""What happens to a student between being built and its first step: its vocabulary, its inheritance, its layer map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.models.inheritance import Inheritance, inherit_layers
from distill.models.loading import load_frozen, load_tokenizer
from distill.models.narrowing import inherit_projected
from distill.models.pruning import prune_layers
from distill.models.sampling import NUM_TOKENS, sample_batches
from distill.models.similarity import LayerSimilarity, compare_layers
from distill.models.student import INHERITED, TRIMMED, Student
from distill.models.vocabulary import read_student_ids, select_pieces, teacher_ids
from distill.tasks.base import Task
from distill.types import Batch, UserError

#: Tokens on which layers are dropped on trial: a few dozen windows, read again for every trial.
TRIAL_TOKENS = 4096


class TrainingText(Protocol):
    """What a data module tells of the text that a student will be trained on."""

    #: Cuts the text; without unused pieces where the vocabulary is trimmed.
    tokenizer: PreTrainedTokenizerBase
    #: Where the tokenizer comes from, all pieces included.
    tokenizer_source: str

    def train_dataloader(self) -> Iterable[Batch]:
        """Return batches of training text."""
        ...


class StudentStart:
    """The way from a student as it was built to the one that training begins with.

    Call :meth:`translate` on the teacher first, then :meth:`inherit`, then :meth:`trim`: the teacher reads the pieces
    that the student will have, and hands over all it has before the others are dropped.

    Args:
        settings: What the student is to be.
        teacher_source: Where the teacher comes from.
        text: The training text; nothing where a module runs without data, which only some settings allow.
    """

    def __init__(self, settings: Student, teacher_source: str, text: TrainingText | None) -> None:
        self.settings = settings
        self.teacher_source = teacher_source
        self._text = text

    @cached_property
    def teacher_ids(self) -> Tensor | None:
        """The teacher's id of each piece that batches are made of, nothing where they are the teacher's own.

        Raises:
            UserError: If a piece is not the teacher's.
        """
        if self.settings.vocabulary == TRIMMED:
            text = self._required_text()
            if getattr(text, "vocabulary", None) != TRIMMED:
                raise UserError(f"student.vocabulary trimmed: {type(text).__name__} does not count pieces; use full")
            tokenizer = text.tokenizer
        elif self.settings.folder is not None:
            tokenizer = load_tokenizer(self.settings.folder)
        else:
            return None
        return teacher_ids(tokenizer, load_tokenizer(self.teacher_source))

    def translate(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """Let the teacher read the student's ids; return it."""
        return teacher if self.teacher_ids is None else read_student_ids(teacher, self.teacher_ids)

    def inherit(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        layers: Sequence[int],
        task: Task,
        num_head_groups: int = 1,
    ) -> Inheritance | None:
        """Give the student what it is to have of the teacher's layers; nothing where it is to have nothing.

        A teacher that is held in low precision has lost some of it, and is read again for this. Runs of neighbouring
        heads that a loss compares are inherited from one another.
        """
        if not self.settings.inherits:
            return None
        if teacher.dtype != torch.float32:
            teacher = self.translate(load_frozen(task, self.teacher_source))
        if self.settings.init == INHERITED:
            return inherit_projected(student, teacher, layers, self.sample(), num_head_groups)
        return inherit_layers(student, teacher, layers)

    def trim(self, student: PreTrainedModel) -> None:
        """Leave the student the pieces that its vocabulary is trimmed to."""
        if self.settings.vocabulary == TRIMMED:
            text = self._required_text()
            ids = teacher_ids(text.tokenizer, load_tokenizer(text.tokenizer_source))
            if ids is not None:
                select_pieces(student, text.tokenizer, ids)

    def compare(self, student: PreTrainedModel, teacher: PreTrainedModel) -> LayerSimilarity:
        """Return how alike the layers of both models are on a little training text."""
        return compare_layers(student, teacher, self.sample())

    def prune(
        self, teacher: PreTrainedModel, num_layers: int, task: Task, device: torch.device
    ) -> tuple[tuple[int, ...], list[float]]:
        """Return the teacher's layers that it can least do without, and what its answers lost with each of the others.

        The teacher is moved to ``device`` for the moment.
        """
        batches = [batch.to(device) for batch in self.sample(TRIAL_TOKENS)]
        home = next(teacher.parameters()).device
        try:
            return prune_layers(teacher.to(device), num_layers, batches, task)
        finally:
            teacher.to(home)

    def sample(self, num_tokens: int = NUM_TOKENS) -> list[Batch]:
        """Return a little training text."""
        return sample_batches(self._required_text().train_dataloader(), num_tokens)

    def _required_text(self) -> TrainingText:
        if self._text is None:
            raise UserError(
                "student.init inherited, student.vocabulary trimmed and layer_map similarity and pruned look at the "
                "training text; give the Trainer a data module"
            )
        return self._text
