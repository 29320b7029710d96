"""Tiny students of every family that exports are tested with."""

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

SIZES = {
    "vocab_size": 300,
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 130,
}
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1),
    "xlm-roberta": XLMRobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1),
    "electra": ElectraConfig(**SIZES, embedding_size=8),
    "distilbert": DistilBertConfig(
        vocab_size=300, n_layers=2, dim=16, n_heads=2, hidden_dim=32, max_position_embeddings=130
    ),
}


def tiny_model(family: str) -> PreTrainedModel:
    """Return a model whose logits differ between tokens by far more than rounding does."""
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_config(CONFIGS[family]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def windows(model: PreTrainedModel, lengths: list[int]) -> dict[str, Tensor]:
    """Return a batch of random windows of these lengths, padded to the longest, with the second half as context."""
    width = max(lengths)
    attention_mask = torch.stack([(torch.arange(width) < length).long() for length in lengths])
    input_ids = torch.randint(5, 300, (len(lengths), width))
    batch = {
        "input_ids": torch.where(attention_mask.bool(), input_ids, model.config.pad_token_id),
        "attention_mask": attention_mask,
    }
    if model.config.model_type in ("bert", "electra"):
        batch["token_type_ids"] = (torch.arange(width) > width // 2).long() * attention_mask
    return batch


@pytest.fixture(params=CONFIGS)
def model(request) -> PreTrainedModel:
    """A tiny model of each family in turn."""
    return tiny_model(request.param)
