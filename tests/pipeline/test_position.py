"""The position of a shard: where it stands after what, and what the server tells of what is left behind it."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy.orm import Session, sessionmaker

from core.pipeline.drain import Drained, ShardDrain
from core.pipeline.sweep import sweep
from core.store.drain_figures import BatchFigures
from core.store.stream import GROUP, EventStream, stream_key
from tests.pipeline.test_drain import append, clock, spent, worths

Sessions = sessionmaker[Session]
FIGURES = BatchFigures(2, 0, 0, 0.1, clock())


@pytest.fixture
def one_shard(redis_client: redis.Redis) -> EventStream:
    """A stream of one shard with five entries."""
    stream = EventStream(redis_client, 1)
    append(stream, [spent(number) for number in range(5)])
    return stream


@pytest.fixture
def drain(session_factory: Sessions, one_shard: EventStream) -> ShardDrain:
    """Drains that shard, two events a batch."""
    return ShardDrain(session_factory, one_shard, 0, 2, clock)


def left(stream: EventStream) -> tuple[int | None, int]:
    """(lag, entries on the stream)."""
    (status,) = stream.status()
    return status.lag, status.length


def test_the_position_moves_over_what_is_applied(one_shard: EventStream) -> None:
    """Reading behind it takes nothing; advancing leaves what follows, and the server counts that."""
    position = one_shard.position(0)
    assert not position.needs_care
    first = one_shard.read_behind(0, position.entry_id, 2)
    assert first == one_shard.read_behind(0, position.entry_id, 2)
    ids = [entry[0] for entry in first]
    assert one_shard.advance(0, position.entry_id, ids[-1], 2)
    assert one_shard.position(0) == (ids[-1], False)
    assert left(one_shard) == (3, 5)
    assert len(one_shard.read_behind(0, ids[-1], 10)) == 3


def test_a_position_that_another_moved_stays(one_shard: EventStream) -> None:
    """Advancing from where it no longer stands moves it neither back nor on, and says so; figures are kept."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_behind(0, start, 5)]
    assert one_shard.advance(0, start, ids[3], 4)
    assert not one_shard.advance(0, start, ids[1], 2, batch=FIGURES)
    assert not one_shard.advance(0, ids[1], ids[4], 3)
    assert one_shard.position(0).entry_id == ids[3]
    assert left(one_shard) == (1, 5)


def test_the_position_moves_to_no_entry_that_is_gone(one_shard: EventStream, redis_client: redis.Redis) -> None:
    """A server that lost its last second may give smaller ids from then on; none of them may be passed over."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_behind(0, start, 5)]
    redis_client.delete(stream_key(0))
    assert not one_shard.advance(0, start, ids[-1], 5, batch=FIGURES)
    redis_client.xadd(stream_key(0), {"event": spent(9)}, id="1-1")
    assert one_shard.position(0).entry_id == b"0-0"
    assert not one_shard.advance(0, b"0-0", ids[-1], 5)
    assert [entry[0] for entry in one_shard.read_behind(0, b"0-0", 5)] == [b"1-1"]


def test_a_batch_that_was_begun_needs_care_until_the_position_is_past_it(one_shard: EventStream) -> None:
    """Whoever finds the note beyond the position has its entries handed out; that moves the position as well."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_behind(0, start, 3)]
    one_shard.note_begun(0, ids[-1])
    assert one_shard.position(0).needs_care
    taken = one_shard.read(0, 2, pending=False)
    assert [entry[0] for entry in taken] == ids[:2]
    assert one_shard.position(0) == (ids[1], True)
    one_shard.read(0, 1, pending=False)
    assert one_shard.position(0) == (ids[2], False)
    assert left(one_shard) == (2, 5)


def test_the_next_batch_can_be_noted_with_the_advance(one_shard: EventStream) -> None:
    """One round trip ends a batch and begins the next."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_behind(0, start, 5)]
    assert one_shard.advance(0, start, ids[1], 2, next_last=ids[4])
    assert one_shard.position(0) == (ids[1], True)


def test_a_group_made_anew_on_a_trimmed_stream_counts_what_is_left(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """Where the group was lost the server tells the entries that lie there, and those are applied again."""
    drain.drain()
    assert sweep(one_shard).trimmed == 5
    append(one_shard, [spent(number) for number in range(5, 8)])
    redis_client.xgroup_destroy(stream_key(0), GROUP)
    assert one_shard.position(0).entry_id == b"0-0"
    assert left(one_shard) == (3, 3)
    assert drain.drain() == Drained(3)
    assert left(one_shard) == (0, 3)
    assert worths(session_factory) == {"a1": 800}


def test_a_group_whose_count_is_lost_is_counted_again(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """Setting the group's place by hand makes the server forget how many were read; handing out mends it."""
    drain.drain()
    redis_client.xgroup_setid(stream_key(0), GROUP, "0")
    assert one_shard.position(0).needs_care
    assert drain.drain() == Drained(5)
    append(one_shard, [spent(number) for number in range(5, 8)])
    assert not one_shard.position(0).needs_care
    assert left(one_shard) == (3, 8)
    assert drain.drain() == Drained(3)
    assert worths(session_factory) == {"a1": 800}
    assert (one_shard.status()[0].pending, one_shard.status()[0].unapplied) == (0, 0)


def test_a_drain_of_the_version_before_may_work_between(
    one_shard: EventStream, drain: ShardDrain, session_factory: Sessions
) -> None:
    """It has its entries handed out and acknowledges them; each drain goes on where the other stopped."""
    taken = one_shard.read(0, 2, pending=False)
    assert drain.drain() == Drained(5), "what is pending comes first"
    append(one_shard, [spent(number) for number in range(5, 9)])
    taken = one_shard.read(0, 3, pending=False)
    one_shard.acknowledge(0, [entry[0] for entry in taken])
    assert left(one_shard) == (1, 9)
    assert drain.drain() == Drained(1)
    assert left(one_shard) == (0, 9)
    assert worths(session_factory) == {"a1": 600}


def test_an_entry_that_someone_deleted_is_passed_over(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """What was taken off the stream before any drain read it is not there; all else is applied."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_behind(0, start, 5)]
    one_shard.note_begun(0, ids[4])
    redis_client.xdel(stream_key(0), ids[1], ids[4])
    assert drain.drain() == Drained(3)
    assert worths(session_factory) == {"a1": 300}
    append(one_shard, [spent(9)])
    assert drain.drain() == Drained(1)
    assert not one_shard.position(0).needs_care
    assert one_shard.status()[0].oldest_at is None
