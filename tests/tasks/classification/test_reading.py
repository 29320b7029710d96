"""Labelled texts from files and hub sets, and what is said about wrong ones."""

from __future__ import annotations

import csv
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.tasks.classification import LabelledText, SequenceClassification, TextColumns, TextReader
from distill.types import UserError

LABELS = ("0", "1")
TSV = 'sentence1\tsentence2\tlabel\nAna "ríe\tRíe Ana\t1\n\nAna ríe\tAna llora\t0\n'
PAIRS = [
    LabelledText("a.tsv:2", 'Ana "ríe', "Ríe Ana", "1"),
    LabelledText("a.tsv:4", "Ana ríe", "Ana llora", "0"),
]


def write(tmp_path, name: str, content: str | bytes):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_tab_separated_pairs_with_a_header(tmp_path):
    reader = TextReader(LABELS, TextColumns())
    assert reader.read([write(tmp_path, "a.tsv", TSV)]) == PAIRS
    assert reader.counts == {"files": 1, "examples": 2}
    content = b"\xef\xbb\xbf" + TSV.replace("\n", "\r\n").encode()
    assert TextReader(LABELS, TextColumns()).read([write(tmp_path, "a.tsv", content)]) == PAIRS


def test_named_columns_stand_in_for_a_header(tmp_path):
    columns = TextColumns(header=("sentence1", "sentence2", "label"))
    (first, _) = TextReader(LABELS, columns).read([write(tmp_path, "a.tsv", TSV.split("\n", 1)[1])])
    assert first == LabelledText("a.tsv:1", 'Ana "ríe', "Ríe Ana", "1")


def test_comma_separated_single_texts_in_quotes(tmp_path):
    content = 'id,texto,clase\n1,"Un día, ""gris""\ny\rlargo",mal\n2,Bien,bien\n'
    reader = TextReader(("mal", "bien"), TextColumns(text="texto", pair=None, label="clase"))
    first, second = reader.read([write(tmp_path, "a.csv", content)])
    assert first == LabelledText("a.csv:2", 'Un día, "gris"\ny\rlargo', None, "mal")
    assert second.text_id == "a.csv:4"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_texts_longer_than_the_librarys_limit_are_read(tmp_path, name):
    limit = csv.field_size_limit()
    text = "a" * 200_000
    assert len(text) > limit
    reader = TextReader(LABELS, TextColumns(pair=None))
    (example,) = reader.read(
        [write(tmp_path, name, "sentence1,label\n{},1\n".replace(",", "\t" if name == "a.tsv" else ",").format(text))]
    )
    assert example.text == text
    assert csv.field_size_limit() == limit


def test_json_lines_with_numbers_as_labels(tmp_path):
    file = write(tmp_path, "a.jsonl", '{"sentence1": "a", "sentence2": "b", "label": 1}\n')
    assert TextReader(LABELS, TextColumns()).read([file]) == [LabelledText("a.jsonl:1", "a", "b", "1")]


def test_labels_are_not_needed_to_predict(tmp_path):
    reader = TextReader(LABELS, TextColumns(pair=None), require_labels=False)
    assert reader.read([write(tmp_path, "a.tsv", "sentence1\nHola\n")]) == [LabelledText("a.tsv:2", "Hola")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", TSV.split("\n", 1)[1], "line 1: no column 'sentence1', 'sentence2', 'label', it has 'Ana \"ríe'"),
        ("a.tsv", "sentence1\tlabel\tsentence2\tlabel\na\t0\tb\t1\n", "line 1: two columns are called 'label'"),
        ("a.csv", "x,sentence1,sentence2,label,x\n1,a,b,1,2\n", "line 1: two columns are called 'x'"),
        ("a.tsv", TSV + "sola\t1\n", "line 5: 2 columns, the header has 3"),
        ("a.tsv", TSV + "a\tb\t1\tc\n", "line 5: 4 columns, the header has 3"),
        ("a.tsv", TSV + "a\tb\t2\n", "line 5: unknown label '2'; the task's labels are 0, 1"),
        ("a.tsv", TSV + "a\tb\t\n", "line 5: unknown label ''"),
        ("a.tsv", TSV.replace("\n", "\r"), "line 1: a carriage return (\\r) without a line feed"),
        ("a.csv", TSV.replace("\t", ",").replace('"', "").replace("\n", "\r"), "line 1: malformed CSV"),
        ("a.tsv", TSV + "a\t \t1\n", "line 5: 'sentence2' is empty"),
        ("a.tsv", "sentence1\tsentence2\tlabel\n", "no examples"),
        ("a.tsv", "", "no examples"),
        ("a.tsv", TSV.encode("latin-1"), "line 2: not UTF-8"),
        ("a.csv", 'sentence1,sentence2,label\n"a"x,b,1\n', "line 2: malformed CSV"),
        ("a.csv", 'sentence1,sentence2,label\na,b,1\n"c,d,1\ne,f,0\n', "line 3: malformed CSV in the row that begins"),
        ("a.csv", 'sentence1,sentence2,label\na,"b,1\nc,"d",0\n', "line 2: malformed CSV in the row that begins"),
        ("a.jsonl", '{"sentence1": "a", "label": 1}', "line 1: no 'sentence2'"),
        ("a.jsonl", '{"sentence1": "a", "sentence2": 3, "label": 1}', "line 1: 'sentence2' must be text, got 3"),
        (
            "a.jsonl",
            r'{"sentence1": "a", "sentence2": "b\udfff", "label": 1}',
            "line 1: 'sentence2' holds half of a surrogate pair",
        ),
        ("a.jsonl", '{"sentence1": "a", "sentence2": "b", "label": true}', "line 1: 'label' must be text or a whole"),
        ("a.jsonl", '{"sentence1": "a", "sentence2": "b"}', "line 1: 'label' must be text or a whole number, got null"),
    ],
)
def test_bad_files_are_refused_by_file_and_line(tmp_path, name, content, message):
    file = write(tmp_path, name, content)
    with pytest.raises(UserError) as caught:
        TextReader(LABELS, TextColumns()).read([file])
    assert str(caught.value).startswith(f"{file}: {message}")


