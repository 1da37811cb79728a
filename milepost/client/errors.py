"""The errors of the Python interface, the same from a manager and a client: both make them from the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


class MilepostError(Exception):
    """The root of all errors of the Python interface; the text says to a person what is wrong.

    `retry_after_s`: after how many seconds the same call may succeed, if that is known. `idempotency_key`: the key of a
    call that changes something; made again with this key, the call is carried out once in all. `may_pass`: the same
    call may succeed a little later.
    """

    may_pass = False
    retry_after_s: float | None = None
    idempotency_key: str | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        # KeyError would show it in quotes.
        return self.message


class InvalidField(MilepostError, ValueError):
    """A value does not parse or cannot be; `field` is the name of the first such one.

    `is_too_long`: the body of the request has more bytes than the server takes.
    """

    is_too_long = False

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field

    @classmethod
    def of(cls, field: str, message: str) -> InvalidField:
        """The refusal of one field."""
        return cls(f"{field}: {message}", field)


class AllocationExceeded(MilepostError, ValueError):
    """The shares of a goal's accounts would sum to more than 100%.

    `allocated_percent` is what the goal's other accounts have, `left_percent` what they leave; None if not known.
    """

    allocated_percent: Decimal | None = None
    left_percent: Decimal | None = None


class Conflict(MilepostError, ValueError):
    """The present state does not allow the change: the goal is final, or there is no such status move."""


class GoalMoved(Conflict):
    """The goal is not at the `version` that the change was meant for."""


class NotFound(MilepostError, KeyError):
    """There is no such goal, account or tenant, or it is not yours; `id` is that of the goal or account, if known."""

    id: str | None = None

    @classmethod
    def of(cls, what: str, id: Any) -> NotFound:
        """The error for what cannot be there, since its id can be none."""
        error = cls(f"{what}{_NOT_FOUND}")
        error.id = id if isinstance(id, str) else None
        return error


class Forgotten(MilepostError, LookupError):
    """Messages after a cursor are deleted already; those after `oldest`, also a cursor, are all there."""

    oldest: str | None = None


class NotAllowed(MilepostError, PermissionError):
    """The API key is unknown, revoked, or lacks a scope; or the application's own rules say no."""


class Unavailable(MilepostError, ConnectionError):
    """After all tries, Milepost could not be reached, its database is away, or the same call is still in progress.

    The call may have been carried out: make it again with the error's `idempotency_key`.
    """


class Closed(MilepostError, RuntimeError):
    """The manager was closed before the call."""

    def __init__(self, message: str = "this manager is closed") -> None:
        super().__init__(message)


class ServerFault(MilepostError):
    """An answer that Milepost should not give: a fault of its own, or of something between."""


_NOT_FOUND = " not found"
_TOO_LONG, _NOT_SET_UP = 413, 501
_KINDS: Mapping[int, type[MilepostError]] = {
    400: AllocationExceeded,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    410: Forgotten,
    412: GoalMoved,
    413: InvalidField,
    425: Unavailable,
    429: Unavailable,
    501: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refusal(status: int, problem: object, retry_after: str | None = None) -> MilepostError:
    """The error for an answer of status 400 or above, with its parsed body and its Retry-After.

    A 409 with a Retry-After is not a refusal: the first call under the same key is still in progress.
    """
    message = _detail(problem) or f"Milepost answered {status}"
    if status == 422:
        return InvalidField(message, _first_field(problem))
    # Milepost never sends a date here, so a date counts as no header.
    retry_after_s = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    kind = Unavailable if status == 409 and retry_after_s is not None else _KINDS.get(status, ServerFault)
    error = kind(message)
    # At a quota it does not help to wait.
    is_quota = isinstance(problem, Mapping) and "quota" in problem
    error.may_pass = kind is Unavailable and status != _NOT_SET_UP and not is_quota
    if isinstance(error, AllocationExceeded) and isinstance(problem, Mapping):
        error.allocated_percent = problem.get("allocated_percent")
        error.left_percent = problem.get("left_percent")
    if isinstance(error, Forgotten) and isinstance(problem, Mapping):
        error.oldest = problem.get("oldest")
    if isinstance(error, InvalidField):
        error.is_too_long = status == _TOO_LONG
    error.retry_after_s = retry_after_s
    return error


def with_key(error: MilepostError, key: str | None) -> MilepostError:
    """The error, now with the key of its call; if the outcome is not known, its text says so."""
    error.idempotency_key = key
    if key is not None and (error.may_pass or isinstance(error, ServerFault)):
        error.message += "; it may have been done: to be sure, call again with the error's idempotency_key"
    return error


def with_id(error: MilepostError, ids: Mapping[str, str]) -> MilepostError:
    """The error, now with the id of what it says is not found; `ids` has those of the request: {"Goal": "goal_1"}."""
    id = ids.get(error.message.removesuffix(_NOT_FOUND))
    if isinstance(error, NotFound) and id is not None:
        error.id = str(id)
    return error


def _detail(problem: object) -> str | None:
    detail = problem.get("detail") if isinstance(problem, Mapping) else None
    return detail if isinstance(detail, str) else None


def _first_field(problem: Any) -> str | None:
    try:
        _, *names = problem["errors"][0]["loc"]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return ".".join(str(part) for part in names) or None
