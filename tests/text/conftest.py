"""Tokenizers of the three families that mark word beginnings in different ways."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}


def finished(backend: Tokenizer) -> PreTrainedTokenizerFast:
    backend.add_special_tokens(list(SPECIAL.values()))
    ids = [("[CLS]", backend.token_to_id("[CLS]")), ("[SEP]", backend.token_to_id("[SEP]"))]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


@pytest.fixture(scope="session")
def wordpiece() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer as BERT's."""
    pieces = [*SPECIAL.values(), "el", "pin", "##gü", "##ino", "come", "(", ")", ".", "##.", "1", "##2"]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return finished(backend)


@pytest.fixture(scope="session")
def sentencepiece() -> PreTrainedTokenizerFast:
    """A Unigram tokenizer with SentencePiece's space mark, as XLM-R's."""
    pieces = ["[UNK]", "▁el", "▁pin", "gü", "ino", "▁come", "▁(", "(", ")", ".", "▁", "el", "come"]
    backend = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return finished(backend)
