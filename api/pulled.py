"""Bodies of POST /events that were pulled from a provider: what the query tells of them, and their events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Query, Request

from api.batches import MAX_EVENTS
from api.bodies import BodyRefused, QueryRefused, parse_provider_body
from api.doors import Visit
from api.models import with_its_plus
from core.errors import InvalidField
from core.events.envelope import parse_moment
from core.events.parse import FUTURE_ALLOWANCE
from core.events.providers import Format
from core.requests.check_id import check_id
from core.requests.provider_accounts import check_currency, check_kind
from core.requests.receive import Told, read_pulled

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


@dataclass(frozen=True, slots=True)
class Pulled:
    """What the query says of a body."""

    format: Format
    told: Told

    def whole(self, request: Request, raw: bytes) -> bytes:
        """What stands for the request under its Idempotency-Key: with another query it is another request."""
        query: bytes = request.scope["query_string"]
        return query + b"\n" + raw

    def events(self, visit: Visit, raw: bytes) -> Sequence[tuple[str, bytes]]:
        """What to spread each event by, and its text. Raises BodyRefused and ProviderBodyRefused."""
        adapted = read_pulled(visit.session, visit.tenant, self.format, parse_provider_body(raw), self.told)
        if len(adapted.events) > MAX_EVENTS:
            message = f"The body becomes {len(adapted.events)} events; at most {MAX_EVENTS} are taken at once"
            raise BodyRefused.at([], message, "too_many_events")
        return [(each.account_id, each.event) for each in adapted.events]


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
        told = Told(
            pulled_at=_moment(pulled_at, now),
            account_id=None if account_id is None else check_id("account_id", account_id),
            user_id=None if user_id is None else check_id("user_id", user_id),
            currency=check_currency(currency),
            kind=check_kind(kind),
        )
    return Pulled(format, told)


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
