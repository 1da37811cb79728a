"""The OpenAPI text of answers: the body of the good one, its headers, and the refusals that can come."""

from collections.abc import Collection, Sequence
from typing import Any

from api.errors import Problem

_REFUSALS: dict[int, str] = {
    304: "You have it already: the goal has not changed",
    400: "The shares of the goal's accounts would sum to more than 100%",
    401: "No key, or one that is unknown or revoked",
    403: "The key lacks the scope",
    404: "Not there, or not yours",
    408: "The body did not come within 60 s",
    409: "Does not go with the present state of the goal; or its Idempotency-Key is in use now, then with Retry-After",
    410: "Messages after `after` are deleted; `oldest` is the cursor from which on there are all",
    412: "The goal has changed since you read it; nothing was changed now",
    413: "The body is too large",
    415: "The body is compressed",
    422: "Does not parse or cannot be: `detail` names every field, `errors` has them one by one",
    429: "Too many requests of the tenant wait, there are too many streams, a rate limit is exceeded, or the tenant has"
    " reached a quota (then with `quota`, and without Retry-After)",
    500: "A fault of ours, with the `request_id` of its log line",
    501: "This Milepost has no stream of events",
    503: "The database or the stream is away or full; sent again under its Idempotency-Key it is done once",
}
_OTHERS = (
    "Any other refusal, in the same form: 405 with the methods that the path has, 400 for a request with two lengths,"
    " 408 for one whose head does not come within 10 s"
)

_HEADERS = {
    "Accept-Encoding": "identity",
    "Allow": "The methods that the path has",
    "Connection": "close",
    "ETag": "Stands for the goal at this version; give it back in If-Match or If-None-Match",
    "Idempotency-Replayed": "`true` if this is the answer that the request got the first time",
    "Link": 'The address of the next page with `rel="next"`; missing on the last page',
    "Location": "The path of what was created",
    "Retry-After": "After how many seconds to try again",
    "WWW-Authenticate": "Bearer",
}
_TEXT = {"type": "string"}
_SCHEMAS = {"Idempotency-Replayed": {"type": "string", "enum": ["true"]}, "Retry-After": {"type": "integer"}}
_HEADERS_OF_REFUSALS = {
    304: ("ETag",),
    401: ("WWW-Authenticate",),
    408: ("Connection",),
    409: ("Retry-After",),
    412: ("ETag",),
    413: ("Connection",),
    415: ("Accept-Encoding", "Connection"),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


# 422 too: a parameter that does not exist is refused everywhere.
_OF_ALL = frozenset({401, 403, 422, 429, 500, 503})
_OF_BODIES = frozenset({408, 413, 415})


def answers(
    status: int, model: Any, meaning: str, *refusals: int, headers: Sequence[str] = (), never: Collection[int] = ()
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: the good answer, what can always come (such as 401 and 503), and `refusals`.

    A route that can answer 413 reads a body, and so can answer 408 and 415 too. `headers` are those of the good answer;
    each must be described here. What the route can `never` answer is left out.
    """
    good = {"description": meaning, **_described(headers)}
    documented: dict[int | str, dict[str, Any]] = {status: good if model is None else {**good, "model": model}}
    with_body = _OF_BODIES if 413 in refusals else frozenset()
    for code in sorted({*_OF_ALL, *refusals, *with_body}.difference(never)):
        refusal = {"description": _REFUSALS[code], **_described(_HEADERS_OF_REFUSALS.get(code, ()))}
        documented[code] = refusal if code == 304 else {**refusal, "model": Problem}
    # With a default, FastAPI does not add its own form of a 422.
    documented["default"] = {"description": _OTHERS, **_described(("Allow", "Connection")), "model": Problem}
    return documented


def _described(headers: Sequence[str]) -> dict[str, Any]:
    if not headers:
        return {}
    return {"headers": {name: {"description": _HEADERS[name], "schema": _SCHEMAS.get(name, _TEXT)} for name in headers}}
