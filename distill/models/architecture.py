"""A transformers configuration from the sizes that a user writes down."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedTokenizerBase

from distill.types import UserError


def build_config(architecture: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Return the configuration of a model for a tokenizer's pieces.

    Args:
        architecture: ``model_type`` and any settings of that family; the vocabulary is the tokenizer's.
        tokenizer: Gives the size of the vocabulary and the special tokens.

    Raises:
        UserError: If the family or a setting is unknown, or a value does not fit.
    """
    settings = dict(architecture)
    family = settings.pop("model_type")
    if family not in CONFIG_MAPPING:
        near = get_close_matches(family, CONFIG_MAPPING.keys(), n=3) or ["bert", "roberta", "electra"]
        raise UserError(f"model.architecture: model_type {family!r} is unknown; did you mean {', '.join(near)}?")
    given_by_tokenizer = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    known = CONFIG_MAPPING[family]().to_dict()
    for name in settings:
        if name in given_by_tokenizer:
            raise UserError(f"model.architecture: {name} is the tokenizer's to say; leave it out")
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise UserError(f"model.architecture: {family} has no setting {name!r}{hint}")
    try:
        config = CONFIG_MAPPING[family](**given_by_tokenizer, **settings)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise UserError(f"model.architecture: {' '.join(str(error).split())}") from error
    if config.hidden_size % config.num_attention_heads:
        raise UserError(
            f"model.architecture: hidden_size {config.hidden_size} is not a multiple of "
            f"num_attention_heads {config.num_attention_heads}"
        )
    return config
