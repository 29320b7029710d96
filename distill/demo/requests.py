"""A question as it arrives, checked before it costs anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

from distill.demo.refusals import Refusal, refusal


@dataclass(frozen=True)
class Limits:
    """The longest question that is answered, in characters."""

    question_chars: int = 300
    context_chars: int = 20_000

    @property
    def body_bytes(self) -> int:
        """Bytes of a request at most: JSON may write a character as two escapes of six bytes."""
        return 12 * (self.question_chars + self.context_chars) + 1024


def read_question(body: bytes, limits: Limits) -> tuple[str, str]:
    """Return the question and the context of a request, an object with ``question`` and ``context`` in JSON.

    Raises:
        Refusal: If it is not that, or a text is empty or too long.
    """
    try:
        raw = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise refusal(HTTPStatus.BAD_REQUEST) from None
    if not isinstance(raw, dict):
        raise refusal(HTTPStatus.BAD_REQUEST)
    return _text(raw, QUESTION, limits.question_chars), _text(raw, CONTEXT, limits.context_chars)


class _Field(NamedTuple):
    """A text of a request, and what to say when it is empty or too long."""

    key: str
    if_empty: str
    if_too_long: str


QUESTION = _Field(
    "question", "Escribe una pregunta.", "La pregunta es demasiado larga: caben {limit} caracteres. Acórtala."
)
CONTEXT = _Field(
    "context", "Escribe o pega un texto.", "El texto es demasiado largo: caben {limit} caracteres. Acórtalo."
)


def _text(raw: dict[str, Any], field: _Field, max_chars: int) -> str:
    value = raw.get(field.key, "")
    if not isinstance(value, str):
        raise refusal(HTTPStatus.BAD_REQUEST)
    if len(value) > max_chars:
        message = field.if_too_long.format(limit=f"{max_chars:,}".replace(",", "."))
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    if not value.strip():
        raise Refusal(HTTPStatus.BAD_REQUEST, field.if_empty)
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise refusal(HTTPStatus.BAD_REQUEST) from None
    return value
