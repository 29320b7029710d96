import json
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from distill.data import averages
from distill.data.datamodule import SquadDataModule
from distill.data.windows import fingerprint
from distill.processor import LENGTH_MULTIPLE
from distill.types import Answer, Example, UserError
from tests.conftest import squad_document


@pytest.fixture
def settings(squad_file, teacher_folder, tmp_path) -> dict:
    return {
        "tokenizer": str(teacher_folder),
        "train_files": [str(squad_file)],
        "validation_files": [str(squad_file)],
        "max_length": 64,
        "doc_stride": 8,
        "max_question_length": 24,
        "batch_size": 4,
        "eval_batch_size": 4,
        "cache_dir": str(tmp_path / "cache"),
    }


def loaded(stage: str, settings: dict) -> SquadDataModule:
    data = SquadDataModule(**settings)
    data.check()
    data.setup(stage)
    return data


def test_training_batches_are_padded_to_their_longest_window_rounded_up(settings):
    batches = list(loaded("fit", settings).train_dataloader())
    assert sum(len(batch.window_ids) for batch in batches) == len(loaded("fit", settings)._windows["train"])
    for batch in batches:
        longest = int(batch.attention_mask.sum(1).max())
        assert batch.inputs["input_ids"].shape[1] == min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, 64)
        assert not batch.windows


def counts(batch) -> dict[str, torch.Tensor]:
    lengths = batch.attention_mask.sum(1)
    return {"windows": torch.tensor(len(lengths)), "tokens": lengths.sum(), "pairs": lengths.square().sum()}


@pytest.mark.parametrize("most", [2048, 6])
def test_batches_by_tokens_keep_to_the_budget_and_know_what_they_hold_on_average(settings, most, monkeypatch):
    monkeypatch.setattr(averages, "SAMPLE_WINDOWS", most)
    batches = list(loaded("fit", {**settings, "max_tokens": 320}).train_dataloader())
    assert all(batch.inputs["input_ids"].numel() <= 320 for batch in batches)
    assert len({len(batch.window_ids) for batch in batches}) > 1
    assert len({id(batch.average) for batch in batches}) == 1
    for name, number in batches[0].average.counts(counts).items():
        mean = sum(float(counts(batch)[name]) for batch in batches) / len(batches)
        assert number == pytest.approx(mean, rel=1e-12 if most == 2048 or name == "windows" else 0.2)
    assert {batch.average for batch in loaded("fit", settings).train_dataloader()} == {None}


def test_training_labels_point_at_the_answer(settings, tokenizer):
    data = loaded("fit", settings)
    examples = data._windows["train"].examples
    indices = data._windows["train"].example_indices
    found = 0
    for batch in data.train_dataloader():
        for row, window_id in enumerate(batch.window_ids.tolist()):
            start, end = (int(batch.labels[name][row]) for name in ("start_positions", "end_positions"))
            if start:
                text = tokenizer.decode(batch.inputs["input_ids"][row, start : end + 1]).strip()
                assert text == examples[indices[window_id]].answers[0].text
                found += 1
    assert found == 12


def test_evaluation_batches_carry_what_decoding_needs(settings):
    data = loaded("validate", settings)
    windows = [window for batch in data.val_dataloader() for window in batch.windows]
    assert {window.example.question_id for window in windows} == {
        qa["id"] for paragraph in squad_document()["data"][0]["paragraphs"] for qa in paragraph["qas"]
    }
    for window in windows:
        start, end = window.context_token
        assert len(window.offsets) == end - start


def test_left_padding_shifts_labels_and_context(settings, teacher_folder, monkeypatch):
    from distill.models import loading

    def left(source):
        tokenizer = original(source)
        tokenizer.padding_side = "left"
        return tokenizer

    right = next(iter(loaded("fit", settings).val_dataloader()))
    original = loading.load_tokenizer
    monkeypatch.setattr("distill.data.base.load_tokenizer", left)
    shifted = next(iter(loaded("fit", settings).val_dataloader()))
    for row in range(len(right.window_ids)):
        shift = int((right.attention_mask[row] == 0).sum())
        start = int(right.labels["start_positions"][row])
        assert int(shifted.labels["start_positions"][row]) == start + shift
        assert torch.equal(
            shifted.inputs["input_ids"][row, shift:], right.inputs["input_ids"][row, : right.attention_mask[row].sum()]
        )
        assert shifted.windows[row].context_token[0] == right.windows[row].context_token[0] + shift


