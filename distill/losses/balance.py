"""Balance: terms of very different size, scaled to equal size by what the first steps of a stage show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from distill.losses.base import widen
from distill.stages import ActiveStage
from distill.types import UserError

#: The smallest size, as a share of the largest term's, that a term is scaled up from. Attention probabilities beside
#: hidden states come to about 1e-3; embeddings that a student has just inherited to 1e-6, and grow from there.
LEAST_SHARE = 1e-4


class LossBalance:
    """Scales every term of a stage by its own mean size ``m_k = mean |term_k|`` over the first steps.

    The factor is ``1 / max(m_k, LEAST_SHARE * max over terms j of m_j)``. Each term is then about 1 where the stage
    begins, so the stage's weights are the terms' shares of the objective. The bound keeps a term that begins at almost
    nothing, such as the embeddings of a student that starts from the teacher's, from drowning all others once it grows;
    where it holds there is one warning, in the last of the first steps.

    Only steps with a batch of these terms count: in a run of several tasks each task is balanced on the first of its
    own. During them the means are of what was seen so far, the current batch included; afterwards they stay. They
    are a function of the values alone, which are those of all processes, and kept with the checkpoint. A term that is 0
    or not finite in all of them is left as it is. Nothing is read back from the device but for the warning.
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
        is_new_step = active.step != self._last_step
        if is_new_step:
            self._num_steps, self._last_step = self._num_steps + 1, active.step
        if self._num_steps <= active.stage.balance:
            is_finite = values.isfinite()
            self._seen = self._seen + torch.stack((values.where(is_finite, 0.0), is_finite.to(values.dtype)))
        sizes, counts = self._seen
        own = torch.where(sizes > 0, counts / sizes, torch.inf)
        factors = own.minimum(own.min() / LEAST_SHARE)
        if is_new_step and self._num_steps == active.stage.balance:
            self._warn_of_tiny_terms(active, own)
        return dict(zip(terms, torch.where(sizes > 0, factors, 1.0), strict=True))

    def _warn_of_tiny_terms(self, active: ActiveStage, own: Tensor) -> None:
        """Name the terms that are too small to be scaled to equal size, given one over each mean size."""
        shares = (own.min() / own).tolist()
        largest = self._names[int(own.argmin())]
        for name, share in zip(self._names, shares, strict=True):
            if 0 < share < LEAST_SHARE:
                rank_zero_warn(
                    f"stage {active.name!r}: balance: {name} is on average {share:.1e} of {largest} in the first "
                    f"{active.stage.balance} steps and counts as {LEAST_SHARE:g} of it, so that it cannot drown the "
                    "others as it grows; leave it out where the student starts with it"
                )

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
