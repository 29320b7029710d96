"""Paragraphs from all over the files, each once."""

from collections import Counter

import pytest

from distill.augmentation.spread import SpreadParagraphs
from distill.text.language import LanguageCheck
from distill.text.sources import FileSource

NUM_PARAGRAPHS = {"a.txt": 40, "b.txt": 7, "c.txt": 90}


@pytest.fixture
def source(tmp_path):
    for name, number in NUM_PARAGRAPHS.items():
        paragraphs = [f"El párrafo {i:02} del libro {name} habla de otra cosa." for i in range(number)]
        (tmp_path / name).write_text("\n\n".join(paragraphs), encoding="utf-8")
    (tmp_path / "d.txt").touch()
    return FileSource([tmp_path])


def spread(source, seed=0, num_held=12, language=None):
    return SpreadParagraphs(source, language, min_chars=10, max_chars=60, seed=seed, num_held=num_held)


def test_every_paragraph_comes_once_however_many_are_held(source):
    found = list(spread(source))
    assert Counter(paragraph.file.name for paragraph in found) == NUM_PARAGRAPHS
    assert len({paragraph.text for paragraph in found}) == sum(NUM_PARAGRAPHS.values())
    for num_held in (1, 500):
        assert sorted(spread(source, num_held=num_held)) == sorted(found)


def test_no_more_are_held_than_memory_is_meant_for(source, monkeypatch):
    most, pulled = 30, []
    monkeypatch.setattr("distill.augmentation.spread._MOST_HELD", most)
    monkeypatch.setattr(
        "distill.augmentation.spread.nsmallest", lambda number, texts: pulled.append(number) or sorted(texts)[:number]
    )
    assert len(list(spread(source, num_held=10**6))) == sum(NUM_PARAGRAPHS.values())
    assert max(pulled) <= most


def test_the_first_ones_are_from_all_files_and_from_all_of_each(source):
    first = list(spread(source, num_held=60))[:36]
    by_file = {name: [p.text for p in first if p.file.name == name] for name in NUM_PARAGRAPHS}
    assert [len(texts) for texts in by_file.values()] == [15, 7, 14]
    places = sorted(int(text.split()[2]) for text in by_file["c.txt"])
    assert places[0] < 20
    assert places[-1] > 70
    assert places != list(range(14))


def test_the_seed_decides_the_order(source):
    first, again, other = (list(spread(source, seed)) for seed in (1, 1, 2))
    assert first == again
    assert [p.text for p in first] != [p.text for p in other]


def test_what_is_left_out_is_counted_once(tmp_path):
    english = "The cat sat on the mat and the dog was with it, as they had been for most of the day at the old house."
    document = "El primer párrafo es éste.\n\nCorto.\n\n" + "y" * 61
    repeated = "Otra cosa, y otra más.\n\nEL PRIMER  PÁRRAFO es éste."
    (tmp_path / "a.txt").write_text("\n\n\n".join([document, english, document]), encoding="utf-8")
    (tmp_path / "b.txt").write_text("\n\n\n".join([document, repeated]), encoding="utf-8")
    texts = spread(FileSource([tmp_path]), num_held=1, language=LanguageCheck(drop=True))
    assert {paragraph.text for paragraph in texts} == {"El primer párrafo es éste.", "Otra cosa, y otra más."}
    assert (texts.reading.documents, texts.reading.duplicates, texts.reading.foreign_dropped) == (5, 2, 1)
    assert texts.report.describe() == "2 paragraphs; left out: 1 too short, 1 too long, 1 that had come before"
