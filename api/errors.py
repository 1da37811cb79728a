"""How errors are answered: the status and body of each, all in one form and never with a traceback."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, NotRequired

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route
from typing_extensions import TypedDict

from api.auth import DeliveryRefused, ScopeMissing, Unauthenticated
from api.bodies import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldProblem,
    RequestRefused,
    TooManyBodies,
    field_problem,
)
from api.conditional import etag
from api.context import DatabaseAway, NoStreamServer
from api.limits import RateExceeded
from api.schemas.rendering import ExactResponse, Percent
from api.turns import TooManyRequests
from core.errors import (
    AllocationExceeded,
    Conflict,
    GoalMoved,
    InvalidField,
    KeyBusy,
    KeyReused,
    NotFound,
    ProviderBodyRefused,
    QuotaExceeded,
    SecretsUnreadable,
    StreamUnavailable,
)
from core.goals.money import WHOLE_PPM, from_ppm

RETRY_AFTER_S = 2
NO_PLACES: Mapping[str, str] = MappingProxyType({})


class Problem(TypedDict):
    """A refusal: `detail` is for a person. A 422 adds every problem with its place, a 500 the id of its log line.

    A 400 adds what a goal's other accounts have, in percent, and what they leave; a 429 the quota, if one is reached.
    """

    detail: Annotated[str, Field(description="what is wrong, as text for a person")]
    allocated_percent: Annotated[
        NotRequired[Percent], Field(description="of a 400: what the goal's other accounts have together, in percent")
    ]
    left_percent: Annotated[NotRequired[Percent], Field(description="of a 400: what they leave, in percent")]
    oldest: Annotated[NotRequired[str], Field(description="of a 410: the cursor from which on there are all")]
    quota: Annotated[NotRequired[int], Field(description="of a 429: the quota that is reached, if it is one")]
    errors: Annotated[NotRequired[list[FieldProblem]], Field(description="of a 422: each problem with its place")]
    request_id: Annotated[NotRequired[str], Field(description="of a 500: the id of its log line")]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to an error: its status, body and headers. `cause` is for the log, if the body says too little."""

    status: int
    problem: Problem
    headers: Mapping[str, str] = field(default_factory=dict)
    cause: str | None = None


def refusal_of(error: Exception, *, method: str, places: Mapping[str, str] = NO_PLACES) -> Refusal | None:
    """The answer to an error of ours that a request with this method raised; None for any other error.

    None also for errors of ours about which no caller can do anything: they become 500s. `places` says of the
    parameters of the route whether they are in its `path` or in its `query`.
    """
    match error:
        case Unauthenticated():
            return _with_detail(401, str(error), {"WWW-Authenticate": "Bearer"})
        case ScopeMissing():
            return _with_detail(403, str(error))
        case BodyTooLarge():
            return _with_detail(413, str(error), {"Connection": "close"})
        case DeliveryRefused():
            return Refusal(401, {"detail": str(error)}, {"WWW-Authenticate": error.challenge}, error.reason)
        case BodyTooSlow():
            return _with_detail(408, str(error), {"Connection": "close"})
        case TooManyBodies():
            return Refusal(503, {"detail": f"{error}; try again"}, {"Retry-After": str(RETRY_AFTER_S)})
        case RateExceeded():
            wait_s = math.ceil(error.state.wait_s)
            return _with_detail(429, str(error), {**error.state.headers, "Retry-After": str(max(1, wait_s))})
        case QuotaExceeded():
            return Refusal(429, {"detail": str(error), "quota": error.most})
        case TooManyRequests():
            return Refusal(429, {"detail": f"{error}; try again"}, {"Retry-After": str(RETRY_AFTER_S)})
        case NoStreamServer():
            return _with_detail(501, str(error))
        case EncodingRefused():
            return _with_detail(415, str(error), {"Accept-Encoding": "identity", "Connection": "close"})
        case RequestRefused():
            return _unprocessable(error)
        case RequestValidationError():
            return _unprocessable(RequestRefused([field_problem(found) for found in error.errors()]))
        case DatabaseAway():
            return _unavailable(str(error), error.__cause__ or error)
        case _:
            return _refused_by_core(error, method, places)


def answer_to(request: Request, error: Exception, places: Mapping[str, str] = NO_PLACES) -> Response | None:
    """The response to an error of ours; None for an error that is not ours to answer. `places` as in `refusal_of`."""
    refusal = refusal_of(error, method=request.method, places=places)
    return None if refusal is None else _response_to(request, refusal)


def answer_errors(app: FastAPI) -> None:
    """Have our own app answer what its routes leave to it: unknown paths and methods, and a stream server that is away.

    All other errors become 500s, which `Tracing` answers.
    """
    for kind in (HTTPException, RedisError):
        app.add_exception_handler(kind, _answer)


def _refused_by_core(error: Exception, method: str, places: Mapping[str, str]) -> Refusal | None:
    match error:
        case InvalidField():
            where = places.get(error.field, "query" if method == "GET" else "body")
            return _unprocessable_at([where, *error.place], error.message)
        case KeyReused():
            return _unprocessable_at(["header", "Idempotency-Key"], str(error))
        case AllocationExceeded():
            allocated, left = from_ppm(error.others_ppm), from_ppm(max(0, WHOLE_PPM - error.others_ppm))
            return Refusal(400, {"detail": str(error), "allocated_percent": allocated, "left_percent": left})
        case NotFound():
            return _with_detail(404, str(error))
        case KeyBusy():
            return _with_detail(409, str(error), {"Retry-After": str(RETRY_AFTER_S)})
        # A status move that is not allowed, a final goal, an amount that follows its accounts.
        case Conflict():
            return _with_detail(409, str(error))
        case GoalMoved():
            return _with_detail(412, str(error), {"ETag": etag(error.goal_id, error.version)})
        case ProviderBodyRefused():
            return _unprocessable_at(["body", *filter(None, [error.where])], error.message, error.code)
        case SecretsUnreadable():
            return _unavailable("The secrets of webhooks cannot be read", error)
        case StreamUnavailable():
            return _unavailable(f"The event stream is not available: {error}", error)
        case _:
            return None


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods_of(request))
        return _response_to(request, _with_detail(error.status_code, str(error.detail), headers))
    return _response_to(request, _unavailable("The event stream is not available", error))


def _methods_of(request: Request) -> list[str]:
    """The methods of all routes that the request's path has; the router names those of the first one alone."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _response_to(request: Request, refusal: Refusal) -> Response:
    if refusal.cause is not None:
        request.state.milepost_cause = refusal.cause
    return ExactResponse(refusal.problem, status_code=refusal.status, headers=dict(refusal.headers))


def _unavailable(what: str, cause: BaseException) -> Refusal:
    line = f"{type(cause).__name__}: {getattr(cause, 'orig', cause)}".splitlines()[0]
    return Refusal(503, {"detail": f"{what}; try again"}, {"Retry-After": str(RETRY_AFTER_S)}, line)


def _unprocessable_at(loc: Sequence[str | int], message: str, type: str = "value_error") -> Refusal:
    return _unprocessable(RequestRefused([{"loc": list(loc), "msg": message, "type": type}]))


def _unprocessable(error: RequestRefused) -> Refusal:
    return Refusal(422, {"detail": str(error), "errors": list(error.problems)})


def _with_detail(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Refusal:
    return Refusal(status, {"detail": detail}, headers or {})
