import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from distill.models.tokenizer import train_tokenizer
from distill.text.vocabulary import PieceTable
from distill.types import UserError


def flagged(tokenizer, flags) -> set[str]:
    return set(tokenizer.convert_ids_to_tokens(np.flatnonzero(flags).tolist()))


def test_byte_level_pieces_begin_words_with_a_space():
    tokenizer = train_tokenizer(["el pingüino come (¿qué?) a las 12. " * 3], vocab_size=320)
    table = PieceTable.of(tokenizer)
    assert {"Ġcome", "Ġ", "Ċ", "Ġel"} <= flagged(tokenizer, table.begins_word)
    assert "el" not in flagged(tokenizer, table.begins_word)
    alone = flagged(tokenizer, table.stands_alone)
    assert {"(", ".", "Ċ", "Ġ"} <= alone
    assert not {"a", "1", "Ġcome"} & alone
    # A byte that may be part of a letter is no punctuation by itself: with few pieces "ü" is two of them.
    assert "Ã" not in alone


def test_wordpieces_begin_words_without_hashes(wordpiece):
    table = PieceTable.of(wordpiece)
    assert {"el", "pin", "come", "(", "1"} <= flagged(wordpiece, table.begins_word)
    assert not {"##gü", "##ino", "##2"} & flagged(wordpiece, table.begins_word)
    assert flagged(wordpiece, table.stands_alone & ~table.is_special) == {"(", ")", ".", "##."}


def test_sentencepieces_begin_words_with_the_space_mark(sentencepiece):
    table = PieceTable.of(sentencepiece)
    assert {"▁el", "▁pin", "▁(", "▁"} <= flagged(sentencepiece, table.begins_word)
    assert not {"gü", "el", ")"} & flagged(sentencepiece, table.begins_word)
    assert {"(", "▁(", ".", "▁"} == flagged(sentencepiece, table.stands_alone & ~table.is_special) - {")"}


def test_space_mark_is_found_where_a_replacement_makes_it(sentencepiece):
    backend = Tokenizer.from_str(sentencepiece.backend_tokenizer.to_str())
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    spelled_out = PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", pad_token="[PAD]")
    assert (PieceTable.of(spelled_out).begins_word == PieceTable.of(sentencepiece).begins_word).all()


@pytest.mark.parametrize("name", ["tokenizer", "wordpiece", "sentencepiece"])
def test_special_tokens_are_never_a_replacement(request, name):
    tokenizer = request.getfixturevalue(name)
    table = PieceTable.of(tokenizer)
    assert set(np.flatnonzero(table.is_special)) == set(tokenizer.all_special_ids)
    assert set(table.ordinary_ids) == set(range(len(tokenizer))) - set(tokenizer.all_special_ids)
    assert table.mask_id == tokenizer.mask_token_id


def test_tokenizers_that_cannot_be_masked_are_refused():
    backend = Tokenizer(models.WordLevel({"uno": 0, "[UNK]": 1, "[MASK]": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="no mask token"):
        PieceTable.of(PreTrainedTokenizerFast(tokenizer_object=backend))
    with pytest.raises(UserError, match="no padding token"):
        PieceTable.of(PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]"))
    with pytest.raises(UserError, match="cannot tell where words begin"):
        PieceTable.of(PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", pad_token="[UNK]"))
