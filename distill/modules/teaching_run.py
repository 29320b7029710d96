"""What teachers need to know of a running fit."""

from __future__ import annotations

import uuid
from pathlib import Path

import lightning as L

from distill.stages import ActiveStage
from distill.teaching.building import Processes
from distill.teaching.teachers import TeachingRun

#: Where files are kept when the data names no folder.
CACHE_FOLDER = "~/.cache/distill"


def teaching_run(trainer: L.Trainer, active: ActiveStage, task: str | None = None) -> TeachingRun:
    """Describe a fit to its teachers, before the first step of a stage.

    A store is worth building if the stage passes over its training data at least once, so not in a trial of some
    batches; a ``fast_dev_run`` writes no file. Windows can be stored if the data set of the training dataloader has a
    ``fingerprint``.

    Args:
        trainer: Runs the fit.
        active: The stage.
        task: The task whose teachers they are, in a run of several.
    """
    loader = trainer.train_dataloader
    dataset, epoch = getattr(loader, "dataset", None), len(loader)
    batches, data = active.num_steps * trainer.accumulate_grad_batches, trainer.datamodule  # type: ignore[attr-defined]
    if (part := active.stage.data) is not None:
        dataset, epoch, data = loader.loaders[part].dataset, len(loader.loaders[part]), data.others[part]
    elif task is not None:
        sampler = loader.loaders[None].sampler
        dataset, epoch = loader.dataset.parts[task], sampler.sizes[task]
        batches, data = sampler.num_batches(active.index, task), data.parts[task]
    windows = dataset if hasattr(dataset, "fingerprint") else None
    strategy = trainer.strategy
    return TeachingRun(
        windows=windows,
        folder=Path(getattr(data, "cache_dir", CACHE_FOLDER)).expanduser(),
        device=strategy.root_device,
        precision=str(trainer.precision),
        processes=Processes(
            rank=trainer.local_rank,
            count=trainer.num_devices,
            token=f"{strategy.broadcast(uuid.uuid4().hex)}-{trainer.node_rank}",
            agree=strategy.reduce_boolean_decision,
        ),
        may_build=windows is not None and not trainer.fast_dev_run and batches >= epoch,
        show_progress=trainer.is_global_zero and trainer.progress_bar_callback is not None,
    )
