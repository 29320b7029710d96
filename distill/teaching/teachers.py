"""What the student learns from: one or more frozen teachers, run or read from their stored logits."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distill.tasks.base import Task
from distill.teaching.building import Processes, StorableWindows, build_store
from distill.teaching.keys import model_digest, store_key
from distill.teaching.sources import (
    LOGITS_ALONE,
    ModelSource,
    StoredSource,
    TeacherSource,
    mean_logits,
    stored_sizes,
)
from distill.teaching.store import STORE_NAME, CannotStoreError, DamagedStoreError, LogitStore
from distill.types import Batch, Recording, RecordingPlan, UserError

_log = logging.getLogger("lightning.pytorch")


@dataclass(frozen=True)
class TeacherCache:
    """How a teacher's logits are stored, so that it runs once over the training windows and not in every epoch.

    Stages whose terms compare logits at real tokens alone read them back by window id; other stages run the teacher.
    A file is keyed by everything that it depends on and checked when it is opened; it may be deleted at any time.

    Attributes:
        dtype: What logits are stored in. ``float16`` rounds them by 0.05 % at most, less than a teacher that runs in
            bfloat16 does itself, at half the size of ``float32``, which is exact.
        folder: Where files are kept; beside the tokenised windows when left out.
    """

    dtype: Literal["float16", "float32"] = "float16"
    folder: str | None = None

    def __post_init__(self) -> None:
        """Check the dtype."""
        if self.dtype not in ("float16", "float32"):
            raise UserError(f"teacher_cache.dtype must be float16 or float32, not {self.dtype}")


@dataclass(frozen=True)
class ExtraTeacher:
    """A teacher beside the first one; logit losses see the weighted mean of all teachers' logits.

    Attributes:
        source: Folder or hub name of a model with the same tokenizer and head.
        weight: Its share of the mean, where the first teacher's is 1.
    """

    source: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the weight."""
        if not 0 < self.weight < math.inf:
            raise UserError(f"extra_teachers: the weight of {self.source} must be more than 0, not {self.weight}")


@dataclass(frozen=True)
class TeachingRun:
    """What teachers need to know of the run that they serve.

    Attributes:
        windows: The training windows, where they are the same every epoch.
        folder: Where files are kept unless the cache names a folder.
        device: Where the models run.
        precision: What they compute in, as the Trainer names it.
        processes: Who builds a store together.
        may_build: Whether a store that does not exist is worth building.
        show_progress: Whether this process draws a progress bar.
    """

    windows: StorableWindows | None
    folder: Path
    device: torch.device
    precision: str = "32-true"
    processes: Processes = field(default_factory=Processes)
    may_build: bool = True
    show_progress: bool = False


