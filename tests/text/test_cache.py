import json
import multiprocessing
import shutil
import tracemalloc

import numpy as np
import pytest

from distill.files import new_folder
from distill.text import cache, language, packing, reading
from distill.text.blocks import TRAIN, VALIDATION, TokenBlocks
from distill.text.cache import Preparation, cached_blocks, fingerprint
from distill.text.duplicates import document_key
from distill.text.language import LanguageCheck
from distill.text.sources import FileSource

DOCUMENTS = [f"Lucía Ferrer nació en Cádiz en {1900 + i}." for i in range(60)]
PREPARATION = Preparation(block_length=32, validation_every=5)


@pytest.fixture
def source(tmp_path) -> FileSource:
    file = tmp_path / "text.txt"
    file.write_text("\n".join(DOCUMENTS), encoding="utf-8")
    return FileSource([file], separator="line")


def build(source, tokenizer, tmp_path, preparation=PREPARATION):
    return cached_blocks(source, tokenizer, preparation, tmp_path / "cache")


def texts(blocks, tokenizer) -> list[str]:
    ids = blocks.read(np.arange(len(blocks)), 32, tokenizer.pad_token_id).ravel()
    content = ids[~np.isin(ids, [tokenizer.bos_token_id, tokenizer.pad_token_id])]
    # Blocks end and documents are parted with the same token: join blocks first.
    return tokenizer.decode(content).replace("</s>", "")


def test_documents_are_shared_out_by_their_hash_and_nothing_is_lost(source, tokenizer, tmp_path):
    folder = build(source, tokenizer, tmp_path)
    held_out = [text for text in DOCUMENTS if document_key(text) % 5 == 0]
    assert 0 < len(held_out) < 30
    for part, documents in ((TRAIN, [d for d in DOCUMENTS if d not in held_out]), (VALIDATION, held_out)):
        blocks = TokenBlocks(folder, part)
        assert texts(blocks, tokenizer) == "".join(documents)
        assert blocks.counts() == {
            "documents": len(documents),
            "blocks": len(blocks),
            "tokens": int(blocks.lengths.sum()),
        }
        assert (blocks.lengths[:-1] >= 31).all()
        assert blocks.lengths.max() == 32
    assert blocks.report.documents == 60


@pytest.mark.parametrize(("vocab_size", "dtype"), [(1 << 16, "uint16"), ((1 << 16) + 1, "uint32")])
def test_ids_are_stored_as_small_as_the_vocabulary_allows(source, tokenizer, tmp_path, monkeypatch, vocab_size, dtype):
    monkeypatch.setattr(type(tokenizer), "__len__", lambda _: vocab_size)
    folder = build(source, tokenizer, tmp_path)
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["dtype"] == dtype
    assert texts(TokenBlocks(folder, VALIDATION), tokenizer).startswith("Lucía Ferrer nació")


def test_duplicates_and_foreign_documents_are_left_out_and_counted(tokenizer, tmp_path):
    file = tmp_path / "text.txt"
    english = "the of and to in is that for it on are with as this be at from or by which"
    file.write_text("\n".join(["uno", "UNO ", "dos", english, "dos"]), encoding="utf-8")
    source = FileSource([file], separator="line")
    preparation = Preparation(block_length=32, language=LanguageCheck(drop=True))
    blocks = TokenBlocks(build(source, tokenizer, tmp_path, preparation), TRAIN)
    assert texts(blocks, tokenizer) == "unodos"
    report = blocks.report
    assert (report.documents, report.duplicates, report.foreign, report.foreign_dropped) == (5, 2, 1, 1)
    assert report.kept == blocks.counts()["documents"] == 2
    keeping = Preparation(block_length=32, deduplicate=False)
    assert TokenBlocks(build(source, tokenizer, tmp_path, keeping), TRAIN).counts()["documents"] == 5


def test_second_call_reads_nothing(source, tokenizer, tmp_path, monkeypatch):
    first = build(source, tokenizer, tmp_path)
    monkeypatch.setattr(source, "documents", lambda _: pytest.fail("read again"))
    assert build(source, tokenizer, tmp_path) == first


