"""One encoder for several heads: only where every setting that it computes with is the same."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification

from distill.models.sharing import check_same_encoder, share_encoder
from distill.types import UserError

from .tiny import CONFIGS


@pytest.mark.parametrize("family", CONFIGS)
def test_head_computes_with_the_owners_encoder(family):
    owner = AutoModelForQuestionAnswering.from_config(CONFIGS[family]).eval()
    model = share_encoder(AutoModelForTokenClassification.from_config(CONFIGS[family]).eval(), owner)
    ids = torch.arange(2, 14).view(2, 6)
    states = [m.base_model(input_ids=ids).last_hidden_state for m in (owner, model)]
    assert torch.equal(*states)
    assert model.classifier.weight.shape[0] == 2


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [
        ("roberta", "hidden_act", "relu"),
        ("bert", "layer_norm_eps", 1e-5),
        ("bert", "num_attention_heads", 2),
        ("roberta", "pad_token_id", 0),
        ("roberta", "attention_probs_dropout_prob", 0.1),
        ("distilbert", "activation", "relu"),
        ("distilbert", "sinusoidal_pos_embds", True),
        ("electra", "is_decoder", True),
        ("bert", "num_hidden_layers", 2),
    ],
)
def test_encoders_that_would_compute_something_else_are_not_shared(family, name, value):
    other = copy.deepcopy(CONFIGS[family])
    setattr(other, name, value)
    with pytest.raises(UserError, match=name):
        check_same_encoder(other, CONFIGS[family])
    model, owner = (AutoModelForQuestionAnswering.from_config(config) for config in (other, CONFIGS[family]))
    with pytest.raises(UserError, match=rf"{name}.*student"):
        share_encoder(model, owner)


def test_encoders_of_two_families_are_not_shared():
    with pytest.raises(UserError, match="roberta and bert"):
        check_same_encoder(CONFIGS["roberta"], CONFIGS["bert"])


def test_what_is_the_heads_or_a_name_may_differ():
    other = copy.deepcopy(CONFIGS["bert"])
    other.classifier_dropout, other.initializer_range, other.use_cache = 0.3, 0.5, False
    other.id2label, other.architectures = {0: "O", 1: "B-PER", 2: "I-PER"}, ["BertForTokenClassification"]
    other.gradient_checkpointing = True  # what old folders hold, and no model reads
    check_same_encoder(other, CONFIGS["bert"])
