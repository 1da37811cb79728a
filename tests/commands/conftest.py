"""Fixtures for tests of commands: a drain that applies what they send, and queries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from core.ingestion.drain import ShardDrain
from core.store.database import Sessions
from core.store.driver import Sql
from core.stream.stream import EventStream
from tests.acts import paid
from tests.commands.dead_letter_rows import AT, too_exact

Drain = Callable[[], int]
Rows = Callable[..., list[Any]]


@pytest.fixture
def drain(session_factory: Sessions, stream: EventStream) -> Drain:
    """Applies all events on the stream, as workers do; returns their number."""

    def drain() -> int:
        shards = range(stream.shards)
        drains = [ShardDrain(session_factory, stream, shard, 100, lambda: datetime.now(UTC)) for shard in shards]
        return sum(each.drain().events for each in drains)

    return drain


@pytest.fixture
def rows(session_factory: Sessions) -> Rows:
    """Runs a query and returns its rows."""

    def ask(query: str, **parameters: object) -> list[Any]:
        with session_factory() as session:
            return list(Sql(query).rows(session, parameters))

    return ask


@pytest.fixture
def two_refused(stream: EventStream, drain: Drain) -> None:
    """An account, and two dead letters of the same account."""
    stream.append("default", [("a", paid("good", 100, AT))])
    drain()
    stream.append("default", [("a", too_exact("x")), ("a", too_exact("y"))])
    drain()
