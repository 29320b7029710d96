"""Which training steps are logged."""

from __future__ import annotations

import lightning as L

from distill.stages import ActiveStage


def is_log_step(trainer: L.Trainer, active: ActiveStage | None) -> bool:
    """Return whether anybody looks at what the training step under way logs.

    The loggers do every ``log_every_n_steps`` steps and at the last, the progress bar also where an epoch or a stage
    begins. Lightning takes most of a millisecond for each value: a fifteenth of a small student's step together.
    """
    loop = trainer.fit_loop.epoch_loop
    is_due = (loop._batches_that_stepped + 1) % max(1, trainer.log_every_n_steps) == 0
    is_edge = active is None or active.step in (0, active.num_steps - 1)
    return is_due or is_edge or loop.batch_idx == 0 or bool(trainer.fast_dev_run)