def test_second_start_reads_the_cache(settings, monkeypatch):
    first = loaded("fit", settings)._windows["train"]
    monkeypatch.setattr("distill.data.datamodule.build_windows", lambda *_, **__: pytest.fail("tokenised again"))
    second = loaded("fit", settings)._windows["train"]
    assert second[[0, 1]].inputs["input_ids"].tolist() == first[[0, 1]].inputs["input_ids"].tolist()


def test_cache_of_other_settings_is_not_read(settings, tokenizer):
    example = Example("a", "¿Dónde?", "En Cádiz.", (Answer("Cádiz", 3),))
    base = fingerprint([example], tokenizer, {"max_length": 64})
    assert base == fingerprint([example], tokenizer, {"max_length": 64})
    assert base != fingerprint([example], tokenizer, {"max_length": 65})
    moved = Example("a", "¿Dónde?", "En Cádiz..", (Answer("Cádiz", 3),))
    assert base != fingerprint([moved], tokenizer, {"max_length": 64})


def test_fingerprint_does_not_depend_on_what_the_tokenizer_did_before(tokenizer):
    example = Example("a", "¿Dónde?", "En Cádiz.", (Answer("Cádiz", 3),))
    before = fingerprint([example], tokenizer, {})
    tokenizer("uno dos tres", truncation=True, max_length=4, padding="max_length")
    assert fingerprint([example], tokenizer, {}) == before


