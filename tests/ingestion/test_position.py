"""The position of a shard: what moves it, and how many entries the server counts after it."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest
import redis
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from core.ingestion import apply as apply_module
from core.ingestion import shard as shard_module
from core.ingestion.apply import Applied
from core.ingestion.decode import Batch
from core.ingestion.drain import Drained, ShardDrain
from core.jobs.sweep import sweep
from core.stream.group import GROUP
from core.stream.position import RawEntry, in_progress_key, stream_key, successor
from core.stream.stats import BatchStats
from core.stream.stream import EventStream
from tests.ingestion.test_drain import append, clock, spent, worths

Sessions = sessionmaker[Session]
FIGURES = BatchStats(2, 0, 0, 0.1, clock())


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
    """Reading after it takes nothing; advancing leaves the entries that follow, and the server counts them."""
    position = one_shard.position(0)
    assert not position.needs_care
    first = one_shard.read_after(0, position.entry_id, 2)
    assert first == one_shard.read_after(0, position.entry_id, 2)
    ids = [entry[0] for entry in first]
    assert one_shard.advance(0, position.entry_id, ids[-1], 2)
    assert one_shard.position(0) == (ids[-1], False, 3, True)
    assert left(one_shard) == (3, 5)
    assert len(one_shard.read_after(0, ids[-1], 10)) == 3


def test_a_position_that_another_moved_stays(one_shard: EventStream) -> None:
    """Advancing from where it no longer is moves it neither back nor on, and says so; the stats are kept."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_after(0, start, 5)]
    assert one_shard.advance(0, start, ids[3], 4)
    assert not one_shard.advance(0, start, ids[1], 2, batch=FIGURES, next_last=ids[4])
    assert not one_shard.advance(0, ids[1], ids[4], 3)
    assert one_shard.position(0) == (ids[3], False, 1, True), "nor is anything noted"
    assert left(one_shard) == (1, 5)


def test_the_position_moves_to_no_entry_that_is_gone(one_shard: EventStream, redis_client: redis.Redis) -> None:
    """A server that lost its last second may give smaller ids from then on; none of them may be passed over."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_after(0, start, 5)]
    redis_client.delete(stream_key(0))
    assert not one_shard.advance(0, start, ids[-1], 5, batch=FIGURES)
    redis_client.xadd(stream_key(0), {"event": spent(9)}, id="1-1")
    assert one_shard.position(0).entry_id == b"0-0"
    assert not one_shard.advance(0, b"0-0", ids[-1], 5)
    assert [entry[0] for entry in one_shard.read_after(0, b"0-0", 5)] == [b"1-1"]


def test_a_batch_that_was_begun_needs_care_until_the_position_is_past_it(one_shard: EventStream) -> None:
    """A drain that finds a note after the position has the group deliver the entries; that moves the position too."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_after(0, start, 3)]
    one_shard.note_in_progress(0, ids[-1])
    assert one_shard.position(0).needs_care
    taken = one_shard.read(0, 2, pending=False)
    assert [entry[0] for entry in taken] == ids[:2]
    assert one_shard.position(0) == (ids[1], True, 3, True)
    one_shard.read(0, 1, pending=False)
    assert one_shard.position(0) == (ids[2], False, 2, True)
    assert left(one_shard) == (2, 5)


def test_the_next_batch_can_be_noted_with_the_advance(one_shard: EventStream) -> None:
    """One round trip ends a batch and begins the next."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_after(0, start, 5)]
    assert one_shard.advance(0, start, ids[1], 2, next_last=ids[4])
    assert one_shard.position(0) == (ids[1], True, 3, True)


def test_a_group_made_anew_on_a_trimmed_stream_counts_what_is_left(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """If the group was lost the server counts the entries on the stream, and those are applied again."""
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
    """Setting the group's position by hand makes the server forget how many were read; a delivery corrects that."""
    drain.drain()
    redis_client.delete(in_progress_key(0))
    redis_client.xgroup_setid(stream_key(0), GROUP, "0")
    position = one_shard.position(0)
    assert (position.is_in_progress, position.needs_care) == (False, True)
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
    """It has the group deliver entries and acknowledges them; each drain goes on where the other stopped."""
    taken = one_shard.read(0, 2, pending=False)
    assert drain.drain() == Drained(5), "what is pending comes first"
    append(one_shard, [spent(number) for number in range(5, 9)])
    taken = one_shard.read(0, 3, pending=False)
    one_shard.acknowledge(0, [entry[0] for entry in taken])
    assert left(one_shard) == (1, 9)
    assert drain.drain() == Drained(1)
    assert left(one_shard) == (0, 9)
    assert worths(session_factory) == {"a1": 600}


