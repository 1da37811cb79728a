"""The OpenAPI text of answers: the body of the good one, its headers, and the refusals that can come."""

from collections.abc import Sequence
from typing import Any

from api.errors import Problem

_REFUSALS: dict[int, str] = {
    304: "You have it already: the goal has not changed",
    400: "The shares of the goal's accounts would sum to more than 100%",
    401: "No key, or one that is unknown or revoked",
    403: "The key lacks the scope",
    404: "Not there, or not yours",
    409: "Does not go with the present state of the goal; or its Idempotency-Key is in use now, then with Retry-After",
    412: "The goal has changed since you read it; nothing was changed now",
    413: "The body is too large",
    415: "The body is compressed",
    422: "Does not parse or cannot be: `detail` names every field, `errors` has them one by one",
    429: "So many requests of the tenant wait already that this one was not begun",
    503: "The database or the stream is away or full; sent again under its Idempotency-Key it is done once",
}
_OTHERS = "Any other refusal, in the same form: 405, and 500 with the `request_id` of its log line"

_HEADERS = {
    "Accept-Encoding": "identity",
    "ETag": "Stands for the goal at this version; give it back in If-Match or If-None-Match",
    "Idempotency-Replayed": "`true` if this is the answer that the request got the first time",
    "Link": 'The address of the next page with `rel="next"`; missing on the last page',
    "Location": "The path of what was created",
    "Retry-After": "After how many seconds to try again",
    "WWW-Authenticate": "Bearer",
}
_HEADERS_OF_REFUSALS = {
    304: ("ETag",),
    401: ("WWW-Authenticate",),
    409: ("Retry-After",),
    412: ("ETag",),
    415: ("Accept-Encoding",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def answers(
    status: int, model: Any, meaning: str, *refusals: int, headers: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: the good answer, 401, 403, 429 and 503, which can always come, and `refusals`.

    A route that can answer 413 can answer 415 too. `headers` are those of the good answer; each must be described here.
    """
    good = {"description": meaning, **_described(headers)}
    documented: dict[int | str, dict[str, Any]] = {status: good if model is None else {**good, "model": model}}
    with_body = {415} if 413 in refusals else set()
    for code in sorted({401, 403, 429, 503, *refusals, *with_body}):
        refusal = {"description": _REFUSALS[code], **_described(_HEADERS_OF_REFUSALS.get(code, ()))}
        documented[code] = refusal if code == 304 else {**refusal, "model": Problem}
    # With a default, FastAPI does not add its own form of a 422.
    documented["default"] = {"description": _OTHERS, "model": Problem}
    return documented


def _described(headers: Sequence[str]) -> dict[str, Any]:
    if not headers:
        return {}
    return {"headers": {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers}}
