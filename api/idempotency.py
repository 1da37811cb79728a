"""Changes under an Idempotency-Key: the first acts, and whoever sends it again gets the answer that it got."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Header, Request
from starlette.responses import Response

from api.bodies import HeaderRefused
from api.context import RequestContext
from api.paths import own_address_of
from core.services.idempotency import KeyedRequest, find_answer, keep_answer
from core.store.idempotency import KeyedAnswer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_FIT = re.compile(r"[\x20-\x7e]{1,200}")


def route_of(method: str, path: str) -> str:
    """The name of what a request asks for, under which its key is kept: "PATCH /goals/goal_1/funding/a/b".

    `path` is that of our own app, not encoded, wherever the request came in: the routes of a host and the manager keep
    the same name, so that one key is one key for them all. It is encoded for Postgres, which takes no NUL in text.
    """
    return f"{method} {quote(path, safe='/', errors='surrogatepass')}"


@dataclass(frozen=True, slots=True)
class IdempotencyHeader:
    """Lets a request act once for the key it came with; without a key, always."""

    route: str
    keys: tuple[str, ...]

    @property
    def has_key(self) -> bool:
        """Whether the request came with a key, good or not."""
        return bool(self.keys)

    def answer(self, context: RequestContext, raw: bytes, act: Callable[[], Response]) -> Response:
        """What `act` answers, or what it answered when the request came first.

        The key, the act and the answer share the transaction of the visit, so a refusal leaves the key free, and of
        two at once the second waits for the first. Raises HeaderRefused, KeyReused and KeyBusy.
        """
        if not self.has_key:
            return act()
        request = KeyedRequest(self._key(), self.route, hashlib.sha256(raw).digest())
        found = find_answer(context.session, context.tenant, request, context.now)
        if found is not None:
            return _again(found)
        answer = act()
        location = answer.headers.get("Location")
        body = bytes(answer.body)
        keep_answer(context.session, context.tenant, request, status=answer.status_code, location=location, body=body)
        return answer

    def _key(self) -> str:
        if len(self.keys) > 1 or not _FIT.fullmatch(self.keys[0]):
            raise HeaderRefused.at(HEADER, "must be one key of 1 to 200 printable ASCII characters")
        return self.keys[0]


def _again(found: KeyedAnswer) -> Response:
    response = Response(found.body, found.status, media_type="application/json" if found.body else None)
    response.headers[REPLAYED] = "true"
    if found.location is not None:
        response.headers["Location"] = found.location
    return response


async def _at_most_once(
    request: Request,
    _documented: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description="1 to 200 characters of your choice: sent again with the same body within 24 hours, the"
            " request gets its first answer and does nothing",
        ),
    ] = None,
) -> IdempotencyHeader:
    return IdempotencyHeader(route_of(request.method, own_address_of(request)), tuple(request.headers.getlist(HEADER)))


Once = Annotated[IdempotencyHeader, Depends(_at_most_once)]
