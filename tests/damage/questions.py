"""Damaged question files: by hand, one for each thing that goes wrong in practice, and generated."""

from __future__ import annotations

import copy
import json
import unicodedata
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.conftest import squad_document

Document = dict[str, Any]


def encode(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8")


def _changed(change: Callable[[Document], Any]) -> bytes:
    document = squad_document(12)
    result = change(document)
    return encode(document if result is None else result)


def _question(document: Document, paragraph: int = 0, question: int = 0) -> dict[str, Any]:
    return document["data"][0]["paragraphs"][paragraph]["qas"][question]


def _set(key: str, value: Any) -> bytes:
    return _changed(lambda document: _question(document).__setitem__(key, value))


def _answer(key: str, value: Any) -> bytes:
    return _changed(lambda document: _question(document)["answers"][0].__setitem__(key, value))


def _context(make: Callable[[str], str]) -> bytes:
    def change(document: Document) -> None:
        paragraph = document["data"][0]["paragraphs"][0]
        paragraph["context"] = make(paragraph["context"])

    return _changed(change)


def _without(key: str, *path: Any) -> bytes:
    def change(document: Document) -> None:
        node: Any = document
        for step in path:
            node = node[step]
        del node[key]

    return _changed(change)


def _all_text(make: Callable[[str], str]) -> bytes:
    """Rewrite every text; offsets are found again where the answer still occurs."""

    def change(document: Document) -> None:
        for paragraph in document["data"][0]["paragraphs"]:
            paragraph["context"] = make(paragraph["context"])
            for question in paragraph["qas"]:
                question["question"] = make(question["question"])
                for answer in question["answers"]:
                    made = make(answer["text"])
                    answer["text"] = made if made in paragraph["context"] else answer["text"]
                    answer["answer_start"] = paragraph["context"].index(answer["text"])

    return _changed(change)


def _shift_all(by: int) -> bytes:
    def change(document: Document) -> None:
        for paragraph in document["data"][0]["paragraphs"]:
            for question in paragraph["qas"]:
                for answer in question["answers"]:
                    answer["answer_start"] += by

    return _changed(change)


def _emoji() -> bytes:
    """Offsets counted in UTF-16 units, as JavaScript counts: inside or behind a surrogate pair."""

    def change(document: Document) -> None:
        paragraph = document["data"][0]["paragraphs"][0]
        paragraph["context"] = "😀😀 " + paragraph["context"]
        for question in paragraph["qas"]:
            for answer in question["answers"]:
                answer["answer_start"] += 5

    return _changed(change)


_PLAIN = encode(squad_document())
_PARAGRAPH = ("data", 0, "paragraphs", 0)
_QUESTION = (*_PARAGRAPH, "qas", 0)

#: Name to content of the file.
BY_HAND: dict[str, bytes] = {
    "empty file": b"",
    "white space": b"  \n",
    "zero bytes": bytes(64),
    "truncated at half": _PLAIN[: len(_PLAIN) // 2],
    "truncated inside a character": _PLAIN[: _PLAIN.index("í".encode()) + 1],
    "truncated by one": _PLAIN[:-1],
    "two documents": _PLAIN + _PLAIN,
    "trailing comma": _PLAIN[:-1] + b",}",
    "single quotes": _PLAIN.replace(b'"', b"'"),
    "CSV renamed JSON": "pregunta,contexto\n¿Qué?,Nada\n".encode(),
    "HTML error page": b"<!DOCTYPE html><html><body>404</body></html>",
    "git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
    "zip archive": b"PK\x03\x04" + bytes(range(256)),
    "JSON lines": b'{"id": "1"}\n{"id": "2"}\n',
    "UTF-16": _PLAIN.decode().encode("utf-16"),
    "UTF-32": _PLAIN.decode().encode("utf-32"),
    "Latin-1": _PLAIN.decode().encode("latin-1"),
    "Windows-1252 quotes": _PLAIN.replace(b"En cambio", b"\x93En cambio\x94"),
    "UTF-8 twice": _PLAIN.decode().encode().decode("latin-1").encode(),
    "byte order mark": b"\xef\xbb\xbf" + _PLAIN,
    "Windows line ends": json.dumps(squad_document(), indent=1).replace("\n", "\r\n").encode(),
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "nested context": _context(lambda text: text).replace(b'"context": "', b'"context": [' * 1000 + b'"', 1),
    "number of 5,000 digits": _answer("answer_start", 0).replace(
        b'"answer_start": 0', b'"answer_start": ' + b"9" * 5000, 1
    ),
    "list at the top": b"[]",
    "text at the top": b'"data"',
    "null at the top": b"null",
    "NaN at the top": b"NaN",
    "no data": encode({"version": "v2.0"}),
    "data is an object": encode({"data": {}}),
    "no articles": encode({"data": []}),
    "article is text": encode({"data": ["Personas"]}),
    "no paragraphs": encode({"data": [{"title": "a", "paragraphs": []}]}),
    "paragraphs missing": encode({"data": [{"title": "a"}]}),
    "no questions": encode({"data": [{"paragraphs": [{"context": "Texto.", "qas": []}]}]}),
    "title is a number": _changed(lambda document: document["data"][0].__setitem__("title", 3)),
    "context missing": _without("context", *_PARAGRAPH),
    "context empty": _context(lambda _: ""),
    "context blank": _context(lambda _: " \t\n\u00a0"),
    "context null": _changed(lambda document: document["data"][0]["paragraphs"][0].__setitem__("context", None)),
    "qas missing": _without("qas", *_PARAGRAPH),
    "id missing": _without("id", *_QUESTION),
    "id empty": _set("id", ""),
    "id a number": _set("id", 7),
    "id of another": _set("id", "q-3-1"),
    "question missing": _without("question", *_QUESTION),
    "question empty": _set("question", ""),
    "question null": _set("question", None),
    "question a list": _set("question", ["¿Qué?"]),
    "question of 5,000 words": _set("question", "¿Dónde " * 5000),
    "answers missing": _without("answers", *_QUESTION),
    "answers null": _set("answers", None),
    "answers as the hub has them": _set("answers", {"text": ["Cádiz"], "answer_start": [19]}),
    "answers are text": _set("answers", ["Cádiz"]),
    "answers empty": _set("answers", []),
    "answer text missing": _without("text", *_QUESTION, "answers", 0),
    "answer text empty": _answer("text", ""),
    "answer text blank": _answer("text", "  "),
    "answer text null": _answer("text", None),
    "answer text elsewhere": _answer("text", "Barcelona"),
    "answer text of another case": _answer("text", "CÁDIZ"),
    "answer with a space more": _answer("text", " Cádiz "),
    "answer is the whole context": _changed(
        lambda document: _question(document)["answers"][0].update(
            text=document["data"][0]["paragraphs"][0]["context"], answer_start=0
        )
    ),
    "answer_start missing": _without("answer_start", *_QUESTION, "answers", 0),
    "answer_start null": _answer("answer_start", None),
    "answer_start text": _answer("answer_start", "19"),
    "answer_start a fraction": _answer("answer_start", 19.5),
    "answer_start true": _answer("answer_start", True),
    "answer_start -1": _answer("answer_start", -1),
    "answer_start far out": _answer("answer_start", 10**9),
    "answer_start 10^300": _answer("answer_start", 10**300),
    "answer_start NaN": _answer("answer_start", float("nan")),
    "answer_start 1e400": _answer("answer_start", 0).replace(b'"answer_start": 0', b'"answer_start": 1e400', 1),
    "all wrong by one": _shift_all(1),
    "all one early": _shift_all(-1),
    "one wrong by one": _answer("answer_start", 22),
    "offsets in UTF-16 units": _emoji(),
    "half of a surrogate pair in the context": _PLAIN.replace(b'"context": "', b'"context": "\\ud83d', 1),
    "half of a surrogate pair in the question": _PLAIN.replace(b'"question": "', b'"question": "\\ude00', 1),
    "half of a surrogate pair in the id": _PLAIN.replace(b'"id": "', b'"id": "\\ud83d', 1),
    "is_impossible with answers": _set("is_impossible", True),
    "is_impossible text": _set("is_impossible", "false"),
    "is_impossible 0": _set("is_impossible", 0),
    "tags not a list": _set("tags", "nueva"),
    "tag reserved": _set("tags", ["has_answer"]),
    "tag null": _set("tags", [None]),
    "NFD text": _all_text(lambda text: unicodedata.normalize("NFD", text)),
    "NFD context, NFC answers": _context(lambda text: unicodedata.normalize("NFD", text)),
    "zero-width spaces": _all_text(lambda text: text.replace(" ", "\u200b ")),
    "soft hyphens": _all_text(lambda text: text.replace("nació", "na\u00adció")),
    "right-to-left marks": _all_text(lambda text: "\u202e" + text + "\u202c"),
    "Arabic and Hebrew": _context(lambda text: text + " وُلد في قادس. נולד בקדיס."),
    "control characters": _all_text(lambda text: text.replace(" ", "\u0007 ")),
    "null characters": _all_text(lambda text: text.replace(" ", "\u0000 ")),
    "private use and unassigned": _all_text(lambda text: text + " \ue000\U000e0001\uffff"),
    "combining marks": _context(lambda text: text + " Z" + "\u0301" * 2000),
    "emoji families": _context(lambda text: text + " 👩‍👩‍👧‍👦" * 50),
    "context of 100,000 characters": _context(lambda text: text + " más texto" * 10_000),
    "word of 100,000 characters": _context(lambda text: text + " " + "a" * 100_000),
    "context of spaces": _context(lambda text: text + " " * 100_000),
    "context a special token": _context(lambda text: text + " <s></s><mask><pad>"),
    "same question twice in an article": _changed(
        lambda document: document["data"][0]["paragraphs"].append(copy.deepcopy(document["data"][0]["paragraphs"][0]))
    ),
    "unknown keys": _changed(lambda document: document.update(extra={"a": [1, 2]})),
}

_STRANGE = st.sampled_from(
    [None, True, 0, -1, 10**30, 1.5, "", " ", "x", "\u200b", [], [None], {}, {"text": 3}, float("nan"), float("inf")]
)


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(node for key, child in children for node in _nodes(child, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a question file with something removed, replaced, repeated, cut off, turned or shifted."""
    document = squad_document(12)
    kind = draw(st.sampled_from(["remove", "replace", "repeat", "cut", "bytes", "shift", "text"]))
    if kind in ("cut", "bytes"):
        content = encode(document)
        place = draw(st.integers(0, len(content) - 1))
        return content[:place] + (
            b"" if kind == "cut" else draw(st.binary(min_size=1, max_size=3)) + content[place + 1 :]
        )
    if kind in ("shift", "text"):
        question = _question(document, draw(st.integers(0, 11)), draw(st.integers(0, 1)))
        if kind == "shift":
            question["answers"][0]["answer_start"] += draw(st.sampled_from([-100, -2, -1, 1, 2, 100, 10**18]))
        else:
            part = draw(st.sampled_from(["question", "answer"]))
            text = draw(st.text(max_size=20))
            (question if part == "question" else question["answers"][0])[
                "question" if part == "question" else "text"
            ] = text
        return json.dumps(document).encode()
    *path, last = draw(st.sampled_from(_nodes(document)[1:]))
    node: Any = document
    for step in path:
        node = node[step]
    if kind == "remove":
        del node[last]
    elif kind == "repeat" and isinstance(node, list):
        node.append(copy.deepcopy(node[last]))
    else:
        node[last] = draw(_STRANGE)
    return json.dumps(document).encode()
