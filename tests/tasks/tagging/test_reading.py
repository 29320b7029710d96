"""Tagged sentences from files and hub sets, and what is said about wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.tasks.tagging import SentenceReader, TaggedSentence, TokenClassification
from distill.types import UserError

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
COLUMNS = "Lucía NC B-PER\nvive VMI O\n. Fp O\n\n\nCádiz NC B-LOC\n"
CONLLU = (
    "# sent_id = 1\n# text = Va al mar\n"
    "1\tVa\tir\tVERB\tv\t_\t0\troot\t_\t_\n2-3\tal\t_\t_\t_\t_\t_\t_\t_\t_\n2\ta\ta\tADP\ts\t_\t4\tcase\t_\t_\n"
    "3\tel\tel\tDET\td\t_\t4\tdet\t_\t_\n3.1\tx\tx\tNOUN\tn\t_\t_\t_\t_\t_\n4\tmar\tmar\tNOUN\tn\t_\t1\tobl\t_\t_\n\n"
)
UPOS = ("VERB", "ADP", "DET", "NOUN")


def write(tmp_path, name: str, content: str | bytes):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refused(tmp_path, name, content, labels=LABELS, **settings) -> str:
    file = write(tmp_path, name, content)
    with pytest.raises(UserError) as caught:
        SentenceReader(labels, **settings).read([file])
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value).removeprefix(f"{file}: ")


def test_columns(tmp_path):
    reader = SentenceReader(LABELS)
    file = write(tmp_path, "esp.train", "-DOCSTART- -X- O\n\n" + COLUMNS)
    assert reader.read([file]) == [
        TaggedSentence("esp.train:3", ("Lucía", "vive", "."), ("B-PER", "O", "O")),
        TaggedSentence("esp.train:8", ("Cádiz",), ("B-LOC",)),
    ]
    assert reader.counts == {"files": 1, "sentences": 2, "words": 4, "document_marks": 1}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ends_of_lines_tabs_and_a_byte_order_mark_make_no_difference(tmp_path, end):
    content = b"\xef\xbb\xbf" + COLUMNS.replace(" ", "\t").replace("\n", end).rstrip().encode()
    sentences = SentenceReader(LABELS).read([write(tmp_path, "a.conll", content)])
    assert [sentence.words for sentence in sentences] == [("Lucía", "vive", "."), ("Cádiz",)]


@pytest.mark.parametrize("separator", [" ", "\t", " \t  "])
def test_columns_are_parted_by_spaces_and_tabs_alone(tmp_path, separator):
    words = ("10\xa0000", "a\x85b", "c\u2028d", "e\x0cf")
    content = "".join(f"{word}{separator}O\n" for word in words)
    (sentence,) = SentenceReader(LABELS).read([write(tmp_path, "a.conll", content + " \t\n")])
    assert sentence.words == words


def test_another_column(tmp_path):
    (first, _) = SentenceReader(("NC", "VMI", "Fp"), label_column=1).read([write(tmp_path, "a.txt", COLUMNS)])
    assert first.labels == ("NC", "VMI", "Fp")


def test_conllu_words_are_the_parts_of_contractions(tmp_path):
    reader = SentenceReader(UPOS)
    (sentence,) = reader.read([write(tmp_path, "a.conllu", CONLLU)])
    assert sentence == TaggedSentence("a.conllu:3", ("Va", "a", "el", "mar"), ("VERB", "ADP", "DET", "NOUN"))
    assert reader.counts["contractions_and_empty_nodes"] == 2
    (sentence,) = SentenceReader("vsdn", label_column="XPOS").read([tmp_path / "a.conllu"])
    assert sentence.labels == ("v", "s", "d", "n")


def test_json_lines(tmp_path):
    row = {"tokens": ["Lucía", "ríe"], "ner_tags": ["B-PER", "O"], "otro": ["x", "y"]}
    file = write(tmp_path, "a.jsonl", json.dumps(row) + "\n\n")
    (sentence,) = SentenceReader(LABELS).read([file])
    assert sentence == TaggedSentence("a.jsonl:1", ("Lucía", "ríe"), ("B-PER", "O"))
    (sentence,) = SentenceReader("xy", label_column="otro").read([file])
    assert sentence.labels == ("x", "y")


def test_folders_and_files_of_one_name(tmp_path):
    for name in ("uno", "dos"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "a.conll", COLUMNS)
    sentences = SentenceReader(LABELS).read([tmp_path / "uno", tmp_path / "dos" / "a.conll"])
    assert len({sentence.sentence_id for sentence in sentences}) == 4


def test_labels_are_not_needed_to_predict(tmp_path):
    reader = SentenceReader(LABELS, require_labels=False)
    files = [
        write(tmp_path, "a.conll", "Lucía\nríe\n"),
        write(tmp_path, "b.jsonl", '{"words": ["Hola"]}'),
        write(tmp_path, "c.conllu", CONLLU.replace("VERB", "?")),
    ]
    assert {sentence.labels for sentence in reader.read(files)} == {None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.conll", "Lucía B-PER\nde la O\n", "line 2: 3 columns where the lines before have 2"),
        ("a.conll", "Lucía B-PER\n\nvive\n", "line 3: 1 columns where the lines before have 2"),
        ("a.conll", "Lucía\n", "line 1: 1 columns, of which number -1 cannot be the label"),
        ("a.conll", "Lucía B-PER\nhoy B-TIME\n", "line 2: unknown label 'B-TIME'; the task's labels are O, B-PER"),
        ("a.conll", "\n\n", "no sentences"),
        ("a.conll", "Luc\nía O\n".encode("latin-1"), "line 2: not UTF-8"),
        ("a.conll", COLUMNS.replace("\n", "\r"), "line 1: a carriage return (\\r) without a line feed"),
        ("a.conllu", CONLLU.replace("\n3\t", "\r3\t"), "line 5: a carriage return (\\r) without a line feed"),
        ("a.conll", "a O\n\xa0\nb O\n", "line 2: 1 columns where the lines before have 2"),
        ("a.conll", "a b\tO\nc\tO\n", "line 2: 2 columns where the lines before have 3"),
        ("a.conllu", CONLLU[:-1] + CONLLU, "line 11: word number '1' where 5 is next: an empty line parts"),
        ("a.conllu", CONLLU.replace("\n4\t", "\n5\t"), "line 8: word number '5' where 4 is next"),
        ("a.conllu", CONLLU.replace("\n2\t", "\n1\t"), "line 5: word number '1' where 2 is next"),
        ("a.jsonl", '{"tokens": ["a"], "labels": ["O"]}\n{"tokens": [], "labels": []}', "line 2: empty sentence"),
        ("a.jsonl", '{"tokens": ["a", "b"], "labels": ["O"]}', "line 1: 2 words but 1 labels"),
        ("a.jsonl", '{"tokens": ["a", " "], "labels": ["O", "O"]}', "line 1: empty word"),
        ("a.jsonl", r'{"tokens": ["a", "\ud800"], "labels": ["O", "O"]}', r"line 1: the word '\ud800' holds half of a"),
        ("a.jsonl", '{"tokens": ["a"], "labels": [3]}', "line 1: the labels must be a list of texts"),
        ("a.jsonl", '{"tokens": "a", "labels": ["O"]}', "line 1: the words must be a list of texts"),
        ("a.jsonl", '{"tokens": ["a"]}', "line 1: no 'labels' or 'tags' or"),
        ("a.jsonl", '{"tokens": ["a"]', "line 1: malformed JSON"),
        ("a.jsonl", "[1]", "line 1: expected a JSON object"),
        ("a.conllu", CONLLU.replace("VERB", "PUNCT"), "line 3: unknown label 'PUNCT'"),
        ("a.conllu", CONLLU.replace("VERB\t", ""), "line 3: 9 columns parted by tabs, CoNLL-U has 10"),
        ("a.conllu", CONLLU + "# sent_id = 2\n\n", "line 11: empty sentence: comments without words"),
        ("a.conllu", CONLLU.replace("1\tVa", "uno\tVa"), "line 3: 'uno' is no word's number"),
    ],
)
def test_bad_files_are_refused_by_file_and_line(tmp_path, name, content, message):
    labels = UPOS if name.endswith("u") else LABELS
    assert refused(tmp_path, name, content, labels).startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        ("a.conll", COLUMNS, 0, "line 1: 3 columns, of which number 0 cannot be the label"),
        ("a.conll", COLUMNS, 3, "line 1: 3 columns, of which number 3 cannot be the label"),
        ("a.conll", COLUMNS, "UPOS", "line 1: label_column 'UPOS' must be a number"),
        ("a.conllu", CONLLU, "pos", "label_column 'pos' is no column of CoNLL-U"),
    ],
)
def test_wrong_columns_are_refused(tmp_path, name, content, column, message):
    assert refused(tmp_path, name, content, label_column=column).startswith(message)


def test_absent_files_and_empty_folders_are_refused(tmp_path):
    for files, message in (([], "no files"), ([tmp_path / "x"], "no such file"), ([tmp_path], "holds no file")):
        with pytest.raises(UserError, match=message):
            SentenceReader(LABELS).read(files)


@pytest.fixture
def hub_folder(tmp_path):
    """A folder that ``datasets`` loads, with classes as numbers."""
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=list(LABELS))),
            "tokens_bad": datasets.List(datasets.Value("string")),
        }
    )
    rows = {"tokens": [["Lucía", "ríe"]], "ner_tags": [[1, 0]], "tokens_bad": [["x"]]}
    folder = tmp_path / "set"
    folder.mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "train.parquet")
    return folder


def test_hub_set_with_numbered_classes(hub_folder):
    sentences, counts = TokenClassification(LABELS).read_hub(str(hub_folder), None, "train")
    assert sentences == [TaggedSentence("train:0", ("Lucía", "ríe"), ("B-PER", "O"))]
    assert counts["words"] == 2


def unlabelled(folder: Path, tags: list) -> str:
    """Return a folder that ``datasets`` loads: two words a row, with classes as numbers."""
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=list(LABELS))),
        }
    )
    table = pa.table(
        {"tokens": [["Lucía", "ríe"]] * len(tags), "ner_tags": pa.array(tags, pa.list_(pa.int64()))},
        schema=features.arrow_schema,
    )
    folder.mkdir()
    pq.write_table(table, folder / "test.parquet")
    return str(folder)


def test_hub_sentences_with_words_of_no_known_class_are_dropped_and_counted(tmp_path):
    folder = unlabelled(tmp_path / "set", [[1, 0], [-1, -1], [0, -1], [None, 0], [0, 0]])
    sentences, counts = TokenClassification(LABELS).read_hub(folder, None, "test")
    assert [(sentence.sentence_id, sentence.labels) for sentence in sentences] == [
        ("test:0", ("B-PER", "O")),
        ("test:4", ("O", "O")),
    ]
    assert counts == {"files": 1, "sentences": 2, "words": 4, "dropped_without_label": 3}


def test_hub_set_without_any_known_class_is_refused(tmp_path):
    folder = unlabelled(tmp_path / "set", [[-1, -1]])
    with pytest.raises(UserError, match=r"\[test\]: no row has labels, all 1 are marked as unknown.*hub_splits"):
        TokenClassification(LABELS).read_hub(folder, None, "test")
    folder = unlabelled(tmp_path / "other", [[0, 9]])
    with pytest.raises(UserError, match=r"row 0: class 9, but the set names 5 \(-1 would be none\)"):
        TokenClassification(LABELS).read_hub(folder, None, "test")


def test_hub_set_with_other_labels_or_columns_is_refused(hub_folder):
    with pytest.raises(UserError, match=r"row 0: unknown label 'B-PER'"):
        TokenClassification(["O", "X"]).read_hub(str(hub_folder), None, "train")
    with pytest.raises(UserError, match=r"no 'upos'; it has 'tokens', 'ner_tags'"):
        TokenClassification(LABELS, "upos").read_hub(str(hub_folder), None, "train")
    with pytest.raises(UserError, match="cannot be loaded"):
        TokenClassification(LABELS).read_hub(str(hub_folder / "none"), None, "train")
