"""The drains' stats: what a batch adds to them, what counts as a duplicate, and that losing them harms nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from structlog.testing import capture_logs

from core.ingestion.apply import Applied
from core.ingestion.drain import ShardDrain
from core.store.database import Sessions
from core.stream.entries import stream_key
from core.stream.stats import DrainStats, read_drain_stats, stats_key
from core.stream.stream import EventStream
from tests.acts import balance, event, paid
from tests.conftest import Apply
from tests.ingestion.positions import die, is_settled, status
from tests.ingestion.test_drain import append, clock, spent, worths

AT = datetime(2026, 3, 9, 12, tzinfo=UTC)


@pytest.fixture
def one_shard(redis_client: redis.Redis) -> EventStream:
    """A stream of one shard, so that everything is on it."""
    return EventStream(redis_client, 1)


@pytest.fixture
def drain(session_factory: Sessions, one_shard: EventStream) -> ShardDrain:
    """Drains that shard, ten events a batch."""
    return ShardDrain(session_factory, one_shard, 0, 10, clock)


def stats(client: redis.Redis) -> DrainStats:
    """The stats of shard 0."""
    return read_drain_stats(client, [0])[0]


def described(id: str, at: datetime, **data: object) -> bytes:
    """An event about an account."""
    return event("account.changed", at, id, {"account_id": "a"} | data)


def duplicates(applied: Applied) -> tuple[int, int]:
    """(events, duplicates)."""
    return applied.events, applied.duplicates


def test_what_is_known_or_older_is_a_duplicate(apply: Apply) -> None:
    """An event counts as a duplicate if what it states was known or is older, whichever kind of fact it states."""
    events = [paid("t", 100, AT), balance(500, AT), described("e", AT, kind="liability")]
    assert duplicates(apply(events)) == (3, 0)
    assert duplicates(apply(events)) == (3, 3)
    earlier = AT - timedelta(hours=1)
    older = [paid("t", 900, earlier), described("o", earlier, kind="asset")]
    assert duplicates(apply(older)) == (2, 2)
    removed = event("transaction.removed", AT, "r", {"account_id": "a", "transaction_id": "t"})
    assert duplicates(apply([removed, paid("t", 100, AT)])) == (2, 1)


def test_within_a_batch_only_the_winner_is_new(apply: Apply) -> None:
    """Of an event that comes twice in one batch, and of two statements of one key, one counts and one does not."""
    later = AT + timedelta(minutes=1)
    assert duplicates(apply([paid("t", 100, AT), paid("t", 100, AT)])) == (2, 1)
    assert duplicates(apply([balance(100, AT), balance(100, AT), balance(100, later)])) == (3, 1)
    assert duplicates(apply([described("x", AT, name="x"), described("y", later, name="y")])) == (2, 1)


def test_an_event_with_anything_new_is_none(apply: Apply) -> None:
    """An event whose transaction is known but which states an account's user for the first time is no duplicate."""
    assert duplicates(apply([paid("t", 100, AT)])) == (1, 0)
    data = {"account_id": "a", "transaction_id": "t", "amount": 1, "currency": "USD", "posted_at": AT.isoformat()}
    older = event("transaction.recorded", AT - timedelta(days=1), "o", data | {"user_id": "u"})
    assert duplicates(apply([older])) == (1, 0)
    assert duplicates(apply([older])) == (1, 1)


def test_a_dead_letter_is_no_duplicate(apply: Apply) -> None:
    """What is set aside counts as a dead letter alone."""
    applied = apply([b"{", b"{"])
    assert (applied.events, applied.dead_letters, applied.duplicates) == (2, 2, 0)


def test_every_batch_adds_to_the_stats(drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis) -> None:
    """Sums, the histogram of sizes and the last commit are those of the batches that were committed."""
    began = clock()
    append(one_shard, [spent(number) for number in range(12)])
    drain.drain()
    found = stats(redis_client)
    assert (found.batches, found.events, found.duplicates, found.dead_letters) == (2, 12, 0, 0)
    assert found.sizes[:3] == (0, 2, 2)
    assert found.durations[-1] == 2
    assert 0 < found.microseconds < 60_000_000
    assert found.last_commit_at is not None
    assert began - timedelta(seconds=1) < found.last_commit_at <= clock()


def test_quarantined_events_are_in_the_stats(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """An event that is set aside because its worker always died counts as a batch of one dead letter."""
    append(one_shard, [spent(1)])
    die(session_factory, 10, times=8)
    drain.drain()
    found = stats(redis_client)
    assert (found.batches, found.events, found.dead_letters) == (1, 1, 1)


def test_a_batch_logs_one_line_with_its_stats(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis
) -> None:
    """The line "applied" has events, duplicates, dead letters and how long the oldest event of the batch waited."""
    accepted = clock() - timedelta(seconds=90)
    redis_client.xadd(stream_key(0), {"event": spent(1)}, id=f"{int(accepted.timestamp() * 1000)}-0")
    append(one_shard, [spent(1), spent(2), b"{"])
    with capture_logs() as lines:
        drain.drain()
    (line,) = (line for line in lines if line["event"] == "applied")
    assert (line["events"], line["duplicates"], line["dead_letters"]) == (4, 1, 1)
    assert 90 <= line["lag_s"] < 120


def test_a_flush_loses_stats_and_nothing_else(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """After the stats are dropped the next batch starts them again, and every event is applied once."""
    append(one_shard, [spent(1)])
    drain.drain()
    redis_client.delete(stats_key(0))
    assert stats(redis_client).last_commit_at is None
    append(one_shard, [spent(2)])
    drain.drain()
    assert stats(redis_client).events == 1
    assert worths(session_factory) == {"a1": 200}


def test_stats_that_cannot_be_written_fail_no_drain(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """If the server refuses the stats, events are applied all the same."""
    redis_client.set(stats_key(0), "not a hash")
    append(one_shard, [spent(1)])
    assert drain.drain().events == 1
    assert is_settled(session_factory, one_shard)
    assert worths(session_factory) == {"a1": 100}


def test_a_drain_at_work_has_its_time(one_shard: EventStream, session_factory: Sessions) -> None:
    """A shard that no drain works on has no such time; after one has begun it is what passed since then."""
    append(one_shard, [spent(1)])
    assert status(session_factory, one_shard).idle_s is None
    began_at = clock()
    die(session_factory, 10)
    idle_s = status(session_factory, one_shard).idle_s
    assert idle_s is not None
    assert 0 <= idle_s <= (clock() - began_at).total_seconds() + 0.01
