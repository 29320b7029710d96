"""Sizes against the file that safetensors writes."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from distill.reporting.size import num_parameters, size_bytes


@pytest.fixture
def model():
    """A model whose output embedding is tied to its input embedding."""
    config = BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16, tie_word_embeddings=True,
    )  # fmt: skip
    return BertForMaskedLM(config)


def tensor_bytes(file):
    with file.open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    header.pop("__metadata__", None)
    return max(entry["data_offsets"][1] for entry in header.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_size_is_what_the_file_holds(model, tmp_path, dtype):
    expected = size_bytes(model, dtype)
    model.to(dtype).save_pretrained(tmp_path)
    assert expected == size_bytes(model) == tensor_bytes(tmp_path / "model.safetensors")


def test_tied_parameters_count_once(model):
    separate = sum(tensor.numel() for tensor in model.state_dict().values())
    assert num_parameters(model) < separate


def test_integer_buffers_keep_their_width():
    model = nn.BatchNorm1d(2)  # 4 parameters, 4 running statistics, one int64 counter
    assert size_bytes(model, torch.bfloat16) == 8 * 2 + 8
    assert num_parameters(model) == 4
