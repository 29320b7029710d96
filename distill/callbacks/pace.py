"""How fast a stage goes, by the clock of its first steps."""

from __future__ import annotations

from distill.stages import ActiveStage

#: Steps of a stage, at most and as a share of them all, after which its pace is told.
_MAX_STEPS, _SHARE = 25, 10
#: As many of these as warm up caches and kernels and are not timed: one of so many.
_WARMUP = 5


class StagePace:
    """Times the steps of each stage that a process sees, and tells its pace once.

    That is after a tenth of the stage, at least 3 steps and at most 25, of which the first fifth is not timed. A stage
    of less than 4 steps has none.
    """

    def __init__(self) -> None:
        self._stage: int | None = None
        self._first_step = self._num_steps = 0
        self._since: tuple[int, float] | None = None
        self._is_told = False

    def after(self, active: ActiveStage, now: float) -> float | None:
        """Return the seconds of a step when they are first known, else nothing; call it after every step.

        Args:
            active: Where the run stands.
            now: Seconds on any clock.
        """
        if active.index != self._stage:
            self._stage, self._first_step = active.index, active.step
            self._num_steps = min(_MAX_STEPS, max(3, (active.num_steps - active.step) // _SHARE))
            self._since, self._is_told = None, False
        done = active.step - self._first_step
        if self._since is None:
            # Not at every batch of this step, where gradients are accumulated.
            if done >= max(1, self._num_steps // _WARMUP):
                self._since = done, now
            return None
        if self._is_told or done < self._num_steps or active.step >= active.num_steps:
            return None
        self._is_told = True
        return (now - self._since[1]) / (done - self._since[0])
