"""Prefetching: the next batch is read while Postgres works on the one before; none is lost or counted twice."""

from __future__ import annotations

import itertools
import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import redis

from core.ingestion import drain as drain_module
from core.ingestion.apply import Applied, apply_decoded
from core.ingestion.decode import Decoded, StreamEntry, decode_batch
from core.ingestion.drain import ShardDrain
from core.ingestion.facts import DuplicateCheck
from core.store.database import Sessions
from core.store.driver import Session, Sql
from core.store.tenants import Tenant, add_tenant
from core.stream.entries import RawEntry
from core.stream.stream import EventStream
from tests.ingestion.positions import is_settled, position, status
from tests.ingestion.test_drain import POSTED, append, clock, dead_letters, spent, worths

BATCH = 10


class Interrupted(Exception):
    """What no event can cause."""


@pytest.fixture
def one_shard(redis_client: redis.Redis) -> EventStream:
    """A stream of one shard, so that everything is on it."""
    return EventStream(redis_client, 1)


@pytest.fixture
def drain(session_factory: Sessions, one_shard: EventStream) -> ShardDrain:
    """Drains that shard, ten events a batch."""
    return ShardDrain(session_factory, one_shard, 0, BATCH, clock)


class Noting(EventStream):
    """A stream that notes how far each read came, and what was applied then."""

    def __init__(self, client: redis.Redis, sessions: Sessions) -> None:
        super().__init__(client, 1)
        self.sessions = sessions
        self.reads: list[tuple[int, int]] = []
        self.in_work = threading.Event()

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        if self.reads:
            assert self.in_work.wait(30)
        entries = super().read_after(shard, after, count)
        self.reads.append((len(entries), worths(self.sessions).get("a1", 0) // 100))
        return entries


@pytest.fixture
def noting(redis_client: redis.Redis, session_factory: Sessions) -> Noting:
    """That stream."""
    return Noting(redis_client, session_factory)


def let_batches_wait(stream: Noting, monkeypatch: pytest.MonkeyPatch, *, fails_at: int | None = None) -> None:
    """At the end of its work each full batch waits until the next one is read; one of them fails, if so asked."""
    numbers = itertools.count(1)

    def waiting(
        session: Session, batch: Decoded, now: datetime, duplicate_check: DuplicateCheck | None = None
    ) -> Applied:
        applied = apply_decoded(session, batch, now, duplicate_check)
        reads = len(stream.reads)
        stream.in_work.set()
        deadline = clock().timestamp() + 30
        while len(batch.entries) == BATCH and len(stream.reads) == reads:
            assert clock().timestamp() < deadline
        if len(batch.entries) == BATCH:
            stream.in_work.clear()
        number = next(numbers)
        begun_at = position(stream.sessions).begun_at
        assert begun_at is not None, "the commit of a batch notes that the one read ahead is begun"
        if number == fails_at:
            raise Interrupted
        return applied

    monkeypatch.setattr(drain_module, "apply_decoded", waiting)


def test_the_next_batch_is_read_while_this_one_is_applied(
    noting: Noting, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Postgres works on a full batch the next one is read, which takes nothing off the stream."""
    append(noting, [spent(number) for number in range(25)])
    let_batches_wait(noting, monkeypatch)
    assert ShardDrain(session_factory, noting, 0, BATCH, clock).drain().events == 25
    assert noting.reads[:3] == [(10, 0), (10, 0), (5, 10)]
    assert is_settled(session_factory, noting)
    assert worths(session_factory) == {"a1": 2_500}


def test_what_was_prefetched_before_a_failure_is_applied_by_the_next_drain(
    noting: Noting, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody took it: it is after the batch that failed, which comes first, in small parts."""
    append(noting, [spent(number) for number in range(25)])
    with monkeypatch.context() as patched:
        let_batches_wait(noting, patched, fails_at=1)
        with pytest.raises(Interrupted):
            ShardDrain(session_factory, noting, 0, BATCH, clock).drain()
    assert status(session_factory, noting).unapplied == 25
    assert worths(session_factory) == {}
    sizes: list[int] = []

    def sizing(
        session: Session, batch: Decoded, now: datetime, duplicate_check: DuplicateCheck | None = None
    ) -> Applied:
        sizes.append(len(batch.entries))
        return apply_decoded(session, batch, now, duplicate_check)

    monkeypatch.setattr(drain_module, "apply_decoded", sizing)
    noting.in_work.set()
    assert ShardDrain(session_factory, noting, 0, BATCH, clock).drain().events == 25
    assert sizes == [*[1] * 10, 10, 5]
    assert worths(session_factory) == {"a1": 2_500}
    assert is_settled(session_factory, noting)


def test_another_drain_between_two_batches_applies_what_was_prefetched(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first drain drops it, and goes on where the other one stopped."""
    append(one_shard, [spent(number) for number in range(25)])
    other = ShardDrain(session_factory, one_shard, 0, BATCH, clock)
    drained: list[int] = []
    finish = ShardDrain._finish

    def giving_way(self: ShardDrain, *arguments: object) -> None:
        finish(self, *arguments)  # type: ignore[arg-type]
        if self is drain and not drained:
            drained.append(0)
            drained[0] = other.drain().events
            append(one_shard, [spent(number) for number in range(25, 28)])

    monkeypatch.setattr(ShardDrain, "_finish", giving_way)
    assert drain.drain().events == 13
    assert drained == [15]
    assert worths(session_factory) == {"a1": 2_800}
    assert dead_letters(session_factory) == []
    assert is_settled(session_factory, one_shard)


def test_a_tenant_that_comes_first_in_the_prefetched_batch_is_known(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """Its time zone was not known when the batch was prefetched, and its events are applied all the same."""
    with session_factory.begin() as session:
        add_tenant(session, Tenant("other", "Pacific/Auckland"), clock())
    append(one_shard, [spent(number) for number in range(BATCH)])
    late = spent(99).replace(POSTED.isoformat().encode(), b"2026-03-08T23:30:00+00:00")
    one_shard.append("other", [("a1", late)])
    assert drain.drain().events == 11
    with session_factory() as session:
        days = Sql("SELECT tenant, day FROM account_days ORDER BY 1").rows(session, {})
    assert [(tenant, str(day)) for tenant, day in days] == [("default", "2026-03-09"), ("other", "2026-03-09")]
    assert dead_letters(session_factory) == []


def test_a_decoded_batch_is_valid_in_the_same_zones_alone() -> None:
    """If a tenant has another zone now, or is gone, the batch is decoded again."""
    utc, prague = ZoneInfo("UTC"), ZoneInfo("Europe/Prague")
    batch = decode_batch([StreamEntry(0, "1-1", clock(), "default", spent(1))], {"default": utc, "unasked": prague})
    assert batch.holds_in({"default": utc})
    assert not batch.holds_in({"default": prague})
    assert not batch.holds_in({})
    assert not decode_batch(batch.entries, {}).holds_in({"default": utc})
