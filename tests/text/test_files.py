import gzip
import sys

import pytest

from distill.text.files import fingerprint_files, open_bytes, text_files
from distill.types import UserError

TEXT = "Había una vez una ñu.\n" * 5000


def read(path) -> bytes:
    with open_bytes(path) as stream:
        return stream.read()


def test_plain_and_gzip_files_give_their_bytes(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    plain.write_text(TEXT, encoding="utf-8")
    packed.write_bytes(gzip.compress(TEXT.encode()))
    assert read(plain) == read(packed) == TEXT.encode()


def test_zstandard_frames_are_read_one_after_another(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    file = tmp_path / "a.txt.zst"
    file.write_bytes(zstandard.compress(TEXT.encode()) + zstandard.compress(b"fin"))
    assert read(file) == TEXT.encode() + b"fin"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut off", "something else"])
def test_damaged_compressed_file_is_named(tmp_path, suffix, damage):
    compress = gzip.compress if suffix == ".gz" else pytest.importorskip("zstandard").compress
    whole = compress(bytes(range(256)) * 50)
    file = tmp_path / f"a.txt{suffix}"
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut off" else b"plain text, not compressed at all")
    with pytest.raises(UserError, match=rf"a\.txt{suffix}: damaged or cut off"):
        read(file)


def test_zstandard_without_its_extra_names_it(tmp_path, monkeypatch):
    file = tmp_path / "a.txt.zst"
    file.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UserError, match=r"pip install 'distill\[text\]'"):
        read(file)


def test_folder_stands_for_its_text_files_in_order_of_names(tmp_path):
    for name in ("b.txt", "a.jsonl.gz", "c.md", "d.txt.zst"):
        (tmp_path / name).touch()
    files, passed_over = text_files([tmp_path, str(tmp_path / "b.txt")])
    assert [file.name for file in files] == ["a.jsonl.gz", "b.txt", "d.txt.zst", "b.txt"]
    assert passed_over == [tmp_path / "c.md"]


def test_what_a_folder_holds_beside_text_is_passed_over_by_name(tmp_path):
    others = ["._a.txt", "b.text", "c.json", "folder.txt", "sub"]
    for folder in ("folder.txt", "sub"):
        (tmp_path / folder).mkdir()
    for name in ("LIBRO.TXT", "a.txt", "e.JSONL.gz", "._a.txt", "b.text", "c.json", "sub/d.txt"):
        (tmp_path / name).touch()
    files, passed_over = text_files([tmp_path])
    assert [file.name for file in files] == ["LIBRO.TXT", "a.txt", "e.JSONL.gz"]
    assert [path.name for path in passed_over] == others


def test_a_hidden_file_is_read_where_it_is_named(tmp_path):
    file = tmp_path / ".notas.txt"
    file.touch()
    assert text_files([file]) == ([file], [])


def test_a_folder_without_text_says_what_it_holds(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "libro.pdf").touch()
    with pytest.raises(UserError, match=r"the folder itself holds no .*; it has libro\.pdf, sub$"):
        text_files([tmp_path])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no files to read"),
        (["missing.txt"], r"missing\.txt: no such file"),
        (["table.csv"], r"table\.csv: not a name for text: end it in \.txt or \.jsonl"),
        (["empty"], "empty: the folder itself holds no .* file$"),
    ],
)
def test_files_that_cannot_be_meant_are_refused(tmp_path, names, message):
    (tmp_path / "table.csv").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        text_files([tmp_path / name for name in names])


def test_names_in_capitals_are_read_alike(tmp_path):
    (tmp_path / "A.TXT.GZ").write_bytes(gzip.compress(TEXT.encode()))
    assert read(tmp_path / "A.TXT.GZ") == TEXT.encode()
    for name in ("a.txt", "B.TXT"):
        (tmp_path / name).write_text("uno", encoding="utf-8")
    assert fingerprint_files([tmp_path / "a.txt"]) == fingerprint_files([tmp_path / "B.TXT"])


def test_fingerprint_follows_contents_and_kind_not_names_or_times(tmp_path):
    a, b, c = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.jsonl"
    for file in (a, b, c):
        file.write_text("uno", encoding="utf-8")
    assert fingerprint_files([a]) == fingerprint_files([b]) != fingerprint_files([c])
    assert fingerprint_files([a, b]) != fingerprint_files([a])
    before = fingerprint_files([a])
    a.write_text("dos", encoding="utf-8")
    assert fingerprint_files([a]) != before
