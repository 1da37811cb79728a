"""The route that puts events onto the stream: our own, or those of a body that was pulled from a provider."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

import simplejson
from fastapi import Depends, Query, Request
from pydantic import Field, with_config
from starlette.responses import Response
from typing_extensions import TypedDict

from api.batches import MAX_EVENTS, check_events, read_events
from api.bodies import BodyRefused, QueryRefused, RequestRefused, parse_provider_body, read_body
from api.context import Backends, Contexts, ContextSource, RequestContext
from api.idempotency import REPLAYED, Idempotency
from api.routing import Routes
from api.schemas.documented import answers
from api.schemas.events import Day, Instant
from api.schemas.given import with_its_plus
from api.schemas.rendering import ExactResponse
from api.schemas.values import AccountKind, Currency, Id, UserId
from core.errors import InvalidField, MalformedEvent, ProviderBodyRefused
from core.events.calendar import EARLIEST
from core.events.envelope import check_clock, parse_moment
from core.ingestion.parse import AHEAD_MOST
from core.providers.registry import Format, check_has_windows
from core.services.deliveries import PullDetails, read_pulled
from core.services.inputs import check_id
from core.services.keys import Scope
from core.services.provider_accounts import check_currency, check_kind
from core.services.quotas import require_room_for_events
from core.store.tenants import Tenant
from core.stream.stream import EventStream

PulledFormat = Annotated[
    Format | None,
    Query(description="The provider that the body was pulled from; without it, the body holds our own events"),
]
PulledAt = Annotated[
    Instant | None,
    Query(description="With `format`: when the body was pulled, for records without a time of their own"),
]
PulledAccount = Annotated[
    Id | None, Query(description="With `format`: the provider's account, where the body names none")
]
PulledUser = Annotated[UserId | None, Query(description="With `format`: whose the accounts are")]
PulledCurrency = Annotated[Currency | None, Query(description="With `format`: the currency, where the body has none")]
PulledKind = Annotated[
    AccountKind | None, Query(description="With `format`: asset or liability, where the body does not say")
]
CompleteFrom = Annotated[
    Day | None,
    Query(
        description="With `format` gocardless, enablebanking or simplefin: the body holds all booked rows of the days"
        " from this one through `complete_through`, so rows that it no longer has count as removed"
    ),
]
Strict = Annotated[
    bool, Query(description="Refuse a body with an event that would become a dead letter; for our own events alone")
]
CompleteThrough = Annotated[Day | None, Query(description="The last of these days; needed with `complete_from`")]
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
# Not mounted in other apps, so the text is our own, which has these schemas.
_EVENT = {"$ref": "#/components/schemas/Event"}
_BATCH = {"$ref": "#/components/schemas/EventBatch"}
_REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [_EVENT, _BATCH]}, "example": _EXAMPLE},
            "application/cloudevents+json": {"schema": _EVENT, "example": _EXAMPLE},
            "application/cloudevents-batch+json": {"schema": _BATCH, "example": [_EXAMPLE]},
            "application/x-ndjson": {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "One event a line, as in application/json",
                },
                "example": f"{simplejson.dumps(_EXAMPLE)}\n",
            },
        },
    }
}


@dataclass(frozen=True, slots=True)
class PulledQuery:
    """What the query says about a body that was pulled from a provider."""

    format: Format
    details: PullDetails

    def keyed_bytes(self, request: Request, raw: bytes) -> bytes:
        """What an Idempotency-Key is bound to, besides the path: with another query it is another request."""
        query: bytes = request.scope["query_string"]
        return query + b"\n" + raw

    def events(self, context: RequestContext, raw: bytes) -> Sequence[tuple[str, bytes]]:
        """The events of the body, each as its shard key and its text. Raises BodyRefused and ProviderBodyRefused."""
        adapted = read_pulled(context.session, context.tenant, self.format, parse_provider_body(raw), self.details)
        if len(adapted.events) > MAX_EVENTS:
            message = f"The body becomes {len(adapted.events)} events; at most {MAX_EVENTS} are taken at once"
            raise BodyRefused.at([], message, "too_many_events")
        return [(each.account_id, each.event) for each in adapted.events]


async def _read_events(request: Request, contexts: Contexts) -> AsyncIterator[bytes]:
    """Read the body. The key is checked first: else anybody could fill the room."""
    key_id = await contexts.admit(Scope.EVENTS_WRITE)
    async with read_body(request, contexts.max_body_bytes, key_id) as body:
        yield body


EventsBody = Annotated[bytes, Depends(_read_events)]


@with_config(title="AcceptedEvents")
class AcceptedBody(TypedDict):
    """How many events are on disk now."""

    accepted: Annotated[int, Field(description="the number of events")]


def parse_query(
    format: Format | None,
    pulled_at: str | None,
    account_id: str | None,
    user_id: str | None,
    currency: str | None,
    kind: str | None,
    complete_from: str | None,
    complete_through: str | None,
    now: datetime,
) -> PulledQuery | None:
    """The parsed query; None if the body holds our own events. Raises QueryRefused."""
    given = {"pulled_at": pulled_at, "account_id": account_id, "user_id": user_id, "currency": currency, "kind": kind}
    given |= {"complete_from": complete_from, "complete_through": complete_through}
    if format is None:
        unexpected = next((name for name, value in given.items() if value is not None), None)
        if unexpected is not None:
            raise QueryRefused.at("format", f"is needed with {unexpected}: our own events say it themselves", "missing")
        return None
    with _refuse_query():
        moment = _moment(pulled_at, now)
        details = PullDetails(
            pulled_at=moment,
            account_id=None if account_id is None else check_id("account_id", account_id),
            user_id=None if user_id is None else check_id("user_id", user_id),
            currency=check_currency(currency),
            kind=check_kind(kind),
            complete=_complete_days(format, complete_from, complete_through, moment or now),
        )
    return PulledQuery(format, details)


@router.post(
    "",
    summary="Send events",
    operation_id="sendEvents",
    status_code=202,
    openapi_extra=_REQUEST_BODY,
    responses=answers(
        202, AcceptedBody, "All of them are on disk and will take effect", 409, 413, 422, 501, headers=(REPLAYED,)
    ),
)
def send(
    request: Request,
    contexts: Contexts,
    raw: EventsBody,
    idempotency: Idempotency,
    format: PulledFormat = None,
    pulled_at: PulledAt = None,
    account_id: PulledAccount = None,
    user_id: PulledUser = None,
    currency: PulledCurrency = None,
    kind: PulledKind = None,
    complete_from: CompleteFrom = None,
    complete_through: CompleteThrough = None,
    strict: Strict = False,
) -> Response:
    """Put one event, an array of them, or NDJSON on the stream; or, with `format`, a body pulled from a provider.

    Either all events are accepted or none.
    """
    with _counting_refusals(contexts):
        with contexts.open(Scope.EVENTS_WRITE) as context:
            tenant, now, backends = context.tenant, context.now, context.backends
            stream = backends.stream
            if strict and format is not None:
                raise QueryRefused.at("strict", "is for our own events; a pulled body is checked as a whole")
            pulled_query = parse_query(
                format, pulled_at, account_id, user_id, currency, kind, complete_from, complete_through, now
            )
            if idempotency.has_key:
                # The transaction keeps the key locked until the events are on the stream server's disk. If it then
                # fails to commit, the next try sends the events again, which changes nothing.
                keyed_bytes = raw if pulled_query is None else pulled_query.keyed_bytes(request, raw)

                def perform() -> Response:
                    _require_room(context)
                    found = _events(request, raw, pulled_query, context, is_strict=strict)
                    return _accept(backends, stream, tenant, found)

                return idempotency.answer(context, keyed_bytes, perform)
            # To adapt a provider's body, the transaction reads what is known of its accounts; our own events need no
            # read.
            _require_room(context)
            pulled_events = None if pulled_query is None else pulled_query.events(context, raw)
        # The transaction has ended: without a key, none stays open while the stream server writes to its disk.
        if pulled_events is None:
            pulled_events = _own_events(request, raw, tenant, now, is_strict=strict)
        return _accept(backends, stream, tenant, pulled_events)


def _require_room(context: RequestContext) -> None:
    backends = context.backends
    require_room_for_events(context.session, context.tenant, backends.sent, backends.settings, context.now)


@contextmanager
def _counting_refusals(contexts: ContextSource) -> Iterator[None]:
    try:
        yield
    except RequestRefused as refused:
        contexts.note_refused_events(refused.problems[0]["type"])
        raise
    except ProviderBodyRefused as refused:
        contexts.note_refused_events(refused.code)
        raise


@contextmanager
def _refuse_query() -> Iterator[None]:
    try:
        yield
    except InvalidField as error:
        raise QueryRefused.at(error.field, error.message) from None


def _moment(text: str | None, now: datetime) -> datetime | None:
    """An instant, not a day: events of one day could not be put in order."""
    if text is None:
        return None
    try:
        moment = parse_moment(with_its_plus(text))
    except (ValueError, OverflowError):
        moment = None
    if not isinstance(moment, datetime):
        raise InvalidField("pulled_at", "must be a time (2026-01-31T12:00:00Z)")
    try:
        check_clock(moment, now)
    except MalformedEvent as error:
        raise QueryRefused.at("pulled_at", error.message, error.code) from None
    return moment


def _complete_days(
    format: Format, first: str | None, last: str | None, pulled_at: datetime
) -> tuple[date, date] | None:
    """The first and the last of the days of which the body is the whole; None if it is not said to be."""
    if first is None and last is None:
        return None
    if first is None or last is None:
        missing = "complete_from" if first is None else "complete_through"
        raise InvalidField(missing, "is missing: the days need a first and a last one")
    check_has_windows(format)
    days = _day("complete_from", first, pulled_at), _day("complete_through", last, pulled_at)
    if days[1] < days[0]:
        raise InvalidField("complete_through", "must not be before complete_from")
    return days


def _day(name: str, text: str, pulled_at: datetime) -> date:
    try:
        day = parse_moment(text)
    except (ValueError, OverflowError):
        day = None
    if day is None or isinstance(day, datetime):
        raise InvalidField(name, "must be a date (2026-01-31)")
    if not EARLIEST.date() < day < (pulled_at + AHEAD_MOST).date():
        raise InvalidField(name, f"must be after 1900-01-02, and less than {AHEAD_MOST.days} days after the pull")
    return day


def _events(
    request: Request, raw: bytes, pulled_query: PulledQuery | None, context: RequestContext, *, is_strict: bool
) -> Sequence[tuple[str, bytes]]:
    if pulled_query is None:
        return _own_events(request, raw, context.tenant, context.now, is_strict=is_strict)
    return pulled_query.events(context, raw)


def _own_events(
    request: Request, raw: bytes, tenant: Tenant, now: datetime, *, is_strict: bool
) -> Sequence[tuple[str, bytes]]:
    events = read_events(raw, request.headers.get("content-type", ""), now)
    if is_strict:
        check_events(events, tenant, now)
    return events


def _accept(backends: Backends, stream: EventStream, tenant: Tenant, events: Sequence[tuple[str, bytes]]) -> Response:
    entries = stream.append(tenant.name, events)
    if backends.settings.waiting_most is not None:
        backends.sent.add(tenant.name, entries)
    accepted: AcceptedBody = {"accepted": len(entries)}
    return ExactResponse(accepted, status_code=202)
