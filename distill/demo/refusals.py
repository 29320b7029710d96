"""What the page answers when it cannot answer: a status, and a friendly sentence in Spanish."""

from __future__ import annotations

from http import HTTPStatus


class Refusal(Exception):  # noqa: N818 - nothing is broken
    """A request that is not served; its message is shown to the person who asked, and says nothing of the inside."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


#: What to say to a request that never reached the models.
MESSAGES: dict[HTTPStatus, str] = {
    HTTPStatus.BAD_REQUEST: "No se entiende la petición.",
    HTTPStatus.FORBIDDEN: "Esta página solo se atiende a sí misma.",
    HTTPStatus.NOT_FOUND: "Aquí no hay nada con ese nombre.",
    HTTPStatus.METHOD_NOT_ALLOWED: "Esa operación no existe aquí.",
    HTTPStatus.REQUEST_TIMEOUT: "La petición ha tardado demasiado en llegar.",
    HTTPStatus.LENGTH_REQUIRED: "La petición no dice cuánto ocupa.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "El texto es demasiado largo. Acórtalo e inténtalo de nuevo.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "La pregunta tiene que llegar como JSON.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Algo ha fallado al responder. Inténtalo de nuevo.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Hay demasiadas preguntas a la vez. Inténtalo de nuevo en unos segundos.",
}


def refusal(status: HTTPStatus) -> Refusal:
    """Return the refusal of a status; any other client error counts as one that is not understood."""
    return Refusal(status, MESSAGES.get(status, MESSAGES[HTTPStatus.BAD_REQUEST]))
