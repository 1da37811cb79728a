"""Reading ahead: the next batch is taken while Postgres works on the one before, and none is lost or counted twice."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.pipeline import drain as drain_module
from core.pipeline.apply_events import Applied, apply_understood
from core.pipeline.drain import Drained, ShardDrain
from core.pipeline.understand import StreamEntry, Understood, understand
from core.store.stream import EventStream
from core.store.tenants import Tenant, add_tenant
from tests.pipeline.test_drain import POSTED, append, clock, dead_letters, spent, worths

Sessions = sessionmaker[Session]
BATCH = 10


class Interrupted(Exception):
    """What no event can cause."""


@pytest.fixture
def one_shard(redis_client: redis.Redis) -> EventStream:
    """A stream of one shard, so that everything lies on it."""
    return EventStream(redis_client, 1)


@pytest.fixture
def drain(session_factory: Sessions, one_shard: EventStream) -> ShardDrain:
    """Drains that shard, ten events a batch."""
    return ShardDrain(session_factory, one_shard, 0, BATCH, clock)


def pending_at_each_batch(
    drain: ShardDrain, monkeypatch: pytest.MonkeyPatch, *, fails_at: int | None = None
) -> list[int]:
    """How many entries are pending at the end of each batch's work, noted as the drain goes on."""
    noted: list[int] = []

    def noting(session: Session, batch: Understood, now: datetime) -> Applied:
        applied = apply_understood(session, batch, now)
        deadline = clock().timestamp() + 10
        while (pending := drain.stream.status()[0].pending) < 2 * BATCH and clock().timestamp() < deadline:
            if pending + worths(drain.sessions).get("a1", 0) // 100 >= 25:
                break  # nothing is left to be read ahead
        noted.append(pending)
        if len(noted) == fails_at:
            raise Interrupted
        return applied

    monkeypatch.setattr(drain_module, "apply_understood", noting)
    return noted


def test_the_next_batch_is_read_while_this_one_is_applied(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a full batch is at Postgres the next one is pending too; after the last one nothing is."""
    append(one_shard, [spent(number) for number in range(25)])
    noted = pending_at_each_batch(drain, monkeypatch)
    assert drain.drain() == Drained(25)
    assert noted == [20, 15, 5]
    assert one_shard.status()[0].pending == 0
    assert worths(session_factory) == {"a1": 2_500}


def test_what_was_read_ahead_of_a_failure_is_applied_by_the_next_drain(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both batches stay pending, and the next drain begins with them."""
    append(one_shard, [spent(number) for number in range(25)])
    with monkeypatch.context() as patched:
        pending_at_each_batch(drain, patched, fails_at=1)
        with pytest.raises(Interrupted):
            drain.drain()
    assert one_shard.status()[0].pending == 20
    assert worths(session_factory) == {}
    assert drain.drain() == Drained(25)
    assert worths(session_factory) == {"a1": 2_500}
    assert one_shard.status()[0].pending == 0


def test_another_drain_between_two_batches_applies_what_was_read_ahead(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds it pending; when the first drain applies it again nothing changes."""
    append(one_shard, [spent(number) for number in range(25)])
    other = ShardDrain(session_factory, one_shard, 0, BATCH, clock)
    drained: list[int] = []
    finish = ShardDrain._finish

    def giving_way(self: ShardDrain, *arguments: object) -> None:
        finish(self, *arguments)  # type: ignore[arg-type]
        if self is drain and not drained:
            drained.append(0)
            drained[0] = other.drain().events

    monkeypatch.setattr(ShardDrain, "_finish", giving_way)
    assert drain.drain() == Drained(20)
    assert drained == [15]
    assert worths(session_factory) == {"a1": 2_500}
    assert dead_letters(session_factory) == []
    assert one_shard.status()[0].pending == 0


def test_a_tenant_that_comes_first_in_the_batch_ahead_is_known(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """Its time zone was not known when the batch was read ahead, and its events are applied all the same."""
    with session_factory.begin() as session:
        add_tenant(session, Tenant("other", "Pacific/Auckland"), clock())
    append(one_shard, [spent(number) for number in range(BATCH)])
    late = spent(99).replace(POSTED.isoformat().encode(), b"2026-03-08T23:30:00+00:00")
    one_shard.append("other", [("a1", late)])
    assert drain.drain() == Drained(11)
    with session_factory() as session:
        days = session.execute(text("SELECT tenant, day FROM account_days ORDER BY 1")).all()
    assert [(tenant, str(day)) for tenant, day in days] == [("default", "2026-03-09"), ("other", "2026-03-09")]
    assert dead_letters(session_factory) == []


def test_what_was_understood_holds_in_the_same_zones_alone() -> None:
    """A tenant whose zone is another one now, or who is gone, makes a batch be understood anew."""
    utc, prague = ZoneInfo("UTC"), ZoneInfo("Europe/Prague")
    batch = understand([StreamEntry(0, "1-1", clock(), "default", spent(1))], {"default": utc, "unasked": prague})
    assert batch.holds_in({"default": utc})
    assert not batch.holds_in({"default": prague})
    assert not batch.holds_in({})
    assert not understand(batch.entries, {}).holds_in({"default": utc})
