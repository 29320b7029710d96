"""First weights for models that start from nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.types import UserError

#: The attention score that a token starts with towards itself; e^3 is enough to stand out among a hundred others.
SELF_SCORE = 3.0

#: Names of the query and key projections in the families that keep them apart.
_QUERY_AND_KEY = (("query", "key"), ("q_lin", "k_lin"))


def initialise_mimetic(model: PreTrainedModel) -> PreTrainedModel:
    """Let attention begin where trained models end up: on the token itself, its like and its neighbours; return it.

    - Positions become sinusoids, ``P[p, 2i] = a sin(p / 10000^(2i/D))`` and ``P[p, 2i+1]`` its cosine, of the same
      size as the word embeddings (``a = sqrt(2) sigma``, sigma the model's initializer_range), so that near places
      look alike.
    - Each layer's queries start equal to its keys, with entries ``N(0, g / (D sqrt(d)))`` for a head width d, so that
      a token's score towards itself is g = ``SELF_SCORE`` and falls with unlikeness and distance.

    Everything stays trainable. A randomly started question-answering model spends most of its time finding out to look
    at neighbours and at repeated words; this gives it both. After Trockman and Kolter (2023), "Mimetic Initialization
    of Self-Attention Layers", https://arxiv.org/abs/2305.09828, sections 3 and 4, without their value projections.

    Raises:
        UserError: If the model family has no separate queries and keys or no table of positions.
    """
    config = model.config
    positions = next((module for name, module in model.named_modules() if name.endswith("position_embeddings")), None)
    pairs = [
        (getattr(module, query), getattr(module, key))
        for module in model.modules()
        for query, key in _QUERY_AND_KEY
        if isinstance(getattr(module, query, None), nn.Linear)
    ]
    if positions is None or len(pairs) != config.num_hidden_layers:
        raise UserError(f"init mimetic: {config.model_type!r} models keep no queries and keys apart; use init random")
    head_width = config.hidden_size // config.num_attention_heads
    deviation = math.sqrt(SELF_SCORE / (config.hidden_size * math.sqrt(head_width)))
    with torch.no_grad():
        positions.weight.copy_(math.sqrt(2) * config.initializer_range * sinusoids(*positions.weight.shape))
        for query, key in pairs:
            query.weight.normal_(0.0, deviation)
            key.weight.copy_(query.weight)
    return model


def sinusoids(num_positions: int, width: int) -> Tensor:
    """Return (num_positions, width), sines in even and cosines in odd columns, of wavelengths from 2 pi to 20000 pi."""
    angles = torch.arange(num_positions)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width]
