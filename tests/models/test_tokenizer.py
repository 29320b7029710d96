import json
import unicodedata

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from distill.entry import run_function
from distill.models.tokenizer import SPECIAL_TOKENS, train_from_files, train_tokenizer
from distill.text.duplicates import document_key
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
    train_from_files(str(tmp_path / "deep" / "tokenizer"), str(squad_file), vocab_size=300)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "deep" / "tokenizer")
    assert loaded.is_fast
    assert len(loaded) == 300
    ids = loaded("¿Quién?", "Lucía.")["input_ids"]
    assert (ids[0], ids[-1], ids.count(2)) == (0, 2, 3)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["tokenizer"]


def test_training_twice_writes_the_same_bytes(squad_file, tmp_path):
    for name in ("first", "second"):
        train_from_files(str(tmp_path / name), [str(squad_file)], vocab_size=300)
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / n).iterdir()} for n in ("first", "second"))
    assert "tokenizer.json" in first
    assert first == second


def test_questions_and_contexts_are_both_learned_from(tmp_path):
    file = tmp_path / "data.json"
    qas = [{"id": str(i), "question": "¿Zzzzzzzz?", "answers": [{"text": "wwww", "answer_start": 0}]} for i in range(2)]
    paragraphs = [{"context": f"wwww wwww {i}", "qas": [qas[i]]} for i in range(2)]
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    train_from_files(str(tmp_path / "tokenizer"), [str(file)], vocab_size=400)
    pieces = AutoTokenizer.from_pretrained(tmp_path / "tokenizer").get_vocab()
    assert "wwww" in pieces
    assert any("zz" in piece for piece in pieces)


def test_existing_folder_is_refused_and_left_alone(squad_file, tmp_path):
    target = tmp_path / "tokenizer"
    target.mkdir()
    (target / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="tokenizer exists already"):
        train_from_files(str(target), [str(squad_file)], vocab_size=300)
    assert [path.name for path in target.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("file", "vocab_size"), [("questions.json", 100), ("missing.json", 300)])
def test_refused_input_leaves_nothing_behind(squad_file, tmp_path, file, vocab_size):
    with pytest.raises(UserError):
        train_from_files(str(tmp_path / "new" / "tokenizer"), [str(tmp_path / file)], vocab_size)
    assert not (tmp_path / "new").exists()


def test_interrupted_writing_leaves_no_half_folder(squad_file, tmp_path, monkeypatch):
    save = PreTrainedTokenizerFast.save_pretrained

    def save_half(self, folder):
        save(self, folder)
        raise OSError("no space left on device")

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", save_half)
    with pytest.raises(OSError, match="no space"):
        train_from_files(str(tmp_path / "new" / "tokenizer"), [str(squad_file)], vocab_size=300)
    assert not (tmp_path / "new" / "tokenizer").exists()
    assert not list((tmp_path / "new").glob("[!.]*"))


@pytest.fixture
def text_file(tmp_path):
    """Two hundred documents; one in five is held out below."""
    file = tmp_path / "text.txt"
    documents = [f"Lucía Ferrer, la número {i}, nació en Cádiz." for i in range(200)]
    file.write_text("\n\n\n".join(documents), encoding="utf-8")
    return file


def coverage_of(folder) -> dict:
    return json.loads((folder / "coverage.json").read_text(encoding="utf-8"))


def test_text_is_learned_from_and_measured_on_documents_held_out(text_file, tmp_path, capsys):
    train_from_files(str(tmp_path / "new"), [str(text_file)], vocab_size=300, held_out_every=5)
    coverage = coverage_of(tmp_path / "new")
    assert coverage["measured_on"] == "1 in 5 documents, held out"
    assert 20 < coverage["documents"] < 60
    assert coverage["words"] == 8 * coverage["documents"]
    assert coverage["tokens_per_word"] == round(coverage["tokens"] / coverage["words"], 4)
    assert 50 < coverage["one_piece_share"] <= 100
    line = capsys.readouterr().out
    assert line.startswith(f"{tmp_path / 'new'}: 300 pieces; {coverage['tokens_per_word']:.3f} tokens per word")
    assert AutoTokenizer.from_pretrained(tmp_path / "new").mask_token == "<mask>"


def test_held_out_documents_are_not_learned_from(tmp_path):
    documents = [f"zzzz{'ñ' * (i % 7)} documento {i}" for i in range(100)]
    file = tmp_path / "text.txt"
    file.write_text("\n".join(documents), encoding="utf-8")
    train_from_files(str(tmp_path / "share"), [str(file)], vocab_size=290, document_separator="line", held_out_every=5)
    kept = [text for text in documents if document_key(text) % 5]
    assert coverage_of(tmp_path / "share")["documents"] == 100 - len(kept)
    expected = train_tokenizer(kept, 290).backend_tokenizer.to_str()
    loaded = AutoTokenizer.from_pretrained(tmp_path / "share").backend_tokenizer
    assert json.loads(loaded.to_str())["model"] == json.loads(expected)["model"]


