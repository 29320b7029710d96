"""Candidates of a masked-language model, against its own scores."""

import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from distill.augmentation.masked_words import MaskedWords
from distill.types import UserError

TEXT = "Ana Rúa nació en Jaén en 1901. En cambio, Mateo Güell nació en Lérida y murió en Cádiz."


@pytest.fixture(scope="module")
def masked_words(backbone_folder):
    return MaskedWords.from_pretrained(str(backbone_folder), device="cpu")


def test_words_are_whole_pieces_behind_a_space(masked_words):
    ids, words = masked_words.read(TEXT)
    assert ids == masked_words.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    for word in words:
        assert masked_words.tokenizer.decode(ids[slice(*word.tokens)]).strip() == TEXT[slice(*word.span)]
    found = [TEXT[slice(*word.span)] for word in words]
    assert {"nació", "en", "Lérida"} <= set(found)
    # The first one has no space in front, and numbers are no words.
    assert not {"Ana", "1901"} & set(found)


def test_candidates_are_the_likeliest_other_words(masked_words, backbone_folder):
    tokenizer = masked_words.tokenizer
    ids, words = masked_words.read(TEXT)
    hidden = [words[1], words[-2]]
    [found] = masked_words.candidates(ids, [hidden], num_candidates=3)

    text = TEXT
    for word in reversed(hidden):
        text = f"{text[: word.span[0] - 1]}{tokenizer.mask_token}{text[word.span[1] :]}"
    inputs = tokenizer(text, return_tensors="pt")
    model = AutoModelForMaskedLM.from_pretrained(backbone_folder).eval()
    with torch.no_grad():
        scores = model(**inputs).logits[0][inputs["input_ids"][0] == tokenizer.mask_token_id]
    for row, word, candidates in zip(scores, hidden, found, strict=True):
        original = TEXT[slice(*word.span)]
        ranked = [tokenizer.convert_ids_to_tokens(int(piece)) for piece in row.argsort(descending=True)]
        spelled = [(piece[:1], tokenizer.convert_tokens_to_string([piece]).strip()) for piece in ranked]
        expected = [text for mark, text in spelled if mark == "Ġ" and text.isalpha() and text != original]
        assert candidates == expected[:3]


def test_batches_and_groups_change_nothing(backbone_folder, masked_words):
    ids, words = masked_words.read(TEXT)
    groups = [words[:1], words[1:3], [], words[3:]]
    together = masked_words.candidates(ids, groups, 4)
    one_by_one = MaskedWords(masked_words.model, masked_words.tokenizer, batch_size=1).candidates(ids, groups, 4)
    assert together == one_by_one
    assert [len(group) for group in together] == [len(group) for group in groups]
    assert together[1] == masked_words.candidates(ids, [words[1:3]], 4)[0]


def test_long_texts_are_read_in_chunks(masked_words):
    text = " ".join([TEXT] * 8)
    ids, words = masked_words.read(text)
    assert len(ids) > 2 * masked_words.chunk_length
    found = masked_words.candidates(ids, [words[::5]], 2)[0]
    assert all(len(candidates) == 2 for candidates in found)
    chunk = masked_words.chunk_length
    assert all(start // chunk == (end - 1) // chunk for _, (start, end) in words)


def test_text_that_reads_like_a_mask_is_not_counted_as_one(masked_words):
    ids, words = masked_words.read("Ana nació <mask> en Jaén y murió en Cádiz")
    assert len(masked_words.candidates(ids, [words[-1:]], 2)[0]) == 1


def test_word_pieces_work_too(tokenizer):
    wordpiece = train_word_pieces()
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=len(wordpiece), max_position_embeddings=64, **sizes)).eval()
    words = MaskedWords(model, wordpiece)
    ids, found = words.read("ana vive en jaén")
    [[candidates]] = words.candidates(ids, [found[-1:]], 3)
    assert len(candidates) == 3
    assert all(candidate.isalpha() and candidate != "jaén" for candidate in candidates)


def train_word_pieces():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ana", "vive", "en", "jaén", "cádiz", "##s", "."]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", model_max_length=64, **special)


def test_padded_vocabularies_name_no_piece_that_the_tokenizer_lacks(backbone_folder, tokenizer, tmp_path):
    model = AutoModelForMaskedLM.from_pretrained(backbone_folder)
    words = MaskedWords(model, tokenizer)
    ids, found = words.read(TEXT)
    expected = words.candidates(ids, [found], 3)
    model.resize_token_embeddings(len(tokenizer) + 20)
    with torch.no_grad():
        model.lm_head.bias[len(tokenizer) :] = 100.0  # likelier than any piece, were they any
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert MaskedWords.from_pretrained(str(tmp_path)).candidates(ids, [found], 3) == expected


def test_a_tokenizer_of_more_pieces_than_the_model_has_is_refused(backbone_folder, tokenizer, tmp_path):
    model = AutoModelForMaskedLM.from_pretrained(backbone_folder)
    model.resize_token_embeddings(len(tokenizer) - 10)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=rf"300 pieces and the model {tmp_path} embeddings for 290"):
        MaskedWords.from_pretrained(str(tmp_path))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_names_the_same_candidates(backbone_folder, masked_words):
    ids, words = masked_words.read(TEXT)
    on_gpu = MaskedWords.from_pretrained(str(backbone_folder), device="cuda")
    assert on_gpu.model.device.type == "cuda"
    assert on_gpu.candidates(ids, [words], 3) == masked_words.candidates(ids, [words], 3)


def test_a_question_answering_model_is_refused(teacher_folder):
    with pytest.raises(UserError, match="masked_language head"):
        MaskedWords.from_pretrained(str(teacher_folder))
