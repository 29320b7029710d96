"""Balance: terms of very different size, scaled to equal size by what the first steps of a stage show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill.losses.base import widen
from distill.stages import ActiveStage
from distill.types import UserError


class LossBalance:
    """Scales every term of a stage by ``1 / m_k``, its own mean size ``m_k = mean |term_k|`` over the first steps.

    Each term is then about 1 where the stage begins, so the stage's weights are the terms' shares of the objective.
    Only steps with a batch of these terms count: in a run of several tasks each task is balanced on the first of its
    own. During them the means are of what was seen so far, the current batch included; afterwards they stay. They
    are a function of the values alone, which are those of all processes, and kept with the checkpoint. A term that is 0
    or not finite in all of them is left as it is. Nothing is read back from the device.
    """

    def __init__(self) -> None:
        self._stage: str | None = None
        self._names: list[str] = []
        # The steps of the stage that had a batch, and the latest of them.
        self._num_steps = 0
        self._last_step: int | None = None
        # (2, K): the sum of the sizes of each of K terms, and how many were finite.
        self._seen = torch.zeros(2, 0)

    def scales(self, active: ActiveStage, terms: Mapping[str, Tensor]) -> Mapping[str, float | Tensor]:
        """Return what each term is multiplied by: its weight in the stage, times its factor where that balances."""
        weights = active.stage.weights
        if active.stage.balance is None:
            return {name: weights[name] for name in terms}
        return {name: weights[name] * factor for name, factor in self.factors(active, terms).items()}

    def factors(self, active: ActiveStage, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each term's factor, () float32 or float64, after taking note of its value in the stage's first steps.

        Args:
            active: Where the run stands; its stage says how many steps count.
            terms: The raw values of the batches of all processes, () each; the same names throughout a stage.
        """
        values = widen(torch.stack([value.detach() for value in terms.values()])).abs()
        if (self._stage, self._names) != (active.name, list(terms)):
            self._stage, self._names, self._num_steps, self._last_step = active.name, list(terms), 0, None
            self._seen = values.new_zeros(2, len(terms))
        self._seen = self._seen.to(values.device)
        assert active.stage.balance is not None
        if active.step != self._last_step:
            self._num_steps, self._last_step = self._num_steps + 1, active.step
        if self._num_steps <= active.stage.balance:
            is_finite = values.isfinite()
            self._seen = self._seen + torch.stack((values.where(is_finite, 0.0), is_finite.to(values.dtype)))
        sizes, counts = self._seen
        factors = torch.where(sizes > 0, counts / sizes, 1.0)
        return dict(zip(terms, factors, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain data and a tensor."""
        return {
            "stage": self._stage,
            "names": self._names,
            "num_steps": self._num_steps,
            "last_step": self._last_step,
            "seen": self._seen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            UserError: If an earlier version saved it, in the midst of a balanced stage.
        """
        if "num_steps" not in state:
            if state["stage"] is None:  # nothing seen yet
                return
            raise UserError(
                f"checkpoint of an earlier version, whose balance of stage {state['stage']!r} cannot be gone on with: "
                "finish the run with that version, or start from the student/ folder beside it"
            )
        self._stage, self._names = state["stage"], list(state["names"])
        self._num_steps, self._last_step = state["num_steps"], state["last_step"]
        self._seen = state["seen"]
