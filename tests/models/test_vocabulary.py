"""Trimmed vocabularies of every kind of tokenizer: training text is cut as before, and any other text still is."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from distill.models.loading import load_tokenizer
from distill.models.tokenizer import train_tokenizer
from distill.models.vocabulary import (
    count_recut_words,
    read_student_ids,
    select_pieces,
    teacher_ids,
    trim_tokenizer,
    vocabulary_digest,
)
from distill.types import UserError

from .tiny import CONFIGS, lively, logits_of, text_batch

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CORPUS = [
    "Lucía Ferrer nació en Cádiz y murió en Ávila.",
    "¿Dónde nació Íñigo Peña? En Lérida, dicen; otros hablan de Jaén.",
    "La señora Güell escribió «Pingüinos» en 1897, en Barcelona.",
    "El río Guadalquivir nace en la sierra de Cazorla y muere en Sanlúcar de Barrameda.",
    "Los barcos nacieron, murieron y escribieron: palabras, palabritas, palabrotas.",
]
USED = CORPUS[:2]


def wrap(backend: Tokenizer) -> PreTrainedTokenizerFast:
    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": token for name, token in zip(names, SPECIAL, strict=True)}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **special)


def byte_level(corpus: list[str]) -> PreTrainedTokenizerFast:
    return train_tokenizer(corpus * 3, vocab_size=500, max_length=64)


def wordpiece(corpus: list[str]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(corpus * 3, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL))
    ids = [(token, backend.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    backend.post_processor = processors.BertProcessing(*ids)
    return wrap(backend)


def unigram(corpus: list[str]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=SPECIAL, unk_token="[UNK]")
    backend.train_from_iterator(corpus * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return wrap(backend)


def character_pairs(corpus: list[str]) -> PreTrainedTokenizerFast:
    """Byte-pair merges over characters, with marks at the ends of words and an unknown piece."""
    backend = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=300, min_frequency=1, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    backend.train_from_iterator(corpus * 3, trainer)
    return wrap(backend)


KINDS = {"byte-level": byte_level, "wordpiece": wordpiece, "unigram": unigram, "character pairs": character_pairs}


@pytest.fixture(scope="module", params=list(KINDS))
def full(request) -> PreTrainedTokenizerFast:
    return KINDS[request.param](CORPUS)


@pytest.fixture(scope="module")
def trimmed(full):
    return trim_tokenizer(full, USED)


def pieces(tokenizer, text: str, pair: str | None = None) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text, pair)["input_ids"])


def test_unused_pieces_go_and_used_ones_stay(full, trimmed):
    mine, others = trimmed.get_vocab(), full.get_vocab()
    assert len(mine) < len(others)
    assert mine.keys() <= others.keys()
    assert {piece for text in USED for piece in pieces(full, text)} <= mine.keys()
    assert sorted(mine.values()) == list(range(len(mine)))
    assert sorted(mine, key=mine.get) == sorted(mine, key=others.get)
    assert trimmed.special_tokens_map == full.special_tokens_map
    assert trimmed.pad_token_id == full.pad_token_id


def test_the_texts_that_decided_are_cut_as_before(full, trimmed):
    for text in USED:
        before = full(text, USED[0], return_offsets_mapping=True)
        after = trimmed(text, USED[0], return_offsets_mapping=True)
        assert pieces(trimmed, text, USED[0]) == pieces(full, text, USED[0])
        assert after["offset_mapping"] == before["offset_mapping"]
        assert after.sequence_ids() == before.sequence_ids()


def test_words_that_are_cut_otherwise_are_counted(full, trimmed):
    assert count_recut_words(full, trimmed, USED)[0] == 0
    # Cut one by one, since no piece reaches over a word's end.
    words = [word for text in CORPUS for word in text.split()]
    recut = [word for word in words if pieces(full, word) != pieces(trimmed, word)]
    num_recut, num_words = count_recut_words(full, trimmed, words)
    assert len(recut) <= num_recut <= num_words
    assert 0 < num_recut < num_words
    assert count_recut_words(full, trimmed, words * 2) == (2 * num_recut, 2 * num_words)


def test_saved_and_loaded_it_is_the_same(full, trimmed, tmp_path):
    trimmed.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.get_vocab() == trimmed.get_vocab()
    assert loaded.model_input_names == full.model_input_names
    for text in CORPUS:
        assert loaded(text, "¿Qué?")["input_ids"] == trimmed(text, "¿Qué?")["input_ids"]


WORDS = st.lists(
    st.sampled_from([word for text in CORPUS for word in text.split()]) | st.text("abcdeñíü¿", min_size=1, max_size=8),
    min_size=1,
    max_size=12,
).map(" ".join)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(WORDS, min_size=1, max_size=4), other=WORDS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_any_texts_are_cut_as_before_and_any_other_text_is_cut(kind, texts, other, tokenizers):
    full = tokenizers[kind]
    trimmed = trim_tokenizer(full, texts)
    for text in texts:
        assert pieces(trimmed, text) == pieces(full, text)
    before, after = full(other, return_offsets_mapping=True), trimmed(other, return_offsets_mapping=True)
    # No character that was known becomes unknown, and none is lost.
    assert after["input_ids"].count(trimmed.unk_token_id) <= before["input_ids"].count(full.unk_token_id)
    covered = [{i for start, end in x["offset_mapping"] for i in range(start, end)} for x in (before, after)]
    assert covered[0] == covered[1]


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: make(CORPUS) for kind, make in KINDS.items()}


def test_any_text_survives_byte_level_pieces(tokenizers):
    trimmed = trim_tokenizer(tokenizers["byte-level"], USED)
    ids = trimmed("Škoda 漢字 🙂", add_special_tokens=False)["input_ids"]
    assert trimmed.unk_token_id not in ids
    assert trimmed.decode(ids) == "Škoda 漢字 🙂"


def test_words_that_were_unknown_stay_unknown():
    """Of "abc☃" the longest beginning is "abc"; without it "ab" and "##c☃" would go through."""
    vocab = {token: i for i, token in enumerate([*SPECIAL, "a", "b", "c", "##b", "##c", "ab", "abc", "##c☃"])}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    full = wrap(backend)
    texts = ["abc☃", "ab", "ac☃"]
    trimmed = trim_tokenizer(full, texts)
    assert "abc" in trimmed.get_vocab()
    assert [pieces(trimmed, text) for text in texts] == [["[UNK]"], ["ab"], ["a", "##c☃"]]


def test_unreachable_merges_are_gone(tokenizers):
    full = tokenizers["byte-level"]
    before, after = (
        json.loads(tokenizer.backend_tokenizer.to_str())["model"] for tokenizer in (full, trim_tokenizer(full, USED))
    )
    assert len(after["merges"]) < len(before["merges"])
    for left, right in after["merges"]:
        assert {left, right, left + right} <= after["vocab"].keys()
    assert [merge for merge in before["merges"] if merge in after["merges"]] == after["merges"]


def test_kinds_that_are_not_known_are_refused():
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate([*SPECIAL, "a"])}, unk_token="[UNK]"))
    with pytest.raises(UserError, match="WordLevel tokenizers are not known"):
        trim_tokenizer(wrap(backend), ["a"])


def test_ids_lead_back_to_the_teacher(full, trimmed):
    ids = teacher_ids(trimmed, full)
    for text in USED:
        assert ids[trimmed(text)["input_ids"]].tolist() == full(text)["input_ids"]
    assert teacher_ids(full, full) is None
    assert vocabulary_digest(ids) != vocabulary_digest(ids.flip(0))


def test_foreign_pieces_and_rules_are_refused(full, trimmed):
    with pytest.raises(UserError, match="use different tokenizers"):
        teacher_ids(full, trimmed)
    other = trim_tokenizer(full, USED)
    other.backend_tokenizer.normalizer = normalizers.StripAccents()
    with pytest.raises(UserError, match="use different tokenizers"):
        teacher_ids(other, full)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_teacher_reads_the_students_ids(family):
    teacher = lively(CONFIGS[family])
    ids = torch.cat((torch.arange(3), torch.arange(10, 60, 2)))
    batch = text_batch(vocab_size=len(ids))
    own = text_batch(vocab_size=len(ids))
    own.inputs["input_ids"] = ids[batch.inputs["input_ids"]]
    expected = logits_of(teacher, own)
    names = set(teacher.state_dict())
    for _ in range(2):  # tasks that share a teacher each tell it
        read_student_ids(teacher, ids)
    assert torch.equal(logits_of(teacher, batch), expected)
    assert set(teacher.state_dict()) == names
    with pytest.raises(ValueError, match="another student"):
        read_student_ids(teacher, ids + 1)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_student_with_fewer_pieces_answers_as_before(family, tokenizers):
    model = lively(CONFIGS[family])
    full = tokenizers["byte-level"]
    trimmed = trim_tokenizer(full, USED)
    ids = torch.cat((torch.arange(3), torch.arange(10, 60, 2)))
    batch = text_batch(vocab_size=len(ids))
    own = text_batch(vocab_size=len(ids))
    own.inputs["input_ids"] = ids[batch.inputs["input_ids"]]
    expected = logits_of(model, own)
    select_pieces(model, trimmed, ids)
    assert torch.equal(logits_of(model, batch), expected)
    assert model.get_input_embeddings().num_embeddings == len(ids)
    assert model.config.pad_token_id == 1
    assert model.config.vocab_size == len(trimmed)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "distilbert"])
def test_language_models_lose_rows_of_their_output_too_and_stay_tied(family, tmp_path, tokenizers):
    trimmed = trim_tokenizer(tokenizers["byte-level"], USED)
    config = type(CONFIGS[family]).from_dict({**CONFIGS[family].to_dict(), "vocab_size": len(trimmed) + 9})
    model = AutoModelForMaskedLM.from_config(config).eval()
    ids = torch.cat((torch.arange(5), torch.arange(14, len(trimmed) + 9)))
    batch = text_batch(vocab_size=len(trimmed))
    own = ids[batch.inputs["input_ids"]]
    mask = batch.attention_mask
    with torch.no_grad():
        expected = model(input_ids=own, attention_mask=mask).logits[..., ids]
        select_pieces(model, trimmed, ids)
        torch.testing.assert_close(model(**batch.inputs).logits, expected)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    trimmed.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch.inputs).logits, expected)
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == loaded.config.vocab_size