def test_named_columns_of_one_name_are_refused(tmp_path):
    header = ("sentence1", "sentence2", "label", "label")
    with pytest.raises(UserError, match=r"a\.tsv: columns\.header: two columns are called 'label'"):
        TextReader(LABELS, TextColumns(header=header)).read([write(tmp_path, "a.tsv", "a\tb\t0\t1\n")])


def test_hub_set_with_numbered_classes(tmp_path):
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["sí", "no"]),
        }
    )
    rows = {"premise": ["a", "c"], "hypothesis": ["b", "d"], "label": [1, 0]}
    folder = tmp_path / "set"
    folder.mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "train.parquet")
    task = SequenceClassification(["sí", "no"], TextColumns("premise", "hypothesis"))
    examples, counts = task.read_hub(str(folder), None, "train")
    assert examples == [LabelledText("train:0", "a", "b", "no"), LabelledText("train:1", "c", "d", "sí")]
    assert counts["examples"] == 2
    with pytest.raises(UserError, match=r"row 0: unknown label 'no'"):
        SequenceClassification(["sí", "x"], TextColumns("premise", "hypothesis")).read_hub(str(folder), None, "train")
    with pytest.raises(UserError, match=r"no column 'sentence1', 'sentence2'"):
        SequenceClassification().read_hub(str(folder), None, "train")


def unlabelled(folder: Path, classes: list) -> str:
    """Return a folder that ``datasets`` loads, with classes as numbers."""
    names = datasets.ClassLabel(names=list(LABELS))
    features = datasets.Features({"sentence1": datasets.Value("string"), "label": names})
    table = pa.table({"sentence1": ["a"] * len(classes), "label": classes}, schema=features.arrow_schema)
    folder.mkdir()
    pq.write_table(table, folder / "test.parquet")
    return str(folder)


def test_hub_texts_of_no_known_class_are_dropped_and_counted(tmp_path):
    folder = unlabelled(tmp_path / "set", [1, -1, None, 0])
    task = SequenceClassification(LABELS, TextColumns(pair=None))
    examples, counts = task.read_hub(folder, None, "test")
    assert examples == [LabelledText("test:0", "a", None, "1"), LabelledText("test:3", "a", None, "0")]
    assert counts == {"files": 1, "examples": 2, "dropped_without_label": 2}


def test_hub_set_without_any_known_class_is_refused(tmp_path):
    task = SequenceClassification(LABELS, TextColumns(pair=None))
    folder = unlabelled(tmp_path / "set", [-1, -1])
    with pytest.raises(UserError, match=r"\[test\]: no row has labels, all 2 are marked as unknown.*hub_splits"):
        task.read_hub(folder, None, "test")
    folder = unlabelled(tmp_path / "other", [0, 2])
    with pytest.raises(UserError, match=r"row 1: class 2, but the set names 2 \(-1 would be none\)"):
        task.read_hub(folder, None, "test")


def test_paws_x_is_read_whole(real_data):
    columns = TextColumns(header=("sentence1", "sentence2", "label"))
    examples, _ = SequenceClassification(columns=columns).read([real_data / "pairs" / "pawsx_es_dev.tsv"])
    assert len(examples) == 2000
    assert {example.label for example in examples} == {"0", "1"}
