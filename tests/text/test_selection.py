from distill.text.language import LanguageCheck
from distill.text.report import TextReport
from distill.text.selection import DocumentFilter

ENGLISH = "The cat sat on the mat and the dog was with it, as they had been for most of the day at the old house."


def test_documents_that_came_before_are_dropped_across_calls():
    report = TextReport()
    keep = DocumentFilter(report)
    assert list(keep(["Uno  dos", "tres", "uno dos"])) == ["Uno  dos", "tres"]
    assert list(keep(["TRES", "cuatro"])) == ["cuatro"]
    assert report.duplicates == 2


def test_documents_are_kept_and_counted_where_nothing_says_otherwise():
    report = TextReport()
    keep = DocumentFilter(report, deduplicate=False, language=LanguageCheck())
    assert list(keep([ENGLISH, ENGLISH])) == [ENGLISH, ENGLISH]
    assert (report.duplicates, report.foreign, report.foreign_dropped) == (0, 2, 0)


def test_foreign_documents_are_dropped_where_the_check_says_so():
    report = TextReport()
    assert list(DocumentFilter(report, language=LanguageCheck(drop=True))([ENGLISH, "uno"])) == ["uno"]
    assert (report.foreign_dropped, report.unjudged) == (1, 1)