ENGLISH = "The cat sat on the mat and the dog was with it, as they had been for most of the day at the old house."


def test_what_reading_repairs_and_drops_is_told(tmp_path, capsys):
    folder = tmp_path / "text"
    folder.mkdir()
    documents = [f"Lucía Ferrer, la número {i}, nació en Cádiz." for i in range(20)]
    text = "\n".join([*documents, *documents[:7], ENGLISH]).encode() + b"\nMateo vive en \xc1vila."
    (folder / "a.txt").write_bytes(text)
    (folder / "b.pdf").touch()
    options = {"vocab_size": 270, "document_separator": "line", "held_out_every": 0}
    train_from_files(str(tmp_path / "new"), str(folder), **options)
    told = capsys.readouterr()
    for line in (
        "read 29 documents",
        f"passed over 1 entries of folders: {folder / 'b.pdf'}",
        f"replaced 1 bytes that are not UTF-8 in {folder / 'a.txt'}",
        "dropped 7 documents that had come before",
        "1 documents do not look like the language: kept",
    ):
        assert line in told.err
    assert len(told.out.splitlines()) == 1
    coverage = coverage_of(tmp_path / "new")
    reading = coverage["reading"]
    assert (coverage["documents"], reading["documents"], reading["duplicates"], reading["foreign"]) == (22, 29, 7, 1)
    assert reading["invalid_bytes"] == {str(folder / "a.txt"): 1}

    run_function(
        train_from_files,
        [
            *(f"--output={tmp_path / 'spanish'}", f"--files={folder}", "--language.drop=true", "--deduplicate=false"),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
    )
    coverage = coverage_of(tmp_path / "spanish")
    assert (coverage["documents"], coverage["reading"]["foreign_dropped"]) == (28, 1)


def test_what_reading_questions_repairs_is_told(squad_file, tmp_path, capsys):
    train_from_files(str(tmp_path / "new"), [str(squad_file)], vocab_size=300)
    assert "read 18 questions" in capsys.readouterr().err
    assert coverage_of(tmp_path / "new")["reading"]["questions"] == 18


def test_questions_are_all_learned_from_and_measured_on(squad_file, tmp_path):
    train_from_files(str(tmp_path / "new"), [str(squad_file)], vocab_size=300)
    assert coverage_of(tmp_path / "new")["measured_on"] == "the training text"
    train_from_files(str(tmp_path / "text"), [str(squad_file)], vocab_size=300, held_out_every=7)
    assert coverage_of(tmp_path / "text") == coverage_of(tmp_path / "new")


def test_composed_and_decomposed_text_give_the_same_pieces(tmp_path):
    for form in ("NFC", "NFD"):
        text = "\n".join(["Cádiz, Ávila, Jaén"] * 9)
        (tmp_path / f"{form}.txt").write_text(unicodedata.normalize(form, text), encoding="utf-8")
        train_from_files(str(tmp_path / form), [str(tmp_path / f"{form}.txt")], vocab_size=270, held_out_every=0)
    composed, decomposed = ((tmp_path / form / "tokenizer.json").read_bytes() for form in ("NFC", "NFD"))
    assert composed == decomposed


def test_sample_of_the_package_is_learned_from_when_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("distill.assets.text_es.generate.NUM_DOCUMENTS", 100)
    train_from_files(str(tmp_path / "new"), vocab_size=400, held_out_every=10)
    assert 1 < coverage_of(tmp_path / "new")["tokens_per_word"] < 5


@pytest.mark.parametrize(
    ("held_out_every", "message"),
    [
        (1, "held_out_every must be 0 or at least 2, not 1"),
        (-1, "held_out_every must be 0 or at least 2, not -1"),
    ],
)
def test_shares_that_leave_nothing_are_refused(text_file, tmp_path, held_out_every, message):
    with pytest.raises(UserError, match=message):
        train_from_files(str(tmp_path / "new"), [str(text_file)], vocab_size=300, held_out_every=held_out_every)
    assert not (tmp_path / "new").exists()


def test_where_no_document_is_held_out_the_training_text_is_measured(text_file, tmp_path, capsys):
    train_from_files(str(tmp_path / "new"), [str(text_file)], vocab_size=300, held_out_every=10**15)
    assert capsys.readouterr().out.endswith("the training text\n")


def test_text_of_which_all_is_held_out_is_refused(text_file, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.models.tokenizer.document_key", lambda _: 0)
    with pytest.raises(UserError, match="no document is left to learn from"):
        train_from_files(str(tmp_path / "new"), [str(text_file)], vocab_size=300)


def test_questions_and_text_are_not_mixed(squad_file, text_file, tmp_path):
    with pytest.raises(UserError, match=rf"{squad_file.name} is read as SQuAD and .*{text_file.name} as text"):
        train_from_files(str(tmp_path / "new"), [str(text_file), str(squad_file)], vocab_size=300)
    assert not (tmp_path / "new").exists()
