"""A row that is not understood, on its way through the drain: a dead letter beside rows that take effect."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from core.events.envelope import parse_json
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.providers.contracts import Context
from core.providers.registry import Format, adapt
from core.store.database import Sessions
from core.store.driver import Session, Sql

_numbers = itertools.count(1)
PULLED = datetime(2026, 3, 10, 12, tzinfo=UTC)


def test_a_row_is_a_dead_letter_until_it_is_understood(session_factory: Sessions) -> None:
    """It is kept whole with its own reason; replayed after a fix, it counts as of the pull that brought it."""
    good = {"account_id": "a", "transaction_id": "t1", "amount": 12, "iso_currency_code": "USD", "date": "2026-03-09"}
    good |= {"pending": False}
    bad = good | {"transaction_id": "t2", "amount": "1,50"}
    page = adapt(Format.PLAID_SYNC, {"added": [good, bad]}, Context(PULLED, "plaid", {}))
    apply(session_factory, [event.event for event in page.events])
    with session_factory() as session:
        code, reason, body = Sql("SELECT code, reason, event FROM dead_letters").one(session, {})
        assert code == "bad_amount"
        assert reason.startswith("amount: ")
        assert worth(session) == -1200
    kept: dict[str, dict[str, object]] = parse_json(body)  # type: ignore[assignment]
    assert kept["data"]["row"] == bad
    # The same bytes once more: no row moves. With the amount as a mended adapter would read it: it counts.
    apply(session_factory, [body])
    apply(session_factory, [body.replace(b"1,50", b"1.50")])
    with session_factory() as session:
        assert worth(session) == -1350


def apply(sessions: Sessions, events: list[bytes]) -> None:
    """One batch, as a drain would."""
    entries = [StreamEntry(0, f"1-{next(_numbers)}", PULLED, "default", event) for event in events]
    with sessions.begin() as session:
        apply_events(session, entries, PULLED)


def worth(session: Session) -> int:
    """The account's worth in cents."""
    return Sql("SELECT worth_minor FROM accounts WHERE account_id = 'a'").value(session, {})