class Teachers:
    """The frozen teachers of a run; not a module, so that nothing saves, trains or converts them.

    Hidden states and attention are the first teacher's; logits are the weighted mean of all of them. :meth:`prepare`
    settles, before a stage's first step, whether logits come from the models or from what was stored of them.

    Args:
        task: Reads the logits from a model's output.
        models: The frozen teachers, the first one foremost.
        weights: Their shares of the mean.
        cache: How logits are stored; None runs the models in every step.
    """

    def __init__(
        self,
        task: Task,
        models: Sequence[PreTrainedModel],
        weights: Sequence[float] = (1.0,),
        cache: TeacherCache | None = None,
    ) -> None:
        self._task = task
        self._models = [ModelSource(model, task) for model in models]
        self._weights = list(weights)
        self._cache = cache
        self._running: list[ModelSource] = []
        self._stored: dict[int, StoredSource] = {}
        self._fingerprint: str | None = None  # of the windows that these are of
        self._cannot_store = cache is None

    @property
    def model(self) -> PreTrainedModel:
        """The first teacher, with which the student is compared."""
        return self._models[0].model

    def reset(self) -> None:
        """Forget what was opened: the next run may train on other windows."""
        self._stored, self._fingerprint = {}, None
        self._cannot_store = self._cache is None

    def prepare(self, plan: RecordingPlan | None, run: TeachingRun) -> None:
        """Be ready to :meth:`record` a plan; None for a stage without a teacher.

        Opens or builds the stores that serve it, having closed those of other windows, and leaves on the device only
        the models that it has to run. Where nothing can be stored the models are run, and a message says why. Call it
        in the precision of the run; with several processes, on all of them.
        """
        shares = [] if plan is None else self._shares(plan)
        fingerprint = run.windows.fingerprint if run.windows is not None else None
        if fingerprint != self._fingerprint:
            self._stored, self._fingerprint = {}, fingerprint
        for index, share in enumerate(shares):
            if share == LOGITS_ALONE and index not in self._stored and not self._cannot_store:
                self._store(index, run)
        self._running = [
            teacher
            for teacher, share in zip(self._models, shares, strict=False)
            if self._source(self._models.index(teacher), share) is teacher
        ]
        for teacher in self._models:
            if teacher not in self._running:
                teacher.model.to(torch.device("cpu"))
        self.place(run.device)

    def place(self, device: torch.device) -> None:
        """Move the models that have to run to a device."""
        for teacher in self._running:
            teacher.model.to(device)

    def record(self, batch: Batch, plan: RecordingPlan) -> Recording:
        """Return what the plan names of the teachers, on the batch's device and without gradients."""
        recording, *others = (
            self._source(index, share).record(batch, share) for index, share in enumerate(self._shares(plan))
        )
        if others:
            logits = [one.logits for one in (recording, *others) if one.logits is not None]
            recording.logits = mean_logits(logits, self._weights)
        return recording

    def _shares(self, plan: RecordingPlan) -> list[RecordingPlan]:
        """Return each teacher's part of a plan: the first one's is all of it, the others' its logits."""
        logits = RecordingPlan(logits=True, padding=plan.padding)
        return [plan, *[logits] * (len(self._models) - 1 if plan.logits else 0)]

    def _source(self, index: int, share: RecordingPlan) -> TeacherSource:
        """Return whom to ask for a teacher's part of a plan."""
        return self._stored[index] if index in self._stored and share == LOGITS_ALONE else self._models[index]

    def _store(self, index: int, run: TeachingRun) -> None:
        """Open a teacher's store, building it first where it is absent or damaged; give up with a message."""
        assert self._cache is not None
        if run.windows is None:
            rank_zero_info("teacher: runs in every step, since the training data may change from epoch to epoch")
            return
        teacher, dtype = self._models[index], self._cache.dtype
        folder = Path(self._cache.folder).expanduser() if self._cache.folder else run.folder
        computed = run.precision, dtype, run.device.type, torch.get_float32_matmul_precision()
        key = store_key(model_digest(teacher.model), run.windows.fingerprint, self._task.name, *computed)
        path = folder / STORE_NAME.format(key)
        sizes = stored_sizes(run.windows.lengths, self._task)
        store = _opened(path, key, sizes)
        if not run.processes.agree(store is not None):
            if not run.may_build:
                rank_zero_info("teacher: runs in every step, since the stage is shorter than a pass over the data")
                return
            rank_zero_info("teacher: its logits for %d windows go to %s", len(run.windows.lengths), path)
            teacher.model.to(run.device)
            started = time.monotonic()
            try:
                build_store(teacher, run.windows, path, key, dtype, run.processes, run.device, run.show_progress)
            except CannotStoreError as error:
                _log.warning("teacher: its logits cannot be stored, so it runs in every step: %s", error)
                self._cannot_store = True
                return
            store = LogitStore(path, key, sizes)
            rank_zero_info("teacher: stored in %.1f s, %.1f MB", time.monotonic() - started, path.stat().st_size / 1e6)
        else:
            rank_zero_info("teacher: its logits are read from %s", path)
        assert store is not None
        self._stored[index] = StoredSource(store, self._task.scores_tokens)


def _opened(path: Path, key: str, sizes: NDArray[np.int64]) -> LogitStore | None:
    """Return a store that exists and is whole."""
    try:
        return LogitStore(path, key, sizes)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (DamagedStoreError, OSError) as error:
        _log.warning("%s: %s; it is built again", path, error)
        return None
