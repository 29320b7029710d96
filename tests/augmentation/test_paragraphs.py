"""Paragraphs of documents."""

import unicodedata

from distill.augmentation.facts import find_facts
from distill.augmentation.paragraphs import ParagraphReport, paragraphs


def test_paragraphs_are_joined_lines_of_the_right_length():
    report = ParagraphReport()
    document = "Uno dos\ntres.\n \nCorto.\n\n" + "Una frase larga. " * 10 + "\n\n" + "x" * 80
    found = list(paragraphs([document], min_chars=10, max_chars=60, report=report))
    assert found[0] == "Uno dos tres."
    assert found[1:] == ["Una frase larga. Una frase larga. Una frase larga."] * 3 + ["Una frase larga."]
    assert (report.too_short, report.too_long) == (1, 1)


def test_paragraphs_are_composed_so_that_names_keep_their_letters():
    document = unicodedata.normalize("NFD", "Ayer vino a la villa de Soria la hija de María Núñez.")
    [paragraph] = paragraphs([document], min_chars=10, max_chars=60, report=ParagraphReport())
    assert [paragraph[slice(*fact.span)] for fact in find_facts(paragraph, 6)] == ["Soria", "María Núñez"]