def test_interrupted_build_leaves_no_cache(settings, monkeypatch, tmp_path):
    from distill.tasks.question_answering.windows import build_windows

    monkeypatch.setattr("distill.data.datamodule.build_windows", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loaded("fit", settings)
    monkeypatch.setattr("distill.data.datamodule.build_windows", build_windows)
    assert len(loaded("fit", settings)._windows["train"].examples) == 18


def test_summary_is_plain_numbers(settings):
    summary = loaded("fit", settings).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["train"]["questions"] == 18
    assert summary["train"]["impossible"] == 6
    assert summary["train"]["source"] == "questions.json"


def test_prepare_data_loads_what_the_running_command_needs(settings):
    data = SquadDataModule(**settings)
    data.trainer = L.Trainer(accelerator="cpu", logger=False)
    data.trainer.state.fn = TrainerFn.VALIDATING
    data.prepare_data()
    assert set(data.summary()) == {"max_length", "doc_stride", "validation"}


def test_test_part_is_the_validation_part_unless_named(settings, tmp_path):
    assert loaded("test", settings).summary()["test"]["questions"] == 18
    other = tmp_path / "other.json"
    other.write_text(json.dumps(squad_document(2)), encoding="utf-8")
    assert loaded("test", {**settings, "test_files": [str(other)]}).summary()["test"]["questions"] == 6


def test_hidden_questions_leave_nothing_of_them(settings, tokenizer):
    data = loaded("validate", {**settings, "hide_questions": True})
    for batch in data.val_dataloader():
        for row, window in zip(batch.inputs["input_ids"], batch.windows, strict=True):
            assert tokenizer.decode(row[: window.context_token[0]], skip_special_tokens=True) == "¿?"


def test_embedded_set_needs_no_files(settings):
    embedded = {**settings, "train_files": None, "validation_files": None, "max_length": 128}
    assert loaded("validate", embedded).summary()["validation"]["questions"] > 1000


def test_questions_without_answers_can_be_predicted(settings, tmp_path):
    document = squad_document(1)
    for qa in document["data"][0]["paragraphs"][0]["qas"]:
        qa["answers"], qa["is_impossible"] = [], False
    file = tmp_path / "open.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    data = loaded("predict", {**settings, "predict_files": [str(file)]})
    asked = {window.example.question_id for batch in data.predict_dataloader() for window in batch.windows}
    assert asked == {"q-0-0", "q-0-1", "q-0-2"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"eval_batch_size": 0}, "eval_batch_size must be at least 1"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
        ({"max_tokens": 63}, "data.max_tokens is 63, which no window of 64 tokens fits into"),
        ({"doc_stride": 60}, "max_length 64 is too short"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, changes, message):
    with pytest.raises(UserError, match=message):
        SquadDataModule(**{**settings, **changes}).check()


def test_missing_data_is_named_with_the_option_that_brings_it(settings):
    with pytest.raises(UserError, match="predict_files"):
        loaded("predict", settings)
    with pytest.raises(UserError, match="train_files"):
        loaded("fit", {**settings, "train_files": None, "dataset": None})


def test_workers_give_the_same_batches(settings):
    own = [batch.window_ids.tolist() for batch in loaded("fit", settings).train_dataloader()]
    workers = loaded("fit", {**settings, "num_workers": 1})
    assert [batch.window_ids.tolist() for batch in workers.train_dataloader()] == own


def test_windows_can_be_padded_to_the_full_length_as_recipes_do(settings):
    data = loaded("fit", {**settings, "pad_to_max_length": True})
    plain = {int(i): batch for batch in loaded("fit", settings).train_dataloader() for i in batch.window_ids}
    for batch in data.train_dataloader():
        assert batch.inputs["input_ids"].shape[1] == 64
        for row, window_id in enumerate(batch.window_ids.tolist()):
            other = plain[window_id]
            place = other.window_ids.tolist().index(window_id)
            tokens = other.inputs["input_ids"][place][other.attention_mask[place] == 1]
            assert torch.equal(batch.inputs["input_ids"][row][batch.attention_mask[row] == 1], tokens)
    evaluation = next(iter(data.val_dataloader()))
    assert evaluation.inputs["input_ids"].shape[1] <= 64


def test_trimmed_vocabulary_cuts_training_text_as_before_and_is_kept(settings, tokenizer, tmp_path, monkeypatch):
    document = squad_document(1)
    few = tmp_path / "few.json"
    few.write_text(json.dumps(document), encoding="utf-8")
    whole = loaded("fit", {**settings, "train_files": [str(few)]})
    data = loaded("fit", {**settings, "train_files": [str(few)], "vocabulary": "trimmed"})
    assert len(data.tokenizer) < len(tokenizer) == len(whole.tokenizer)
    assert data.summary()["vocabulary"] == len(data.tokenizer)
    for batch, other in zip(data.train_dataloader(), whole.train_dataloader(), strict=True):
        pieces = [data.tokenizer.convert_ids_to_tokens(row) for row in batch.inputs["input_ids"].tolist()]
        assert pieces == [whole.tokenizer.convert_ids_to_tokens(row) for row in other.inputs["input_ids"].tolist()]
        assert torch.equal(batch.labels["start_positions"], other.labels["start_positions"])
    # The validation part is cut by the same tokenizer, and a later run finds it ready.
    assert {int(token) for batch in data.val_dataloader() for token in batch.inputs["input_ids"].unique()} <= set(
        range(len(data.tokenizer))
    )
    monkeypatch.setattr("distill.data.vocabulary.trim_tokenizer", lambda *_: pytest.fail("counted again"))
    again = loaded("validate", {**settings, "train_files": [str(few)], "vocabulary": "trimmed"})
    assert again.tokenizer.get_vocab() == data.tokenizer.get_vocab()


@pytest.fixture
def trimmed_settings(settings, tmp_path) -> dict:
    """Fewer training texts than validation texts, and the pieces of those alone."""
    few = tmp_path / "few.json"
    few.write_text(json.dumps(squad_document(1)), encoding="utf-8")
    return {**settings, "train_files": [str(few)], "vocabulary": "trimmed"}


def test_validation_words_that_a_trimmed_vocabulary_cuts_otherwise_are_counted(trimmed_settings, tokenizer):
    data = loaded("fit", trimmed_settings)
    recut = data.recut_validation(tokenizer)
    counts = data.summary()["validation"]
    assert 0 < counts["words_recut"] < counts["words"]
    ids = {
        window_id: row[mask == 1].tolist()
        for batch in recut
        for window_id, row, mask in zip(
            batch.window_ids.tolist(), batch.inputs["input_ids"], batch.attention_mask, strict=True
        )
    }
    whole = loaded("fit", {**trimmed_settings, "vocabulary": "full"})
    for batch in whole.val_dataloader():
        for window_id, row, mask in zip(
            batch.window_ids.tolist(), batch.inputs["input_ids"], batch.attention_mask, strict=True
        ):
            assert ids[window_id] == row[mask == 1].tolist()


def test_pieces_of_vocabulary_files_are_kept(trimmed_settings, tokenizer, squad_file, tmp_path):
    contexts = [
        text
        for article in json.loads(squad_file.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for text in (paragraph["context"], *(question["question"] for question in paragraph["qas"]))
    ]
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"text": context}) + "\n" for context in contexts), encoding="utf-8")
    without = loaded("fit", trimmed_settings)
    data = loaded("fit", {**trimmed_settings, "vocabulary_files": str(text)})
    assert without.tokenizer.get_vocab().keys() < data.tokenizer.get_vocab().keys()
    assert data.recut_validation(tokenizer) is None
    assert data.summary()["validation"]["words_recut"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": "full"}, "set model.init_args.student.vocabulary to trimmed, or leave the files out"),
        ({"vocabulary_files": ["nowhere.txt"]}, r"nowhere\.txt: no such file"),
        ({"vocabulary_files": ["words.csv"]}, r"words\.csv: not a name for text"),
        ({"vocabulary_files": ["empty.txt"]}, r"empty\.txt: empty: give at least one file with text"),
    ],
)
def test_vocabulary_files_that_cannot_decide_are_refused(trimmed_settings, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    for name in ("text.txt", "words.csv", "empty.txt"):
        (tmp_path / name).write_text("" if name == "empty.txt" else "Ñandúes y avutardas.", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        loaded("fit", {**trimmed_settings, "vocabulary_files": ["text.txt"], **change})


@pytest.mark.parametrize("num_processes", [1, 5])
def test_windows_that_too_many_processes_leave_out_are_counted_and_named_once(settings, caplog, num_processes):
    class FakeTrainer:
        global_rank, world_size = 0, num_processes
        strategy = SimpleNamespace(root_device=torch.device("cpu"))

    data = loaded("fit", settings)
    num_windows = len(data._windows["train"])
    num_left_out = num_windows % (4 * num_processes) if num_processes > 1 else 0
    assert num_left_out < num_processes
    data.trainer = FakeTrainer()
    with caplog.at_level("INFO"):
        data.train_dataloader()
        data.train_dataloader()
    said = f"train: {num_left_out} of {num_windows} windows are left out of every pass"
    assert caplog.text.count(said) == (num_processes > 1)
    assert data.summary()["train"].get("left_out_of_each_pass", 0) == num_left_out


def test_questions_that_are_trained_and_scored_on_are_counted_and_told(make_questions, tmp_path, caplog):
    other = tmp_path / "other.json"
    document = squad_document(8, prefix="other")
    document["data"][0]["paragraphs"] = document["data"][0]["paragraphs"][4:]  # two of the six, and two others
    other.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    data = make_questions(validation_files=[str(other)])
    with caplog.at_level("INFO"):
        data.setup("fit")
    assert "validation: 6 of 12 questions are among the training questions too" in caplog.text
    assert data.summary()["validation"]["questions_in_training"] == 6
    caplog.clear()
    alone = make_questions(validation_files=[str(other)], test_files=[str(other)])
    alone.setup("test")
    assert "questions_in_training" not in alone.summary()["test"]
    assert "among the training questions" not in caplog.text
