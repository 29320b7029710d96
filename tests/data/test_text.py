import json
import warnings
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import LightningArgumentParser

from distill.data.text import TextDataModule
from distill.text.cache import Preparation
from distill.text.language import LanguageCheck
from distill.text.masking import WholeWordMasking
from distill.types import UserError

DOCUMENTS = [f"Lucía Ferrer nació en Cádiz en {1900 + i}. En cambio, Mateo nació en Jaén." for i in range(60)]


@pytest.fixture
def settings(tmp_path, teacher_folder) -> dict:
    file = tmp_path / "text.txt"
    file.write_text("\n\n\n".join(DOCUMENTS), encoding="utf-8")
    return {
        "tokenizer": str(teacher_folder),
        "train_files": [str(file)],
        "validation_every": 5,
        "block_length": 32,
        "batch_size": 4,
        "eval_batch_size": 4,
        "cache_dir": str(tmp_path / "cache"),
    }


def loaded(stage: str, settings: dict) -> TextDataModule:
    data = TextDataModule(**settings)
    data.check()
    data.setup(stage)
    return data


def rows(batches) -> dict[int, tuple[list[int], list[int]]]:
    """Return block id to masked ids and labels."""
    return {
        int(block_id): (ids.tolist(), labels.tolist())
        for batch in batches
        for block_id, ids, labels in zip(
            batch.window_ids, batch.inputs["input_ids"], batch.labels["token_ids"], strict=True
        )
    }


def test_batches_by_tokens_hold_as_many_blocks_as_fit(settings):
    batches = list(loaded("fit", {**settings, "max_tokens": 100}).train_dataloader())
    assert {len(batch.window_ids) for batch in batches[:-1]} <= {1, 2, 3}
    assert max(len(batch.window_ids) for batch in batches) == 3
    with pytest.raises(UserError, match=r"data\.max_tokens is 31"):
        TextDataModule(**{**settings, "max_tokens": 31})


def test_batches_are_masked_blocks(settings, tokenizer):
    data = loaded("fit", settings)
    for batch in data.train_dataloader():
        ids, labels = batch.inputs["input_ids"], batch.labels["token_ids"]
        assert ids.shape == labels.shape == batch.attention_mask.shape == (len(batch.window_ids), 32)
        assert ids.dtype == labels.dtype == batch.attention_mask.dtype == torch.int64
        assert torch.equal(batch.attention_mask == 0, ids == tokenizer.pad_token_id)
        original = torch.where(labels == -100, ids, labels)
        assert (labels != -100).any(1).all()
        assert (original[:, 0] == tokenizer.bos_token_id).all()
        assert not (original == tokenizer.mask_token_id).any()
        assert not batch.windows


def test_an_epoch_has_every_block_once_in_an_order_of_its_own(settings):
    data = loaded("fit", settings)
    loader = data.train_dataloader()
    first = [batch.window_ids.tolist() for batch in loader]
    loader.sampler.set_epoch(1)
    second = [batch.window_ids.tolist() for batch in loader]
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(data.summary()["train"]["blocks"]))
    assert len(loader) == len(first)


def test_masks_follow_epoch_and_seed_but_not_batches_or_workers(settings):
    loader = loaded("fit", settings).train_dataloader()
    first = rows(loader)
    assert rows(loaded("fit", {**settings, "batch_size": 7}).train_dataloader()) == first
    assert rows(loaded("fit", {**settings, "num_workers": 2}).train_dataloader()) == first
    assert rows(loaded("fit", {**settings, "seed": 1}).train_dataloader()) != first
    loader.sampler.set_epoch(1)
    second = rows(loader)
    assert sum(first[block] != second[block] for block in first) > 0.9 * len(first)


def test_workers_learn_of_a_new_epoch(settings):
    here = loaded("fit", settings).train_dataloader()
    there = loaded("fit", {**settings, "num_workers": 1}).train_dataloader()
    for epoch in range(2):
        for loader in (here, there):
            loader.sampler.set_epoch(epoch)
        assert rows(there) == rows(here)


def test_ranks_share_out_the_same_epoch(settings):
    def batches(rank, num_ranks, split, **changes):
        class FakeTrainer:
            global_rank, world_size = rank, num_ranks
            strategy = SimpleNamespace(root_device=torch.device("cpu"))

        data = loaded("fit", {**settings, **changes})
        data.trainer = FakeTrainer()
        return rows(data.train_dataloader() if split == "train" else data.val_dataloader())

    for split in ("train", "validation"):
        whole = batches(0, 1, split, batch_size=4)
        parts = [batches(rank, 2, split, batch_size=2) for rank in range(2)]
        assert not set(parts[0]) & set(parts[1])
        shared = parts[0] | parts[1]
        # A last training batch of one block is nobody's; evaluation is complete.
        assert len(whole) - len(shared) <= (split == "train")
        assert all(whole[block] == row for block, row in shared.items())


