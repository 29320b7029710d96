"""One pass of one model over masked text: sums of log probabilities in, perplexity out."""

from __future__ import annotations

import math
from itertools import chain

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import functional as F

from distill.distributed.processes import gather
from distill.tasks.base import Evaluation, EvaluationResult
from distill.tasks.masked_language.head import masked_positions, masked_rows
from distill.types import Batch, UserError

#: The largest perplexity, and mean cross entropy, that is told: reports hold no infinity, and beyond the size of any
#: vocabulary, which is the perplexity of a model that knows nothing, more of it says no more.
LARGEST = 1e12


class MaskedLanguageEvaluation(Evaluation):
    """Sums the cross entropy of every hidden token, whatever the batches and the processes they fall to.

    Args:
        num_blocks: Blocks of text in the evaluation set, over all processes.
        partial: Whether some of them may never come, as in trial runs.
    """

    def __init__(self, num_blocks: int, partial: bool = False) -> None:
        self.num_blocks = num_blocks
        self.partial = partial
        # One sum for each batch: added up at the end, exactly, so that the processes' order does not show.
        self._cross_entropies: list[float] = []
        self._num_correct = 0
        self._num_tokens = 0
        self._num_scored = 0

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add the head's scores for one batch, (B, S, V) or at the hidden places alone, see :func:`masked_rows`."""
        rows = masked_rows(logits, batch)
        targets = batch.labels["token_ids"].flatten()[masked_positions(batch)]
        # Summed in double precision: a set has millions of tokens.
        self._cross_entropies.append(F.cross_entropy(rows, targets, reduction="none").double().sum().item())
        self._num_correct += int(rows.argmax(-1).eq(targets).sum())
        self._num_tokens += len(targets)
        self._num_scored += len(batch.window_ids)

    def compute(self) -> EvaluationResult:
        """Return the scores over the hidden tokens of every process; collective.

        - ``cross_entropy``: ``mean of -log p[token]``, in nats.
        - ``perplexity``: ``exp(cross_entropy)``.
        - ``accuracy``: per cent of the tokens whose piece is scored highest.
        - ``num_masked_tokens``: how many there were.

        Of a model that has diverged the first two are told as ``LARGEST`` where they are larger, infinite or no
        number, with a warning.

        Raises:
            UserError: If no token was hidden, or blocks were left out although the pass is not partial.
        """
        parts = gather((self._cross_entropies, self._num_correct, self._num_tokens, self._num_scored))
        cross_entropies, *counts = zip(*parts, strict=True)
        cross_entropy = math.fsum(chain.from_iterable(cross_entropies))
        num_correct, num_tokens, num_scored = map(sum, counts)
        if num_scored != self.num_blocks and not self.partial:
            raise UserError(f"{num_scored:,} of {self.num_blocks:,} blocks were scored: score every block once")
        if not num_tokens:
            raise UserError("no token was hidden in the evaluation set: give it more text, or mask a larger share")
        mean = cross_entropy / num_tokens
        if not mean <= math.log(LARGEST):  # nor is what is no number
            rank_zero_warn(
                f"the mean cross entropy of {num_tokens:,} hidden tokens is {mean:.4g}: the model has diverged; its "
                f"perplexity is told as {LARGEST:g}, which is no measurement: lower the learning rate"
            )
        return EvaluationResult(
            {
                "perplexity": math.exp(mean) if mean <= math.log(LARGEST) else LARGEST,
                "cross_entropy": mean if mean <= LARGEST else LARGEST,
                "accuracy": 100 * num_correct / num_tokens,
                "num_masked_tokens": float(num_tokens),
            }
        )
