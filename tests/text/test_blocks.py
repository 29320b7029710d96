import pickle

import numpy as np
import pytest

from distill.files import new_folder, write_json
from distill.text.blocks import MANIFEST, PARTS, TRAIN, VALIDATION, BlockWriter, TokenBlocks
from distill.text.packing import BlockFrame, BlockPacker
from distill.text.report import TextReport
from distill.types import UserError

DOCUMENTS = [np.arange(10, 10 + length) for length in (40, 3, 17, 90)]
PAD = 1


@pytest.fixture
def folder(tmp_path):
    """Documents of 150 tokens in all as training blocks of 32, and a validation part without any."""
    target = tmp_path / "text-0"
    with new_folder(target) as unfinished:
        counts = {}
        for part, documents in zip(PARTS, (DOCUMENTS, []), strict=True):
            packer = BlockPacker(32, BlockFrame((0,), (2,), 2))
            with BlockWriter(unfinished, part, np.dtype(np.uint16), packer) as writer:
                for document in documents:
                    writer.add(document, key=len(document))
                counts[part] = writer.finish()
        write_json(
            unfinished / MANIFEST,
            {"dtype": "uint16", "parts": counts, "files": [], "report": TextReport(files=1, documents=4).as_dict()},
        )
    return target


def test_what_was_written_is_read(folder):
    blocks = TokenBlocks(folder, TRAIN)
    assert blocks.lengths.tolist() == [32, 32, 32, 32, 32, 5]
    rows = blocks.read(np.arange(len(blocks)), 32, PAD)
    assert rows[0].tolist() == [0, *range(10, 40), 2]
    assert rows[1].tolist()[:20] == [0, *range(40, 50), 2, 10, 11, 12, 2, *range(10, 14)]
    assert [token for token in rows.ravel().tolist() if token >= 10] == np.concatenate(DOCUMENTS).tolist()
    assert blocks.counts() == {"documents": 4, "blocks": 6, "tokens": int(blocks.lengths.sum())}
    assert blocks.report.documents == 4


def test_shared_documents_are_counted_in_any_portions(folder, monkeypatch):
    train, validation = TokenBlocks(folder, TRAIN), TokenBlocks(folder, VALIDATION)
    assert (train.num_shared(validation), validation.num_shared(train)) == (0, 0)
    for size in (1, 3, 100):
        monkeypatch.setattr("distill.text.blocks._KEYS_AT_ONCE", size)
        assert train.num_shared(train) == 4
    np.save(folder / "validation.keys.npy", np.array([3, 5, 3, 90], np.uint64))
    assert validation.num_shared(train) == 3
    (folder / "validation.keys.npy").write_bytes(b"?")
    with pytest.raises(UserError, match=r"damaged \(validation\.keys\.npy"):
        validation.num_shared(train)


def test_rows_are_padded_on_the_right(folder):
    blocks = TokenBlocks(folder, TRAIN)
    short, full = blocks.read(np.array([5, 0]), 32, PAD)
    length = blocks.lengths_of(np.array([5]))[0]
    assert length < 32
    assert (short[0], short[length - 1]) == (0, 2)
    assert (short[length:] == PAD).all()
    assert not (short[:length] == PAD).any()
    assert not (full == PAD).any()


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train.tokens", lambda path: path.write_bytes(path.read_bytes()[:-2])),
        ("train.tokens", lambda path: path.unlink()),
        ("train.starts.npy", lambda path: path.write_bytes(path.read_bytes()[:-8])),
        ("train.starts.npy", lambda path: np.save(path, np.arange(3))),
        ("manifest.json", lambda path: path.write_text("{", encoding="utf-8")),
        ("manifest.json", lambda path: path.unlink()),
    ],
)
def test_damaged_cache_is_named_with_its_cure(folder, file, damage):
    damage(folder / file)
    with pytest.raises(UserError, match=rf"{folder.name}: the token cache is damaged .*{file}.*delete the folder"):
        TokenBlocks(folder, TRAIN)


def test_blocks_travel_to_other_processes_by_name(folder):
    blocks = TokenBlocks(folder, TRAIN)
    sent = pickle.dumps(blocks)
    assert len(sent) < 1000
    assert (pickle.loads(sent).read(np.arange(3), 32, 1) == blocks.read(np.arange(3), 32, 1)).all()


def test_part_without_documents_is_empty(folder):
    blocks = TokenBlocks(folder, VALIDATION)
    assert len(blocks) == 0
    assert blocks.lengths.tolist() == []
    assert blocks.counts() == {"documents": 0, "blocks": 0, "tokens": 0}
