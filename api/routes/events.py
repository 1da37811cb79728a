"""The route by which events come in over HTTP, onto the stream: our own, or bodies that were pulled from a provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response
from typing_extensions import TypedDict

from api.batches import MAX_EVENTS, read_events
from api.bodies import BodyRefused, QueryRefused, RawBody, parse_provider_body
from api.context import Contexts, RequestContext, backends_of
from api.idempotency import REPLAYED, Once
from api.routing import Routes
from api.schemas.documented import answers
from api.schemas.goals import ExactResponse
from api.schemas.requests import with_its_plus
from core.errors import InvalidField
from core.events.envelope import EVENT_LONGEST_BYTES, parse_moment
from core.ingestion.parse import FUTURE_ALLOWANCE
from core.providers.registry import Format
from core.services.deliveries import PullDetails, read_pulled
from core.services.inputs import check_id
from core.services.keys import Scope
from core.services.provider_accounts import check_currency, check_kind

PulledFormat = Annotated[
    Format | None, Query(description="The body is as this provider gives it; without it, it holds our own events")
]
PulledAt = Annotated[
    str | None, Query(description="With `format`: when the body was pulled, for what has no time of its own")
]
PulledAccount = Annotated[
    str | None, Query(description="With `format`: the provider's account, where the body names none (GoCardless)")
]
PulledUser = Annotated[str | None, Query(description="With `format`: whose the accounts are")]
PulledCurrency = Annotated[
    str | None, Query(description="With `format`: the currency, where the body tells none (Teller)")
]
PulledKind = Annotated[
    str | None, Query(description="With `format`: asset or liability, where the body does not tell (Teller)")
]
router = Routes(tags=["events"])
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


@dataclass(frozen=True, slots=True)
class Pulled:
    """What the query says of a body."""

    format: Format
    details: PullDetails

    def whole(self, request: Request, raw: bytes) -> bytes:
        """What stands for the request under its Idempotency-Key: with another query it is another request."""
        query: bytes = request.scope["query_string"]
        return query + b"\n" + raw

    def events(self, context: RequestContext, raw: bytes) -> Sequence[tuple[str, bytes]]:
        """What to spread each event by, and its text. Raises BodyRefused and ProviderBodyRefused."""
        adapted = read_pulled(context.session, context.tenant, self.format, parse_provider_body(raw), self.details)
        if len(adapted.events) > MAX_EVENTS:
            message = f"The body becomes {len(adapted.events)} events; at most {MAX_EVENTS} are taken at once"
            raise BodyRefused.at([], message, "too_many_events")
        return [(each.account_id, each.event) for each in adapted.events]


class AcceptedBody(TypedDict):
    """How many events are on disk now."""

    accepted: int


def asked_of(
    format: Format | None,
    pulled_at: str | None,
    account_id: str | None,
    user_id: str | None,
    currency: str | None,
    kind: str | None,
    now: datetime,
) -> Pulled | None:
    """What the query says; None if the body holds our own events. Raises QueryRefused."""
    given = {
        "pulled_at": pulled_at,
        "account_id": account_id,
        "user_id": user_id,
        "currency": currency,
        "kind": kind,
    }
    if format is None:
        alone = next((name for name, value in given.items() if value is not None), None)
        if alone is not None:
            raise QueryRefused.at("format", f"is needed with {alone}: our own events say it themselves", "missing")
        return None
    with _of_query():
        details = PullDetails(
            pulled_at=_moment(pulled_at, now),
            account_id=None if account_id is None else check_id("account_id", account_id),
            user_id=None if user_id is None else check_id("user_id", user_id),
            currency=check_currency(currency),
            kind=check_kind(kind),
        )
    return Pulled(format, details)


@router.post(
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
    contexts: Contexts,
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
    with contexts.open(Scope.EVENTS_WRITE) as context:
        tenant = context.tenant.name
        asked = asked_of(format, pulled_at, account_id, user_id, currency, kind, context.now)
        if once.has_key:
            # The transaction holds the key while the stream makes sure of its disk. Should it then fail to commit,
            # the events come again with the next try, which changes nothing.
            whole = raw if asked is None else asked.whole(request, raw)
            return once.answer(context, whole, lambda: _accept(request, tenant, _events(request, raw, asked, context)))
        # What is known of a provider's accounts is read in the transaction; our own events need none of it.
        pulled = None if asked is None else asked.events(context, raw)
    # The transaction has ended: without a key none is held while the stream makes sure of its disk.
    return _accept(request, tenant, _own_events(request, raw) if pulled is None else pulled)


@contextmanager
def _of_query() -> Iterator[None]:
    try:
        yield
    except InvalidField as error:
        raise QueryRefused.at(error.field, error.message) from None


def _moment(text: str | None, now: datetime) -> datetime | None:
    """An instant: of a body that was pulled on some day or other nobody could say what came before what."""
    if text is None:
        return None
    try:
        moment = parse_moment(with_its_plus(text))
    except (ValueError, OverflowError):
        moment = None
    if not isinstance(moment, datetime):
        raise InvalidField("pulled_at", "must be a time (2026-01-31T12:00:00Z)")
    if moment > now + FUTURE_ALLOWANCE:
        raise InvalidField("pulled_at", "is more than a day ahead")
    return moment


def _events(request: Request, raw: bytes, asked: Pulled | None, context: RequestContext) -> Sequence[tuple[str, bytes]]:
    return _own_events(request, raw) if asked is None else asked.events(context, raw)


def _own_events(request: Request, raw: bytes) -> Sequence[tuple[str, bytes]]:
    return read_events(raw, request.headers.get("content-type", ""))


def _accept(request: Request, tenant: str, events: Sequence[tuple[str, bytes]]) -> Response:
    accepted: AcceptedBody = {"accepted": backends_of(request).stream.append(tenant, events)}
    return ExactResponse(accepted, status_code=202)
