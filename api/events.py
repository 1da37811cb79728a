"""The route by which events come in over HTTP, onto the stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from api.backends import backends_of
from api.batches import MAX_EVENTS, read_events
from api.bodies import RawBody
from api.documented import answers
from api.doors import Door, Visit
from api.idempotency import REPLAYED, Once
from api.pulled import (
    Pulled,
    PulledAccount,
    PulledAt,
    PulledCurrency,
    PulledFormat,
    PulledKind,
    PulledUser,
    asked_of,
)
from api.rendering import ExactResponse
from api.routes import Routes
from core.events.envelope import EVENT_LONGEST_BYTES
from core.requests.keys import Scope

book = Routes(tags=["events"])


class AcceptedBody(TypedDict):
    """How many events are on disk now."""

    accepted: int


_EXAMPLE = {
    "specversion": "1.0",
    "id": "bank-7-000123",
    "source": "https://bank.example/sync",
    "type": "milepost.transaction.recorded",
    "time": "2026-01-31T12:00:00Z",
    "data": {
        "account_id": "savings_001",
        "transaction_id": "000123",
        "amount": 250.00,
        "currency": "USD",
        "posted_at": "2026-01-31",
        "pending": False,
    },
}
_EVENT = {
    "type": "object",
    "description": f"A CloudEvents 1.0 event, at most {EVENT_LONGEST_BYTES:,} bytes; `data` depends on `type`",
    "required": ["specversion", "id", "source", "type", "time", "data"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "subject": {"type": "string"},
        "data": {"type": "object"},
    },
}
_BATCH = {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MAX_EVENTS}
_TAKES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [_EVENT, _BATCH]}, "example": _EXAMPLE},
            "application/cloudevents+json": {"schema": _EVENT, "example": _EXAMPLE},
            "application/cloudevents-batch+json": {"schema": _BATCH, "example": [_EXAMPLE]},
            "application/x-ndjson": {
                "schema": {"type": "string", "description": "one event a line"},
                "example": f"{json.dumps(_EXAMPLE)}\n",
            },
        },
    }
}


@book.post(
    "",
    summary="Send events",
    status_code=202,
    openapi_extra=_TAKES,
    responses=answers(
        202, AcceptedBody, "All of them are on disk and will take effect", 409, 413, 422, headers=(REPLAYED,)
    ),
)
def send(
    request: Request,
    door: Door,
    raw: RawBody,
    once: Once,
    format: PulledFormat = None,
    pulled_at: PulledAt = None,
    account_id: PulledAccount = None,
    user_id: PulledUser = None,
    currency: PulledCurrency = None,
    kind: PulledKind = None,
) -> Response:
    """Put one event, an array of them, or NDJSON on the stream; or, with `format`, a body that a provider gave.

    All is accepted or nothing is.
    """
    with door.open(Scope.EVENTS_WRITE) as visit:
        tenant = visit.tenant.name
        asked = asked_of(format, pulled_at, account_id, user_id, currency, kind, visit.now)
        if once.has_key:
            # The transaction holds the key while the stream makes sure of its disk. Should it then fail to commit,
            # the events come again with the next try, which changes nothing.
            whole = raw if asked is None else asked.whole(request, raw)
            return once.answer(visit, whole, lambda: _accept(request, tenant, _events(request, raw, asked, visit)))
        # What is known of a provider's accounts is read in the transaction; our own events need none of it.
        pulled = None if asked is None else asked.events(visit, raw)
    # The transaction has ended: without a key none is held while the stream makes sure of its disk.
    return _accept(request, tenant, _own_events(request, raw) if pulled is None else pulled)


def _events(request: Request, raw: bytes, asked: Pulled | None, visit: Visit) -> Sequence[tuple[str, bytes]]:
    return _own_events(request, raw) if asked is None else asked.events(visit, raw)


def _own_events(request: Request, raw: bytes) -> Sequence[tuple[str, bytes]]:
    return read_events(raw, request.headers.get("content-type", ""))


def _accept(request: Request, tenant: str, events: Sequence[tuple[str, bytes]]) -> Response:
    accepted: AcceptedBody = {"accepted": backends_of(request).stream.append(tenant, events)}
    return ExactResponse(accepted, status_code=202)
