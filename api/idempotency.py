"""Changes under an Idempotency-Key: the first request is carried out, and a repeat gets the first one's answer."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Header, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from api.bodies import HeaderRefused
from api.context import RequestContext
from api.routing import own_address_of
from core.providers.sealing import Sealer
from core.services.idempotency import KeyedRequest, find_answer, keep_answer
from core.store.idempotency import KeyedAnswer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_LONGEST = 200
_FIT = re.compile(rf"[\x20-\x7e]{{1,{_LONGEST}}}")
_KEY_SCHEMA = {
    "type": "string",
    "minLength": 1,
    "maxLength": _LONGEST,
    "pattern": "^[ -~]*$",
    "examples": ["8e03978e-40d5-43e8-bc93-6894a57f9324"],
}


def route_of(method: str, path: str) -> str:
    """The name of what a request asks for, stored with its key: "PATCH /goals/goal_1/funding/a/b".

    `path` is the path in our own app, not encoded, wherever the request came in: mounted routes and the manager store
    the same name, so that a key is the same key in all of them. It is encoded for Postgres, which takes no NUL in text.
    """
    return f"{method} {quote(path, safe='/', errors='surrogatepass')}"


@dataclass(frozen=True, slots=True)
class IdempotencyHeader:
    """The Idempotency-Key of a request: with one it is carried out once, without one each time."""

    route: str
    keys: tuple[str, ...]

    @property
    def has_key(self) -> bool:
        """Whether the request came with a key, valid or not."""
        return bool(self.keys)

    def answer(
        self, context: RequestContext, raw: bytes, perform: Callable[[], Response], sealer: Sealer | None = None
    ) -> Response:
        """Carry the request out by `perform` and return its answer, or the answer of the first time it came.

        `raw` is the body, which must be the same each time. The key, the change and the answer are written in the
        transaction of the request context: a refusal leaves the key free, and of two requests at once the second waits
        for the first. With a `sealer` the answer is stored sealed, since it has a secret. Raises HeaderRefused,
        KeyReused and KeyBusy, and with a sealer CannotUnseal.
        """
        if not self.has_key:
            return perform()
        request = KeyedRequest(self._key(), self.route, hashlib.sha256(raw).digest())
        row = f"{context.tenant.name}/idempotency/{request.key}"
        found = find_answer(context.session, context.tenant, request, context.now)
        if found is not None:
            return _replay(found if sealer is None else replace(found, body=sealer.open(found.body, row)))
        answer = perform()
        location = answer.headers.get("Location")
        body = bytes(answer.body) if sealer is None else sealer.seal(bytes(answer.body), row)
        keep_answer(context.session, context.tenant, request, status=answer.status_code, location=location, body=body)
        return answer

    def _key(self) -> str:
        if len(self.keys) > 1 or not _FIT.fullmatch(self.keys[0]):
            raise HeaderRefused.at(HEADER, "must be one key of 1 to 200 printable ASCII characters")
        return self.keys[0]


def _replay(found: KeyedAnswer) -> Response:
    response = Response(found.body, found.status, media_type="application/json" if found.body else None)
    response.headers[REPLAYED] = "true"
    if found.location is not None:
        response.headers["Location"] = found.location
    return response


async def _idempotency(
    request: Request,
    _documented: Annotated[
        Annotated[str, WithJsonSchema(_KEY_SCHEMA)] | None,
        Header(
            alias=HEADER,
            description="1 to 200 characters of your choice: sent again with the same body within 24 hours, the"
            " request gets its first answer and does nothing",
        ),
    ] = None,
) -> IdempotencyHeader:
    return IdempotencyHeader(route_of(request.method, own_address_of(request)), tuple(request.headers.getlist(HEADER)))


Idempotency = Annotated[IdempotencyHeader, Depends(_idempotency)]
