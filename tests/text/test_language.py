import pytest

from distill.text.language import OTHER_WORDS, SPANISH_WORDS, LanguageCheck
from distill.text.report import TextReport
from distill.types import UserError

SPANISH = (
    "La ciudad de Madrid es la capital de España y tiene una población de unos tres millones de habitantes que viven "
    "en una superficie de seiscientos kilómetros cuadrados, como se ve en el mapa."
)
FOREIGN = {
    "en": "The quick brown fox jumps over the lazy dog and he has no idea of what to do with a large number of people "
    "who are in the city, no matter what we say about it or to me.",
    "pt": "A cidade de Lisboa é a capital de Portugal e a maior cidade do país, com uma população de mais de meio "
    "milhão de habitantes que vivem em uma área de cem quilômetros quadrados, como se pode ver no mapa.",
    "it": "La città di Roma è la capitale d'Italia e ha una popolazione di circa tre milioni di abitanti che vivono in "
    "una area di oltre mille chilometri quadrati, come si può vedere nella mappa della regione.",
    "fr": "La ville de Paris est la capitale de la France et compte environ deux millions d'habitants qui vivent dans "
    "une zone de cent kilomètres carrés, comme on peut le voir sur la carte de la région.",
    "ru": "Москва является столицей России и самым большим городом страны. " * 5,
    "ja": "東京は日本の首都である。" * 20,
}


def test_spanish_passes_by_a_wide_margin():
    assert LanguageCheck().score(SPANISH) > 3 * LanguageCheck().threshold


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_are_told_apart(language):
    assert LanguageCheck().score(FOREIGN[language]) < LanguageCheck().threshold


def test_score_is_the_margin_of_words_times_the_share_of_letters():
    # 20 words: 10 Spanish ones, 2 English ones; 2 of 80 letters are not of the alphabet.
    text = " ".join(["unos"] * 10 + ["with"] * 2 + ["abcd"] * 7 + ["abçç"])
    assert LanguageCheck().score(text) == pytest.approx((10 - 2) / 20 * 78 / 80)


@pytest.mark.parametrize("text", ["", "12 34 / 56", "Artículo único."])
def test_too_few_words_are_not_judged(text):
    report = TextReport()
    assert LanguageCheck(drop=True).score(text) is None
    assert LanguageCheck(drop=True).keeps(text, report)
    assert report.unjudged == 1


@pytest.mark.parametrize("drop", [False, True])
def test_foreign_documents_are_counted_and_dropped_only_on_request(drop):
    report = TextReport()
    check = LanguageCheck(drop=drop)
    assert check.keeps(SPANISH, report)
    assert check.keeps(FOREIGN["en"], report) is not drop
    assert (report.foreign, report.foreign_dropped) == (1, int(drop))


def test_long_documents_are_judged_by_beginning_middle_and_end():
    spanish, english = SPANISH * 60, FOREIGN["en"] * 60
    mixed = LanguageCheck().score(spanish + spanish + english)
    assert LanguageCheck().score(english) < mixed < LanguageCheck().score(spanish)


def test_word_lists_do_not_overlap():
    assert not SPANISH_WORDS & OTHER_WORDS


def test_threshold_out_of_range_is_refused():
    with pytest.raises(UserError, match="threshold must be between 0 and 1, not 15"):
        LanguageCheck(threshold=15)
