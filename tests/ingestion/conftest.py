"""Events for the pipeline's tests, and the step that applies them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import simplejson
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.ingestion.apply import Applied, apply_events
from core.ingestion.decode import StreamEntry

Apply = Callable[..., Applied]


def event(type: str, time: datetime, id: str, data: dict[str, Any], source: str = "test") -> bytes:
    """An event as JSON."""
    envelope = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": f"milepost.{type}",
        "time": time.isoformat(),
        "data": data,
    }
    return simplejson.dumps(envelope, use_decimal=True).encode()


def money(minor: int) -> Decimal:
    """Cents as a number of the currency."""
    return Decimal(minor).scaleb(-2)


@pytest.fixture
def apply(session_factory: sessionmaker[Session], now: datetime) -> Apply:
    """Applies events in one batch, as a drain would."""
    numbers = itertools.count(1)

    def apply(events: Iterable[bytes], tenant: str = "default", at: datetime = now) -> Applied:
        entries = [StreamEntry(0, f"{int(at.timestamp() * 1000)}-{next(numbers)}", at, tenant, body) for body in events]
        with session_factory.begin() as session:
            return apply_events(session, entries, at)

    return apply


BUSINESS = (
    "accounts",
    "transactions",
    "reports",
    "account_days",
    "goals",
    "milestones",
    "links",
    "manual_amounts",
    "goal_entries",
    "goal_snapshots",
    "outbox",
    "dead_letters",
)


def dump(session: Session, tables: Iterable[str] = BUSINESS) -> dict[str, list[str]]:
    """The rows of tables as ordered text."""
    return {
        table: [row[0] for row in session.execute(text(f"SELECT t::text FROM {table} t ORDER BY 1"))]
        for table in tables
    }
