"""Tiny models of every family whose parts are known, and text for them."""

from __future__ import annotations

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from distill.types import Batch

SIZES = {
    "vocab_size": 60,
    "num_hidden_layers": 3,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES),
    "xlm-roberta": XLMRobertaConfig(**SIZES),
    "camembert": CamembertConfig(**SIZES),
    "electra": ElectraConfig(**SIZES, embedding_size=16),
    "electra projected": ElectraConfig(**SIZES, embedding_size=8),
    "distilbert": DistilBertConfig(
        vocab_size=60, n_layers=3, dim=16, n_heads=4, hidden_dim=24, max_position_embeddings=40, dropout=0.0,
        attention_dropout=0.0, pad_token_id=1,
    ),
}  # fmt: skip


def lively(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """Return a random model whose parts all matter: larger weights, gains and biases off their neutral values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForQuestionAnswering.from_config(config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn_like(parameter)
                is_norm = "norm" in name.lower() and name.endswith("weight")
                parameter.copy_(1 + 0.3 * noise if is_norm else 0.4 * noise)
    return model


def text_batch(num_rows: int = 24, length: int = 20, vocab_size: int = 60, seed: int = 0) -> Batch:
    """Return random windows of unequal length."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocab_size, (num_rows, length), generator=generator)
    lengths = torch.randint(length // 2, length + 1, (num_rows, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return Batch({"input_ids": ids.where(mask.bool(), 1), "attention_mask": mask}, {}, torch.arange(num_rows))


def logits_of(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return start and end scores at real tokens."""
    with torch.no_grad():
        output = model(**batch.inputs)
    return torch.stack((output.start_logits, output.end_logits), -1)[batch.attention_mask.bool()]
