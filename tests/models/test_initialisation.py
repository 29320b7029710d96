import math

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from distill.models.initialisation import SELF_SCORE, initialise_mimetic, sinusoids
from distill.types import UserError


def roberta() -> RobertaForQuestionAnswering:
    config = RobertaConfig(
        vocab_size=60, num_hidden_layers=2, hidden_size=128, num_attention_heads=4, intermediate_size=64
    )
    return RobertaForQuestionAnswering(config)


def test_sinusoids_are_those_of_the_formula():
    table = sinusoids(50, 6)
    assert table.shape == (50, 6)
    assert float(table[7, 0]) == pytest.approx(math.sin(7))
    assert float(table[7, 1]) == pytest.approx(math.cos(7))
    assert float(table[7, 4]) == pytest.approx(math.sin(7 / 10000 ** (4 / 6)))


def test_near_positions_look_more_alike_than_far_ones():
    model = initialise_mimetic(roberta())
    positions = model.roberta.embeddings.position_embeddings.weight.detach()
    likeness = torch.nn.functional.cosine_similarity(positions[20], positions[[21, 25, 60]])
    assert likeness[0] > likeness[1] > likeness[2]
    words = model.roberta.embeddings.word_embeddings.weight.detach()
    assert float(positions.std()) == pytest.approx(float(words.std()), rel=0.25)


def test_queries_equal_keys_and_score_a_token_against_itself_as_stated():
    torch.manual_seed(0)
    model = initialise_mimetic(roberta())
    tokens = torch.nn.functional.layer_norm(torch.randn(500, 128), (128,))
    for layer in model.roberta.encoder.layer:
        attention = layer.attention.self
        assert torch.equal(attention.query.weight, attention.key.weight)
        heads = attention.query(tokens).detach().view(500, 4, 32)
        scores = heads.square().sum(-1) / math.sqrt(32)
        assert float(scores.mean()) == pytest.approx(SELF_SCORE, rel=0.1)


def test_layers_differ_and_stay_trainable():
    model = initialise_mimetic(roberta())
    first, second = (layer.attention.self.query.weight for layer in model.roberta.encoder.layer)
    assert not torch.equal(first, second)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_distilbert_is_known_by_its_own_names():
    config = DistilBertConfig(vocab_size=60, n_layers=1, dim=16, n_heads=2, hidden_dim=16)
    model = initialise_mimetic(DistilBertForQuestionAnswering(config))
    attention = model.distilbert.transformer.layer[0].attention
    assert torch.equal(attention.q_lin.weight, attention.k_lin.weight)


def test_family_that_shares_its_layers_is_refused():
    config = AlbertConfig(
        vocab_size=60,
        num_hidden_layers=3,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=16,
        embedding_size=8,
    )
    with pytest.raises(UserError, match="albert"):
        initialise_mimetic(AlbertForQuestionAnswering(config))
