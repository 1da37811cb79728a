"""What the Python face raises: the same from a manager and from a client, made from the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MilepostError(Exception):
    """Root of all errors of the Python face; the text tells a person what is wrong.

    `retry_after_s`: after how many seconds the same call may go through, where that is known. `idempotency_key`: the
    key under which a call was made that changes something; made again with it, it is done once in all.
    """

    retry_after_s: float | None = None
    idempotency_key: str | None = None

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
    """Milepost could not be reached, its database is away, or the same call is still in work, after all tries.

    It may be that the call was done: make it again with the error's `idempotency_key`.
    """


class ServerFault(MilepostError):
    """An answer that should not be: a fault of Milepost's, or of something between."""


_KINDS: Mapping[int, type[MilepostError]] = {
    400: AllocationExceeded,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    412: GoalMoved,
    413: InvalidField,
    425: Unavailable,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refusal(status: int, problem: object, retry_after: str | None = None) -> MilepostError:
    """The error for an answer of status 400 or above, with its parsed body and its Retry-After.

    A 409 that says when to try again is not refused: the first call under its key is still in work.
    """
    message = _detail(problem) or f"Milepost answered {status}"
    if status == 422:
        return InvalidField(message, _first_field(problem))
    # A date is not what Milepost sends, and counts as nothing.
    retry_after_s = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    kind = Unavailable if status == 409 and retry_after_s is not None else _KINDS.get(status, ServerFault)
    error = kind(message)
    error.retry_after_s = retry_after_s
    return error


def with_key(error: MilepostError, key: str | None) -> MilepostError:
    """The error with the key of its call; one whose outcome is not known says so."""
    error.idempotency_key = key
    if key is not None and isinstance(error, Unavailable | ServerFault):
        error.message += "; it may have been done: to be sure, call again with the error's idempotency_key"
    return error


def _detail(problem: object) -> str | None:
    detail = problem.get("detail") if isinstance(problem, Mapping) else None
    return detail if isinstance(detail, str) else None


def _first_field(problem: Any) -> str | None:
    try:
        _, *server_config = problem["errors"][0]["loc"]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return ".".join(str(part) for part in server_config) or None
