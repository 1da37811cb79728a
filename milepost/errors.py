"""What the Python face raises: the same from a manager and from a client, made from the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MilepostError(Exception):
    """Root of all errors of the Python face; the text tells a person what is wrong.

    `retry_after_s`: after how many seconds the same call may go through, where that is known.
    """

    retry_after_s: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        # KeyError would show it in quotes.
        return self.message


class InvalidField(MilepostError, ValueError):
    """A value that does not parse or cannot be; `field` is the name of the (first) one."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    @classmethod
    def of(cls, field: str, message: str) -> InvalidField:
        """The refusal of one field."""
        return cls(f"{field}: {message}", field)


class AllocationExceeded(MilepostError, ValueError):
    """The shares of a goal's accounts would sum to more than 100%."""


class Conflict(MilepostError, ValueError):
    """What was asked for does not go with the present state: a final goal, a status move that does not exist."""


class GoalMoved(Conflict):
    """The goal is not at the `version` that the change was meant for."""


class NotFound(MilepostError, KeyError):
    """There is no such goal, account or tenant, or it is not yours."""


class NotAllowed(MilepostError, PermissionError):
    """The API key is unknown, revoked, or lacks a scope; or the application's own rules say no."""


class Unavailable(MilepostError, ConnectionError):
    """Milepost could not be reached, or its database is away, after all tries.

    Where it is not known whether the call was done, `idempotency_key` is its key: made again with it, it is done once.
    """

    idempotency_key: str | None = None


class ServerFault(MilepostError):
    """An answer that should not be: a fault of Milepost's, or of something between."""


_KINDS: Mapping[int, type[MilepostError]] = {
    400: AllocationExceeded,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    412: GoalMoved,
    413: InvalidField,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refusal(status: int, problem: object) -> MilepostError:
    """The error for an answer of status 400 or above, with `problem`, its parsed body or its text."""
    message = _detail(problem) or f"Milepost answered {status}"
    if status == 422:
        return InvalidField(message, _first_field(problem))
    return _KINDS.get(status, ServerFault)(message)


def _detail(problem: object) -> str | None:
    detail = problem.get("detail") if isinstance(problem, Mapping) else None
    return detail if isinstance(detail, str) else None


def _first_field(problem: Any) -> str | None:
    try:
        _, *place = problem["errors"][0]["loc"]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return ".".join(str(part) for part in place) or None
