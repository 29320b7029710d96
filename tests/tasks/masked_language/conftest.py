"""Batches of masked text and tiny models of every family whose head is known."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from distill.types import Batch

VOCABULARY = 50
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 40, "pad_token_id": 1,
}  # fmt: skip
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES),
    "xlm-roberta": XLMRobertaConfig(**SIZES),
    "camembert": CamembertConfig(**SIZES),
    "electra": ElectraConfig(**SIZES, embedding_size=6),
    "distilbert": DistilBertConfig(vocab_size=VOCABULARY, dim=8, n_layers=2, n_heads=2, hidden_dim=16, pad_token_id=1),
    "albert": AlbertConfig(**SIZES, embedding_size=6),
}


def masked_batch(num_blocks: int = 6, length: int = 12, share: float = 0.3, seed: int = 0, padding: int = 3) -> Batch:
    """Return blocks of which a share of the real tokens is hidden; the last block has ``padding`` places of padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (num_blocks, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[-1:, length - padding :] = 0
    hidden = (torch.rand(ids.shape, generator=generator) < share) & mask.bool()
    inputs = {"input_ids": ids.masked_fill(hidden, 4).masked_fill(~mask.bool(), 1), "attention_mask": mask}
    return Batch(inputs, {"token_ids": ids.masked_fill(~hidden, -100)}, torch.arange(num_blocks))


def part(batch: Batch, start: int, end: int) -> Batch:
    """Return the blocks [start, end) alone."""
    cut = slice(start, end)
    return Batch(
        {name: tensor[cut] for name, tensor in batch.inputs.items()},
        {name: tensor[cut] for name, tensor in batch.labels.items()},
        batch.window_ids[cut],
    )


@pytest.fixture
def batch() -> Batch:
    return masked_batch()


@pytest.fixture
def model() -> PreTrainedModel:
    return AutoModelForMaskedLM.from_config(CONFIGS["roberta"]).eval()


@pytest.fixture(params=list(CONFIGS))
def any_model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A model of each family in turn."""
    return AutoModelForMaskedLM.from_config(CONFIGS[request.param]).eval()