def test_entries_that_went_unread_are_counted_and_passed_over(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """Entries that were taken off the stream before any drain read them are in the log; all others are applied."""
    start = one_shard.position(0).entry_id
    ids = [entry[0] for entry in one_shard.read_after(0, start, 5)]
    redis_client.xdel(stream_key(0), ids[1], ids[4])
    with capture_logs() as lines:
        assert drain.drain() == Drained(3)
    assert [line["entries"] for line in lines if line["event"] == "entries went before they were read"] == [2]
    assert worths(session_factory) == {"a1": 300}
    assert not one_shard.position(0).needs_care
    append(one_shard, [spent(number) for number in range(10, 15)])
    redis_client.xtrim(stream_key(0), maxlen=2, approximate=False)
    assert drain.drain() == Drained(2)
    assert (one_shard.status()[0].lag, one_shard.status()[0].oldest_at) == (0, None)


def test_an_entry_that_goes_while_it_is_applied_holds_up_nothing(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The position cannot move to it; the group delivers what is left, and then all counts as applied."""
    (end,) = one_shard.ends().values()
    finish = ShardDrain._finish

    def taking_away(self: ShardDrain, batch: Batch, *arguments: object) -> None:
        if batch.raw[-1][0].decode() == end:
            redis_client.xdel(stream_key(0), end)
        finish(self, batch, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ShardDrain, "_finish", taking_away)
    drain.drain()
    assert one_shard.is_applied(0, end)
    assert left(one_shard) == (0, 4)


def test_a_note_of_what_will_never_come_is_dropped(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """After an entry with a far id, and a key that was deleted, batches are whole again."""
    redis_client.xadd(stream_key(0), {"tenant": "default", "event": spent(9)}, id="999999999999999999-1")
    assert drain.drain() == Drained(6)
    redis_client.delete(stream_key(0))
    append(one_shard, [spent(number) for number in range(10, 16)])
    assert drain.drain() == Drained(6)
    assert not one_shard.position(0).needs_care
    assert worths(session_factory) == {"a1": 1_200}


def test_a_full_server_is_drained(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """It accepts no note of a batch in progress, but the group still delivers: so what fills it is applied."""
    drain.drain()
    append(one_shard, [spent(number) for number in range(5, 10)])
    redis_client.config_set("maxmemory", "1mb")
    try:
        assert not one_shard.note_in_progress(0, b"1-1")
        assert drain.drain() == Drained(5)
        assert sweep(one_shard).trimmed == 10
    finally:
        redis_client.config_set("maxmemory", "0")
    assert worths(session_factory) == {"a1": 1_000}


class TooMuch(BaseException):
    """Stands for the death of a process that was given more than it can hold."""


class Small(EventStream):
    """A stream whose process dies of more than two entries."""

    deaths = 0

    def read_after(self, shard: int, behind: bytes, count: int) -> list[RawEntry]:
        return self._at_most_two(super().read_after(shard, behind, count))

    def read(self, shard: int, count: int, *, pending: bool) -> list[RawEntry]:
        return self._at_most_two(super().read(shard, count, pending=pending))

    def _at_most_two(self, entries: list[RawEntry]) -> list[RawEntry]:
        if len(entries) > 2:
            self.deaths += 1
            raise TooMuch
        return entries


def test_a_drain_that_dies_of_reading_is_given_less(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """A batch is noted before it is read, so after a drain that died of it the next one takes a smaller part."""
    stream = Small(redis_client, 1)
    append(stream, [spent(number) for number in range(40)])
    drain = ShardDrain(session_factory, stream, 0, 64, clock)
    for _ in range(30):
        with suppress(TooMuch):
            drain.drain()
    assert stream.deaths > 0
    assert worths(session_factory) == {"a1": 4_000}
    assert (stream.status()[0].pending, stream.status()[0].unapplied) == (0, 0)


def test_a_batch_that_another_took_meanwhile_is_no_failure(
    one_shard: EventStream, drain: ShardDrain, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a batch's failure and the delivery of its entries another drain applies them all."""
    other = ShardDrain(session_factory, one_shard, 0, 10, clock)
    applies, calls = apply_module.apply_decoded, itertools.count()

    def failing_once(*given: Any) -> Applied:
        if next(calls) == 0:
            raise ValueError("of an event")
        return applies(*given)

    monkeypatch.setattr(shard_module, "apply_decoded", failing_once)
    hand_out = ShardDrain._deliver

    def late(self: ShardDrain, size: int) -> Batch:
        if self is drain:
            taken = one_shard.read(0, 5, pending=False)
            one_shard.acknowledge(0, [entry[0] for entry in taken])
        return hand_out(self, size)

    monkeypatch.setattr(ShardDrain, "_deliver", late)
    assert drain.drain() == Drained(0)
    assert left(one_shard) == (0, 5)
    append(one_shard, [spent(7)])
    assert other.drain() == Drained(1)


@pytest.mark.parametrize(("entry_id", "next_id"), [(b"0-0", b"0-1"), (b"5-18446744073709551615", b"6-0")])
def test_the_least_id_behind_one(entry_id: bytes, next_id: bytes) -> None:
    """The sequence goes up to 2^64 - 1, and then comes the next millisecond."""
    assert successor(entry_id) == next_id
