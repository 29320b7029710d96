import re
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.metrics.normalize import LANGUAGES, normalize_mlqa, normalize_squad

SPANISH = [
    ("La Universidad de Sevilla", "universidad de sevilla"),
    ("¿quién?", "quién"),
    ("«El Quijote»", "quijote"),
    ("un perro y una gata", "perro y gata"),
    ("las  islas\tCanarias\n", "islas canarias"),
    ("EE.UU.", "eeuu"),
    ("el 3-4 %", "34"),
    ("1.234,5 km²", "12345 km²"),
    ("100 €", "100 €"),
    ("100 $", "100"),
    ("a+b=c", "abc"),
    ("“cita” — raya", "cita raya"),
    ("vitamina A", "vitamina a"),
    ("Él", "él"),
    ("lana de la laguna", "lana de laguna"),
    ("el-la", "ella"),
    ("ÑANDÚ", "ñandú"),
    ("L.A.", ""),
    ("unos / unas", ""),
    ("", ""),
    ("\u200b", "\u200b"),
    ("nin\u0303o", "nin\u0303o"),
    ("lo bueno", "lo bueno"),
]


@pytest.mark.parametrize(("text", "expected"), SPANISH)
def test_mlqa_spanish(text, expected):
    assert normalize_mlqa(text, "es") == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "The  end, a story", "end story"),
        ("de", "Die Stadt des Königs", "stadt königs"),
        ("vi", "những con mèo của tôi", "con mèo tôi"),
        ("hi", "एक शहर।", "एक शहर"),
        ("zh", "北京 2008年奥运会", "北 京 2008 年 奥 运 会"),
        ("ar", "الكتاب", "كتاب"),
    ],
)
def test_mlqa_other_languages(language, text, expected):
    assert normalize_mlqa(text, language) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_mlqa_is_idempotent_on_plain_words(language):
    once = normalize_mlqa("Hola, Mundo 2024!", language)
    assert normalize_mlqa(once, language) == once


def test_mlqa_refuses_unknown_language():
    with pytest.raises(ValueError, match="unknown language 'xx'"):
        normalize_mlqa("hola", "xx")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Denver  Broncos!", "denver broncos"),
        ("vitamina A", "vitamina"),
        ("¿quién?", "¿quién"),
        ("«El Quijote»", "«el quijote»"),
        ("an apple-pie", "applepie"),
        ("another theory", "another theory"),
        ("the", ""),
    ],
)
def test_squad(text, expected):
    assert normalize_squad(text) == expected


@given(st.text(st.sampled_from("aAáñß İ¿¡.,«»–$+~<_the unaEL中\u0301\n\u2009\U0001f600"), max_size=30))
def test_punctuation_is_what_its_category_says(text):
    def is_punctuation(character):
        return character in string.punctuation or unicodedata.category(character).startswith("P")

    spanish = "".join(character for character in text.lower() if not is_punctuation(character))
    assert normalize_mlqa(text, "es") == " ".join(re.sub(r"\b(un|una|unos|unas|el|la|los|las)\b", " ", spanish).split())
    english = "".join(character for character in text.lower() if character not in string.punctuation)
    assert normalize_squad(text) == " ".join(re.sub(r"\b(a|an|the)\b", " ", english).split())