def test_fingerprint_follows_text_tokenizer_and_every_setting(source, tokenizer, sentencepiece, wordpiece, tmp_path):
    file = tmp_path / "other.txt"
    file.write_text("\n".join(DOCUMENTS[1:]), encoding="utf-8")
    prints = [
        fingerprint(source, tokenizer, PREPARATION),
        fingerprint(FileSource([file], separator="line"), tokenizer, PREPARATION),
        fingerprint(FileSource(source.files, separator="file"), tokenizer, PREPARATION),
        fingerprint(FileSource(source.files, separator="line", strict=True), tokenizer, PREPARATION),
        fingerprint(source, wordpiece, PREPARATION),
        fingerprint(source, sentencepiece, PREPARATION),
        fingerprint(source, tokenizer, Preparation(block_length=33, validation_every=5)),
        fingerprint(source, tokenizer, Preparation(block_length=32, validation_every=6)),
        fingerprint(source, tokenizer, Preparation(32, cross_documents=False, validation_every=5)),
        fingerprint(source, tokenizer, Preparation(32, deduplicate=False, validation_every=5)),
        fingerprint(source, tokenizer, Preparation(32, language=LanguageCheck(), validation_every=5)),
        fingerprint(source, tokenizer, Preparation(32, language=LanguageCheck(drop=True), validation_every=5)),
    ]
    assert len(set(prints)) == len(prints)
    tokenizer("uno dos", truncation=True, max_length=3, padding="max_length")
    assert fingerprint(source, tokenizer, PREPARATION) == prints[0]


def test_fingerprint_follows_the_constants_that_decide_what_a_document_is(source, tokenizer, monkeypatch):
    checked = Preparation(32, language=LanguageCheck())
    before = [fingerprint(source, tokenizer, preparation) for preparation in (PREPARATION, checked)]
    monkeypatch.setattr(language, "OTHER_WORDS", language.OTHER_WORDS | {"och"})
    assert fingerprint(source, tokenizer, PREPARATION) == before[0]
    assert fingerprint(source, tokenizer, checked) != before[1]
    monkeypatch.setattr(reading, "MAX_DOCUMENT_CHARS", 1 << 14)
    assert fingerprint(source, tokenizer, PREPARATION) != before[0]


def test_interrupted_build_leaves_nothing(source, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(source, tokenizer, tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_build_that_loses_the_race_uses_the_winners_cache(source, tokenizer, tmp_path, monkeypatch):
    winner = tmp_path / "winner"
    shutil.copytree(build(source, tokenizer, tmp_path), winner)
    shutil.rmtree(tmp_path / "cache")

    def slow_folder(target):
        shutil.copytree(winner, target)  # another process finishes meanwhile
        return new_folder(target)

    monkeypatch.setattr(cache, "new_folder", slow_folder)
    folder = build(source, tokenizer, tmp_path)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]
    assert len(TokenBlocks(folder, TRAIN)) > 0


def _write(arguments) -> str:
    source, tokenizer, folder = arguments
    return str(cached_blocks(source, tokenizer, PREPARATION, folder))


def test_two_processes_at_once_agree(source, tokenizer, tmp_path):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        folders = pool.map(_write, [(source, tokenizer, tmp_path / "cache")] * 2, chunksize=1)
    assert folders[0] == folders[1]
    assert [str(path) for path in (tmp_path / "cache").iterdir()] == folders[:1]
    assert texts(TokenBlocks(tmp_path / "cache" / folders[0], TRAIN), tokenizer)


def test_memory_does_not_grow_with_the_text(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_BATCH_CHARS", 1 << 14)
    monkeypatch.setattr(reading, "MAX_DOCUMENT_CHARS", 1 << 14)
    file = tmp_path / "text.txt"
    with file.open("w", encoding="utf-8") as stream:  # 1.2 MB: a long line, then many short ones
        stream.write(" ".join(DOCUMENTS) * 250 + "\n")
        stream.writelines(f"{text} {number}\n" for number in range(250) for text in DOCUMENTS)
    tracemalloc.start()
    folder = build(FileSource([file], separator="line"), tokenizer, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    blocks = TokenBlocks(folder, TRAIN)
    assert blocks.counts()["documents"] > 10_000
    assert blocks.report.cuts > 30
    assert peak < 2_000_000  # most of it the keys that are not merged yet
