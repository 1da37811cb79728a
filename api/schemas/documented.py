"""What the OpenAPI text says of answers: the body of the good one, its headers, and the refusals that can come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.errors import Problem

_REFUSALS: dict[int, str] = {
    304: "You have it already: the goal is as it was",
    400: "The shares of the goal's accounts would sum to more than 100%",
    401: "No key, or one that is unknown or revoked",
    403: "The key lacks the scope",
    404: "Not there, or not yours",
    409: "Does not go with the present state of the goal; or its Idempotency-Key is in use now, then with Retry-After",
    412: "The goal has changed since you read it; nothing was changed now",
    413: "The body is too large",
    415: "The body is compressed",
    422: "Does not parse or cannot be: `detail` names every field, `errors` has them one by one",
    503: "The database or the stream is away or full; sent again under its Idempotency-Key it is done once",
}
_OTHERS = "Any other refusal, in the same form: 405, and 500 with the `request_id` under which it was logged"

_HEADERS = {
    "Accept-Encoding": "identity",
    "ETag": "Stands for the goal at this version; give it back in If-Match or If-None-Match",
    "Idempotency-Replayed": "`true` if this is the answer that the request got when it came first",
    "Link": 'The address of the next page with `rel="next"`; not there on the last one',
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
    503: ("Retry-After",),
}


def answers(
    status: int, model: Any, meaning: str, *refusals: int, headers: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: 401, 403 and 503 can always come, `refusals` are the others; with 413 goes 415.

    `headers` are those of the good answer; each must be one that is described here.
    """
    good = {"description": meaning, **_described(headers)}
    found: dict[int | str, dict[str, Any]] = {status: good if model is None else {**good, "model": model}}
    of_bodies = {415} if 413 in refusals else set()
    for code in sorted({401, 403, 503, *refusals, *of_bodies}):
        refusal = {"description": _REFUSALS[code], **_described(_HEADERS_OF_REFUSALS.get(code, ()))}
        found[code] = refusal if code == 304 else {**refusal, "model": Problem}
    # It also keeps FastAPI from describing a 422 of its own form.
    found["default"] = {"description": _OTHERS, "model": Problem}
    return found


def _described(headers: Sequence[str]) -> dict[str, Any]:
    if not headers:
        return {}
    return {"headers": {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers}}