def test_evaluation_is_the_same_every_time(settings):
    data = loaded("fit", settings)
    first = rows(data.val_dataloader())
    assert rows(data.val_dataloader()) == first
    assert rows(loaded("validate", {**settings, "eval_batch_size": 3}).val_dataloader()) == first
    for seed in (42, 43):
        assert rows(loaded("fit", {**settings, "seed": seed}).val_dataloader()) == first
    assert rows(loaded("test", settings).test_dataloader()) == first
    assert sorted(first) == list(range(data.summary()["validation"]["blocks"]))


def test_named_validation_files_leave_the_training_text_whole(settings, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"body": "Ana Rúa nació en Ávila."}), encoding="utf-8")
    summary = loaded(
        "fit", {**settings, "validation_files": [str(other)], "text_field": "body", "validation_every": 5}
    ).summary()
    assert summary["train"]["documents"] == 60
    assert summary["validation"]["documents"] == summary["validation"]["blocks"] == 1
    assert summary["validation"]["source"] == "other.jsonl"
    tested = loaded("test", {**settings, "test_files": [str(other)], "text_field": "body"}).summary()
    assert tested["test"]["documents"] == 1


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("how", ["in a folder", "behind a link"])
def test_file_that_is_trained_and_scored_on_is_refused(settings, tmp_path, split, how):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("uno", encoding="utf-8")
    (folder / "b.txt").write_text("dos", encoding="utf-8")
    (tmp_path / "link.txt").symlink_to(folder / "b.txt")
    scored = {"in a folder": folder / "b.txt", "behind a link": tmp_path / "link.txt"}[how]
    data = TextDataModule(**{**settings, "train_files": str(folder), f"{split}_files": str(scored)})
    with pytest.raises(UserError, match=rf"^data\.{split}_files: {scored} is one of data\.train_files too"):
        data.check()


