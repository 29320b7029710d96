from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from distill.text import packing
from distill.text.packing import BlockFrame, BlockPacker, tokenize
from distill.types import UserError

FRAME = BlockFrame(start=(0,), end=(2,), separator=2)


def pack(documents, block_length=8, cross_documents=True) -> list[list[int]]:
    packer = BlockPacker(block_length, FRAME, cross_documents)
    blocks = [block.tolist() for document in documents for block in packer.add(np.asarray(document, dtype=np.int64))]
    return blocks + [block.tolist() for block in packer.finish()]


def test_documents_follow_one_another_with_a_separator_between():
    assert pack([[10, 11], [20, 21, 22, 23, 24], [30]]) == [
        [0, 10, 11, 2, 20, 21, 22, 2],
        [0, 23, 24, 2, 30, 2],
    ]


def test_no_block_begins_or_ends_with_a_separator():
    assert pack([[10] * 6, [20]]) == [[0, *[10] * 6, 2], [0, 20, 2]]
    # A single place left is for the separator, which would then stand at the end.
    assert pack([[10] * 5, [20, 21]]) == [[0, *[10] * 5, 2], [0, 20, 21, 2]]
    assert pack([[10] * 4, [20, 21]]) == [[0, *[10] * 4, 2, 20, 2], [0, 21, 2]]


def test_every_document_starts_a_block_when_they_may_not_be_crossed():
    assert pack([[10, 11], [20] * 7, [30]], cross_documents=False) == [
        [0, 10, 11, 2],
        [0, *[20] * 6, 2],
        [0, 20, 2],
        [0, 30, 2],
    ]


def test_empty_documents_and_no_documents_give_no_blocks():
    assert pack([]) == pack([[], []]) == []
    assert pack([[10], [], [20]]) == [[0, 10, 2, 20, 2]]


@given(
    lengths=st.lists(st.integers(0, 30), max_size=12), block_length=st.integers(4, 16), cross_documents=st.booleans()
)
def test_every_token_is_in_one_block_in_order(lengths, block_length, cross_documents):
    documents = [[100 * i + j + 10 for j in range(length)] for i, length in enumerate(lengths)]
    blocks = pack(documents, block_length, cross_documents)
    assert [token for block in blocks for token in block if token >= 10] == list(chain.from_iterable(documents))
    for block in blocks:
        inside = block[1:-1]
        assert block[0] == 0
        assert block[-1] == 2
        assert 3 <= len(block) <= block_length
        assert inside[0] != 2
        assert inside[-1] != 2
        assert cross_documents or 2 not in inside
        for left, right in pairwise(inside):
            assert 2 in (left, right) or left // 100 == right // 100  # a separator wherever the document changes


def test_frame_is_what_the_tokenizer_puts_around_a_text(tokenizer):
    assert BlockFrame.of(tokenizer) == BlockFrame((0,), (2,), 2)
    assert len(BlockFrame.of(tokenizer)) == 2


def test_tokenizer_without_separator_is_refused():
    backend = Tokenizer(models.WordLevel({"uno": 0, "[UNK]": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="neither sep_token nor eos_token"):
        BlockFrame.of(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))


def test_tokens_are_those_of_the_tokenizer_whatever_the_batch(tokenizer, monkeypatch):
    texts = [f"Lucía Ferrer nació en {1900 + i}, en Cádiz." for i in range(20)]
    expected = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for batch_chars in (1, 100, 1 << 20):
        monkeypatch.setattr(packing, "_BATCH_CHARS", batch_chars)
        found = list(tokenize(texts, tokenizer))
        assert [text for text, _ in found] == texts
        assert [ids.tolist() for _, ids in found] == expected


def test_text_is_composed_and_never_read_as_a_special_token(tokenizer):
    (_, ids), (_, composed) = tokenize(["<mask>Ca\u0301diz</s>", "<mask>Cádiz</s>"], tokenizer)
    assert ids.tolist() == composed.tolist()
    assert not set(ids.tolist()) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids) == "<mask>Cádiz</s>"


def test_settings_of_the_tokenizer_are_left_alone(tokenizer):
    tokenizer("uno", truncation=True, max_length=3, padding="max_length")
    before = tokenizer.backend_tokenizer.to_str()
    ((_, ids),) = tokenize(["Lucía Ferrer nació en Cádiz."], tokenizer)
    assert len(ids) > 3
    assert tokenizer.backend_tokenizer.to_str() == before
