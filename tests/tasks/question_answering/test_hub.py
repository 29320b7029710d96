import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import datasets
import pytest

from distill.tasks.question_answering import hub
from distill.tasks.question_answering.hub import PARQUET_REVISION, read_hub
from distill.types import Answer, UserError

CONTEXT = "El río Ebro nace en Fontibre."


def row(row_id="q1", texts=("Fontibre",), starts=(20,), **more):
    answers = {"text": list(texts), "answer_start": list(starts)}
    return {"id": row_id, "title": "Ríos", "context": CONTEXT, "question": "¿Dónde?", "answers": answers, **more}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    datasets.disable_progress_bars()


@pytest.fixture
def folder(tmp_path):
    def write(*rows, config="."):
        place = tmp_path / "set" / config
        place.mkdir(parents=True)
        datasets.Dataset.from_list(list(rows)).to_parquet(place / "train.parquet")
        return str(tmp_path / "set")

    return write


@pytest.fixture
def server(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Say nothing."""

    root = tmp_path / "web"
    root.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield root, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def test_parquet_folder(folder):
    name = folder(row(tags=["new"]), row("q2", (), (), tags=[]))
    examples, report = read_hub(name)
    assert [(example.question_id, example.answers, example.tags) for example in examples] == [
        ("q1", (Answer("Fontibre", 20),), ("new",)),
        ("q2", (), ()),
    ]
    assert (report.files, report.articles, report.paragraphs, report.questions, report.impossible) == (1, 1, 1, 2, 1)


def test_configurations_of_the_parquet_branch_are_folders(folder):
    examples, _ = read_hub(folder(row(), config="v9"), config="v9", revision=PARQUET_REVISION)
    assert len(examples) == 1


def test_rows_go_through_the_same_validation(folder):
    name = folder(row("q1", ["Fontibre", ""], [20, -1]), row("q2", [""], [-1]))
    examples, report = read_hub(name)
    assert len(examples) == 1
    assert (report.empty_answers_dropped, report.questions_dropped) == (2, 1)
    with pytest.raises(UserError, match=r"\[train\]: article 'Ríos': question 'q1': an answer is empty"):
        read_hub(name, strict=True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row()], "the id is used twice"),
        ([row() | {"context": " "}], "'context' is empty"),
        ([row() | {"id": 7}], "row 0: 'id' must be text"),
        ([row() | {"context": None}], "'context' must be text, got null"),
        ([row("q1", ["Fontibre"], [])], "1 texts but 0 starts"),
        ([row("q1", ["Tajo"], [0])], "is this SQuAD form"),
        ([row() | {"answers": "Fontibre"}], "'answers' must be an object"),
    ],
)
def test_bad_rows(folder, rows, message):
    with pytest.raises(UserError, match=message):
        read_hub(folder(*rows))


def test_missing_columns(folder):
    with pytest.raises(UserError, match="no column answers, context"):
        read_hub(folder({"id": "q1", "question": "¿Dónde?"}))


def test_unreachable_hub_says_what_to_do():
    with pytest.raises(UserError, match=r"no hub reachable.*train_files") as error:
        read_hub("someone/no-such-set")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "split", "file"),
    [
        (None, "train", "SQuAD-es-v1.1/train-v1.1-es.json"),
        ("v2.0.0", "validation", "SQuAD-es-v2.0/dev-v2.0-es.json"),
    ],
)
def test_squad_es_falls_back_to_the_raw_files(server, monkeypatch, config, split, file):
    root, address = server
    asked = []

    def unreachable(name, **selection):
        asked.append((name, selection))
        raise ConnectionError("no hub")

    monkeypatch.setattr(hub.datasets, "load_dataset", unreachable)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    qas = [{"id": "q1", "question": "¿Dónde?", "answers": [{"text": "Fontibre", "answer_start": 20}]}]
    content = {"data": [{"title": "Ríos", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]}
    (root / file).parent.mkdir()
    (root / file).write_text(json.dumps(content), encoding="utf-8")
    examples, report = read_hub("squad_es", config, split, squad_es_address=address)
    assert examples[0].answers == (Answer("Fontibre", 20),)
    assert report.questions == 1
    assert asked == [("squad_es", {"data_dir": config or "v1.1.0", "split": split, "revision": PARQUET_REVISION})]


def test_squad_es_without_any_network():
    with pytest.raises(UserError, match=r"squad_es v2\.0\.0 \[train\]: no hub reachable, nor .*train_files"):
        read_hub("squad_es", "v2.0.0")


def test_squad_es_has_two_configurations():
    with pytest.raises(UserError, match=r"choose one of v1\.1\.0/train"):
        read_hub("squad_es", "v3")
