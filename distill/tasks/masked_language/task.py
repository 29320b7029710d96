"""Masked-language modelling as a task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel

from distill.tasks.base import Score, Task
from distill.tasks.masked_language.evaluation import MaskedLanguageEvaluation
from distill.tasks.masked_language.head import head_at, masked_positions, masked_rows
from distill.text.masking import IGNORED
from distill.types import Batch


class MaskedLanguage(Task):
    """Plain text with hidden tokens: the head scores every piece of the vocabulary (V) at each hidden place.

    ``batch.labels["token_ids"]``, (B, S), holds the id of each hidden token and ``IGNORED`` wherever nothing was
    hidden. The head is computed at the hidden places alone where the model family is known (BERT, RoBERTa, XLM-R,
    CamemBERT, ELECTRA, DistilBERT, ALBERT), since over all places it would cost as much as a small encoder.
    """

    name = "masked_language"
    main_score = Score("perplexity", "perplexity", higher_is_better=False)
    headline = (
        main_score,
        Score("cross_entropy", "cross entropy, nats", higher_is_better=False),
        Score("accuracy", "accuracy, masked tokens"),
    )

    def load_model(self, folder: str, **kwargs: Any) -> PreTrainedModel:
        """Load a pretrained model with a masked-language head, in float32 unless ``dtype`` says otherwise."""
        model: PreTrainedModel = AutoModelForMaskedLM.from_pretrained(folder, **{"dtype": torch.float32, **kwargs})
        return model

    def build_model(self, config: Any) -> PreTrainedModel:
        """Build a model with a masked-language head and random weights, in float32."""
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config, dtype=torch.float32)
        return model

    def focus(self, model: PreTrainedModel, batch: Batch, logits: bool = True) -> AbstractContextManager[None]:
        """Return a context in which the head computes the hidden places, or none if nobody reads its scores."""
        positions = masked_positions(batch)
        return head_at(model, positions if logits else positions[:0])

    def num_head_tokens(self, batch: Batch) -> Tensor:
        """Return how many tokens are hidden, () int64."""
        return batch.labels["token_ids"].ne(IGNORED).sum()

    def logits(self, output: Any) -> Tensor:
        """Return the head's scores: (M, V) within :meth:`focus`, (B, S, V) without it or for an unknown family."""
        return output.logits

    def rows(self, logits: Tensor, batch: Batch, mask_padding: bool = True) -> Tensor:
        """Return one row of classes for each of the N hidden tokens, (N, V); padding is never hidden."""
        return masked_rows(logits, batch)

    def targets(self, batch: Batch) -> Tensor:
        """Return the id of each hidden token, (N,) int64."""
        return batch.labels["token_ids"].flatten()[masked_positions(batch)]

    def evaluation(self, examples: Sequence[Any], partial: bool = False) -> MaskedLanguageEvaluation:
        """Start an evaluation over blocks of text, of which only the number counts."""
        return MaskedLanguageEvaluation(len(examples), partial)
