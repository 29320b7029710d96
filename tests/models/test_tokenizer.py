import json

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from distill.models.tokenizer import SPECIAL_TOKENS, train_from_files, train_tokenizer
from distill.types import UserError

TEXTS = ["Lucía Ferrer nació en Cádiz.", "¿Dónde nació Lucía Ferrer?", "Íñigo Peña nació en Ávila.", "¿Y Mateo?"]


def test_same_texts_give_the_same_tokenizer():
    first, second = (train_tokenizer(iter(TEXTS), vocab_size=300).backend_tokenizer.to_str() for _ in range(2))
    assert first == second
    assert train_tokenizer(["otra cosa, otra"], vocab_size=300).backend_tokenizer.to_str() != first


def test_special_tokens_have_robertas_ids():
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    names = ("bos", "cls", "eos", "sep", "pad", "unk", "mask")
    tokens = [getattr(tokenizer, f"{name}_token") for name in names]
    assert tokens == ["<s>", "<s>", "</s>", "</s>", "<pad>", "<unk>", "<mask>"]


def test_pair_is_laid_out_as_roberta_does():
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    question, context = "¿Dónde nació?", "Lucía nació en Cádiz."
    pieces = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (question, context)]
    assert tokenizer(question, context)["input_ids"] == [0, *pieces[0], 2, 2, *pieces[1], 2]
    assert tokenizer.decode(tokenizer(question, context)["input_ids"]) == f"<s>{question}</s></s>{context}</s>"
    assert set(tokenizer(question, context)) == {"input_ids", "attention_mask"}


def test_offsets_point_at_the_characters_of_the_context():
    context = "Lucía nació en Cádiz."
    encoding = train_tokenizer(TEXTS, vocab_size=300)("¿Dónde?", context, return_offsets_mapping=True)
    of_context = [
        span
        for span, part in zip(encoding["offset_mapping"], encoding.sequence_ids(), strict=True)
        if part == 1
    ]  # fmt: skip
    covered = {index for start, end in of_context for index in range(start, end)}
    assert {index for index, character in enumerate(context) if character != " "} <= covered
    assert max(covered) == len(context) - 1


def test_unseen_characters_are_cut_into_bytes_and_never_lost():
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    ids = tokenizer("Škoda 漢字 🙂", add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == "Škoda 漢字 🙂"


def test_vocabulary_is_at_most_the_size_asked_for_and_holds_learned_pieces():
    tokenizer = train_tokenizer(TEXTS, vocab_size=280, max_length=77)
    assert len(tokenizer) == 280
    assert "nac" in "".join(tokenizer.convert_ids_to_tokens(range(261, 280)))
    assert tokenizer.model_max_length == 77


@pytest.mark.parametrize("vocab_size", [0, 261])
def test_vocabulary_without_room_beside_the_bytes_is_refused(vocab_size):
    with pytest.raises(UserError, match=rf"vocab_size {vocab_size} must be more than the 261"):
        train_tokenizer(TEXTS, vocab_size)
    assert len(train_tokenizer(TEXTS, 262)) == 262


def test_folder_loads_as_the_tokenizer_that_was_trained(squad_file, tmp_path):
    train_from_files([str(squad_file)], str(tmp_path / "deep" / "tokenizer"), vocab_size=300)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "deep" / "tokenizer")
    assert loaded.is_fast
    assert len(loaded) == 300
    ids = loaded("¿Quién?", "Lucía.")["input_ids"]
    assert (ids[0], ids[-1], ids.count(2)) == (0, 2, 3)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["tokenizer"]


def test_training_twice_writes_the_same_bytes(squad_file, tmp_path):
    for name in ("first", "second"):
        train_from_files([str(squad_file)], str(tmp_path / name), vocab_size=300)
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / n).iterdir()} for n in ("first", "second"))
    assert "tokenizer.json" in first
    assert first == second


def test_questions_and_contexts_are_both_learned_from(tmp_path):
    file = tmp_path / "data.json"
    qas = [{"id": str(i), "question": "¿Zzzzzzzz?", "answers": [{"text": "wwww", "answer_start": 0}]} for i in range(2)]
    paragraphs = [{"context": f"wwww wwww {i}", "qas": [qas[i]]} for i in range(2)]
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    train_from_files([str(file)], str(tmp_path / "tokenizer"), vocab_size=400)
    pieces = AutoTokenizer.from_pretrained(tmp_path / "tokenizer").get_vocab()
    assert "wwww" in pieces
    assert any("zz" in piece for piece in pieces)


def test_existing_folder_is_refused_and_left_alone(squad_file, tmp_path):
    target = tmp_path / "tokenizer"
    target.mkdir()
    (target / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="tokenizer exists already"):
        train_from_files([str(squad_file)], str(target), vocab_size=300)
    assert [path.name for path in target.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("file", "vocab_size"), [("questions.json", 100), ("missing.json", 300)])
def test_refused_input_leaves_nothing_behind(squad_file, tmp_path, file, vocab_size):
    with pytest.raises(UserError):
        train_from_files([str(tmp_path / file)], str(tmp_path / "new" / "tokenizer"), vocab_size)
    assert not (tmp_path / "new").exists()


def test_interrupted_writing_leaves_no_half_folder(squad_file, tmp_path, monkeypatch):
    save = PreTrainedTokenizerFast.save_pretrained

    def save_half(self, folder):
        save(self, folder)
        raise OSError("no space left on device")

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", save_half)
    with pytest.raises(OSError, match="no space"):
        train_from_files([str(squad_file)], str(tmp_path / "new" / "tokenizer"), vocab_size=300)
    assert not (tmp_path / "new" / "tokenizer").exists()
    assert not list((tmp_path / "new").glob("[!.]*"))
