"""How errors go out: which answer each refusal gets, all of one shape and never with a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NotRequired

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import TypedDict

from api.auth import ScopeMissing, Unauthenticated
from api.bodies import BodyTooLarge, FieldProblem, RequestRefused, field_problem
from api.etags import etag
from api.rendering import ExactResponse
from core.errors import (
    AllocationExceeded,
    Conflict,
    GoalMoved,
    InvalidField,
    KeyReused,
    MilepostError,
    NotFound,
    StreamUnavailable,
)
from core.store.engine import is_database_trouble

RETRY_AFTER_S = 2


class Problem(TypedDict):
    """A refusal: `detail` tells a person; a 422 adds what is wrong place by place, a 500 the id it is logged under."""

    detail: str
    errors: NotRequired[list[FieldProblem]]
    request_id: NotRequired[str]


def answer_errors(app: FastAPI) -> None:
    """Teach the app the answer to every error that may be met; all others are 500s, made by the tracing."""
    for kind in (MilepostError, HTTPException, RequestValidationError, DBAPIError, PoolTimeout, RedisError):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    match error:
        case Unauthenticated():
            return _problem(401, str(error), {"WWW-Authenticate": "Bearer"})
        case ScopeMissing():
            return _problem(403, str(error))
        case BodyTooLarge():
            return _problem(413, str(error), {"Connection": "close"})
        case RequestRefused():
            return _refusal(error)
        case RequestValidationError():
            return _refusal(RequestRefused([field_problem(found) for found in error.errors()]))
        case HTTPException():
            return _problem(error.status_code, str(error.detail), error.headers)
        case MilepostError():
            return _refused_by_core(request, error)
        case _:
            return _backend_trouble(request, error)


def _refused_by_core(request: Request, error: MilepostError) -> Response:
    match error:
        case InvalidField():
            place = "query" if request.method == "GET" else "body"
            return _refused_at([place, error.field], error.message)
        case KeyReused():
            return _refused_at(["header", "Idempotency-Key"], str(error))
        case AllocationExceeded():
            return _problem(400, str(error))
        case NotFound():
            return _problem(404, str(error))
        case Conflict():
            return _problem(409, str(error))
        case GoalMoved():
            return _problem(412, str(error), {"ETag": etag(error.goal_id, error.version)})
        case StreamUnavailable():
            return _away(request, f"The event stream is not available: {error}", error)
        case _:
            raise error  # nothing that a caller could mend: a 500


def _backend_trouble(request: Request, error: Exception) -> Response:
    """A server that is away or overloaded is a 503; any other database error is a fault of ours."""
    if isinstance(error, RedisError):
        return _away(request, "The event stream is not available", error)
    if isinstance(error, PoolTimeout) or is_database_trouble(error):
        return _away(request, "The database is not available", error)
    raise error


def _away(request: Request, what: str, error: Exception) -> Response:
    request.state.cause = f"{type(error).__name__}: {getattr(error, 'orig', error)}".splitlines()[0]
    return _problem(503, f"{what}; try again", {"Retry-After": str(RETRY_AFTER_S)})


def _refused_at(loc: Sequence[str | int], message: str) -> Response:
    return _refusal(RequestRefused([{"loc": list(loc), "msg": message, "type": "value_error"}]))


def _refusal(error: RequestRefused) -> Response:
    body: Problem = {"detail": str(error), "errors": list(error.problems)}
    return ExactResponse(body, status_code=HTTPStatus.UNPROCESSABLE_ENTITY)


def _problem(status: int, detail: str, headers: Any = None) -> Response:
    body: Problem = {"detail": detail}
    return ExactResponse(body, status_code=status, headers=headers)
