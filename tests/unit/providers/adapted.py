"""For tests: the context of a body, its adapted events as values, and the money that counts after all of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.events.envelope import check_envelope, parse_json
from core.events.facts import AccountFacts
from core.events.transactions import fold_transactions, with_statements
from core.ingestion.parse import parse_event
from core.providers.contracts import Adapted, AdaptedEvent, Context, KnownAccount

PULLED = datetime(2026, 3, 10, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


def context(pulled_at: datetime | None = PULLED, source: str = "bank", **given: Any) -> Context:
    """What a caller says about a body."""
    accounts: dict[str, KnownAccount] = given.pop("accounts", {})
    return Context(pulled_at=pulled_at, source=source, accounts=accounts, **given)


def later(hours: float = 1, **given: Any) -> Context:
    """The same, for a body pulled so many hours later."""
    return context(PULLED + timedelta(hours=hours), **given)


def values(adapted: Adapted) -> list[tuple[str, dict[str, Any]]]:
    """Each event's type, without `milepost.`, and its data."""
    envelopes = [check_envelope(parse_json(event.event)) for event in adapted.events]
    return [(envelope.type.removeprefix("milepost."), envelope.data) for envelope in envelopes]


def only(adapted: Adapted, type: str) -> dict[str, Any]:
    """The data of the one event of that type."""
    (data,) = [data for found, data in values(adapted) if found == type]
    return data


def facts(events: Iterable[AdaptedEvent], zone: ZoneInfo = UTC_ZONE) -> list[AccountFacts]:
    """What the events state to a tenant of that zone; they arrive a month later."""
    found: list[AccountFacts] = []
    for event in events:
        found += parse_event(check_envelope(parse_json(event.event)), zone, PULLED + timedelta(days=30))
    return found


def counted(events: Iterable[AdaptedEvent]) -> dict[str, int]:
    """The minor units of every transaction that counts once all events are applied."""
    stated = [each.transaction for each in facts(events) if each.transaction is not None]
    currency = next((each.currency for each in stated if each.currency), None)
    changes = fold_transactions(with_statements(stated, {}), {}, currency)
    return {c.after.transaction.transaction_id: c.after.transaction.amount_minor for c in changes if c.after.counts}