def test_documents_that_are_trained_and_scored_on_are_counted(settings, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("\n\n\n".join(["Ana nació.", DOCUMENTS[3].upper(), DOCUMENTS[7]]), encoding="utf-8")
    with pytest.warns(UserWarning, match="validation: 2 of 3 documents are in the training text too"):
        summary = loaded("fit", {**settings, "validation_files": [str(other)]}).summary()
    assert summary["validation"]["documents_in_training"] == 2
    assert "documents_in_training" not in summary["train"]


@pytest.mark.filterwarnings("error")
def test_text_of_its_own_is_scored_without_a_word(settings, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("Ana nació.", encoding="utf-8")
    summary = loaded("fit", {**settings, "validation_files": [str(other)]}).summary()
    assert summary["validation"]["documents_in_training"] == 0
    assert "documents_in_training" not in loaded("fit", settings).summary()["validation"]


def test_summary_is_plain_and_complete(settings):
    summary = loaded("fit", settings).summary()
    assert json.loads(json.dumps(summary)) == summary
    train, validation = summary["train"], summary["validation"]
    assert train["documents"] + validation["documents"] == train["reading"]["documents"] == 60
    assert train["source"] == "text.txt"
    assert 0 < validation["documents"] < 30


def test_settings_reach_the_blocks(settings):
    data = TextDataModule(
        **settings, cross_documents=False, deduplicate=False, language=None, masking=WholeWordMasking(probability=0.5)
    )
    assert data.preparation == Preparation(32, cross_documents=False, deduplicate=False, validation_every=5)
    data.setup("fit")
    batches = list(data.train_dataloader())
    masked = sum(int((batch.labels["token_ids"] != -100).sum()) for batch in batches)
    # Half of the words, of which two tokens a block are none.
    tokens = sum(int(batch.attention_mask.sum()) - 2 * len(batch.window_ids) for batch in batches)
    assert masked / tokens == pytest.approx(0.5, abs=0.05)
    whole = loaded("fit", {**settings, "language": LanguageCheck(threshold=1.0)}).summary()["train"]["reading"]
    assert whole["foreign"] + whole["unjudged"] == 60
    assert whole["foreign_dropped"] == 0


def test_settings_are_written_in_yaml(settings):
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(TextDataModule, "data")
    changes = {"language": {"drop": True}, "masking": {"probability": 0.3}, "document_separator": "line"}
    data = parser.instantiate(parser.parse_object({"data": {**settings, **changes}})).data
    assert data.preparation.language == LanguageCheck(drop=True)
    assert data.masking == WholeWordMasking(probability=0.3)
    unchecked = parser.instantiate(parser.parse_object({"data": {**settings, "language": None}})).data
    assert unchecked.preparation.language is None


def test_second_start_reads_no_text(settings, monkeypatch):
    first = rows(loaded("fit", settings).train_dataloader())
    monkeypatch.setattr("distill.text.sources.FileSource.documents", lambda *_: pytest.fail("read again"))
    assert rows(loaded("fit", settings).train_dataloader()) == first


def test_cache_that_is_used_again_names_files_as_they_are_called_now(settings, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"ni\xf1o\n\n\n" + "\n\n\n".join(DOCUMENTS).encode())
    (folder / "b.txt").touch()
    loaded("fit", {**settings, "train_files": str(folder)})
    monkeypatch.setattr("distill.text.sources.FileSource.documents", lambda *_: pytest.fail("read again"))
    moved = folder.rename(tmp_path / "moved")
    (moved / "notes.md").touch()
    with caplog.at_level("INFO"):
        reading = loaded("fit", {**settings, "train_files": str(moved)}).summary()["train"]["reading"]
    assert reading["invalid_bytes"] == {str(moved / "a.txt"): 1}
    assert (reading["empty_files"], reading["passed_over"]) == ([str(moved / "b.txt")], [str(moved / "notes.md")])
    assert f"replaced 1 bytes that are not UTF-8 in {moved / 'a.txt'}" in caplog.text


def test_text_whose_separator_does_not_occur_is_warned_of(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.text.reading.MAX_DOCUMENT_CHARS", 200)
    file = tmp_path / "single.txt"
    file.write_text("\n\n".join(DOCUMENTS), encoding="utf-8")
    with pytest.warns(UserWarning, match="are pieces of longer ones, .* set data.document_separator to line"):
        loaded("fit", {**settings, "train_files": [str(file)]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded("fit", {**settings, "train_files": [str(file)], "document_separator": "line"})
        loaded("fit", settings)


@pytest.mark.slow
def test_embedded_sample_needs_no_files(settings, monkeypatch):
    monkeypatch.setattr("distill.assets.text_es.generate.NUM_DOCUMENTS", 30)
    summary = loaded("fit", {**settings, "train_files": None}).summary()
    assert summary["train"]["source"] == summary["validation"]["source"] == "embedded"
    assert summary["train"]["documents"] + summary["validation"]["documents"] == 30


def test_local_folder_is_read_like_a_hub_set(settings, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    lines = "\n".join(json.dumps({"text": text}) for text in DOCUMENTS)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    hub = rows(loaded("fit", {**settings, "train_files": None, "dataset": str(folder)}).train_dataloader())
    assert hub == rows(loaded("fit", settings).train_dataloader())


def test_length_of_a_block_is_what_models_are_checked_for(settings):
    assert TextDataModule(**settings).max_length == 32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
        ({"validation_every": 1}, "validation_every must be at least 2, not 1"),
        ({"block_length": 7}, "block_length must be at least 8, not 7"),
        ({"train_files": ["missing.txt"]}, r"missing\.txt: no such file"),
        ({"validation_files": ["table.csv"]}, r"table\.csv: no such file"),
    ],
)
def test_bad_settings_are_refused_before_text_is_read(settings, changes, message):
    with pytest.raises(UserError, match=message):
        TextDataModule(**{**settings, **changes}).check()


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("fit", {"train_files": None, "dataset": None}, "no text: name files with --data.train_files"),
        ("predict", {}, "predict: a masked-language model has nothing to answer"),
        ("fit", {"validation_every": 10_000}, "validation: text.txt: no document falls into 1 of 10000"),
        ("fit", {"language": LanguageCheck(threshold=1.0, drop=True), "validation_every": 2}, "no document is left"),
    ],
)
def test_missing_text_is_named_with_the_option_that_brings_it(settings, stage, changes, message):
    if "language" in changes:
        text = "Esta frase tiene bastantes palabras para que se pueda decir en qué lengua fue escrita por su autora. "
        Path(settings["train_files"][0]).write_text(text * 3, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        loaded(stage, {**settings, **changes})


def test_tokenizer_that_cannot_mask_is_refused_before_text_is_read(settings, tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "unmasked")
    config = tmp_path / "unmasked" / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({k: v for k, v in values.items() if k != "mask_token"}), encoding="utf-8")
    with pytest.raises(UserError, match="no mask token"):
        TextDataModule(**{**settings, "tokenizer": str(tmp_path / "unmasked")}).check()


def test_real_text_is_read_in_spanish(settings, real_data):
    pytest.importorskip("zstandard")
    files = [str(real_data / "text" / "mlqa_contexts_es.txt.zst")]
    data = loaded("fit", {**settings, "train_files": files, "block_length": 128})
    reading = data.summary()["train"]["reading"]
    assert reading["documents"] == 4671
    assert reading["foreign"] < 20
    batch = next(iter(data.train_dataloader()))
    assert (batch.labels["token_ids"] != -100).sum() / batch.attention_mask.sum() == pytest.approx(0.15, abs=0.08)
    assert np.unique(batch.window_ids).size == 4
