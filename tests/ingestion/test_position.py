"""The position of a shard: what moves it, what is left after it, and when it does not hold any more."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.ingestion.attempts import after_entries, after_failure, batch_size, begin, is_hopeless
from core.ingestion.drain import ShardDrain
from core.jobs.sweep import sweep
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.positions import Position
from core.stream.entries import RawEntry, stream_key, successor
from core.stream.stream import EventStream
from tests.ingestion.positions import die, is_settled, position, status
from tests.ingestion.test_drain import append, clock, dead_letters, spent, worths


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


def left(sessions: Sessions, stream: EventStream) -> tuple[int | None, int]:
    """(lag, entries on the stream)."""
    found = status(sessions, stream)
    return found.lag, found.length


def test_the_lag_is_what_follows_the_position(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """Before the first drain all entries count, then none, then those that came since, trimmed or not."""
    assert left(session_factory, one_shard) == (5, 5)
    assert drain.drain().events == 5
    assert left(session_factory, one_shard) == (0, 5)
    append(one_shard, [spent(number) for number in range(5, 8)])
    assert left(session_factory, one_shard) == (3, 8)
    assert sweep(session_factory, one_shard).trimmed == 5
    assert left(session_factory, one_shard) == (3, 3)
    assert drain.drain().events == 3
    assert left(session_factory, one_shard) == (0, 3)
    assert worths(session_factory) == {"a1": 800}


def test_a_shard_without_a_row_is_read_from_its_oldest_entry(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """A position that was lost costs reading what is there once more; what was trimmed before is not missed."""
    drain.drain()
    assert sweep(session_factory, one_shard).trimmed == 5
    append(one_shard, [spent(number) for number in range(5, 8)])
    with session_factory.begin() as session:
        Sql("DELETE FROM stream_positions").run(session, {})
    assert left(session_factory, one_shard) == (3, 3)
    assert drain.drain().events == 3
    assert left(session_factory, one_shard) == (0, 3)
    assert worths(session_factory) == {"a1": 800}
    assert dead_letters(session_factory) == []


@pytest.mark.parametrize("is_same_server", [True, False])
def test_a_database_from_a_backup_goes_on_from_its_own_position(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, is_same_server: bool
) -> None:
    """Rows and position go back together: what the stream still has is applied, what was trimmed is said to be lost."""
    drain.drain()
    kept = position(session_factory)
    append(one_shard, [spent(number) for number in range(5, 9)])
    drain.drain()
    sweep(session_factory, one_shard)
    append(one_shard, [spent(number) for number in range(9, 12)])
    with session_factory.begin() as session:
        Sql("DELETE FROM transactions WHERE transaction_id NOT IN ('t0','t1','t2','t3','t4')").run(session, {})
        Sql("UPDATE accounts SET worth_minor = 500, inflow_minor = 500").run(session, {})
        Sql("UPDATE stream_positions SET entry_id = :id, passed = :passed, server = :server").run(
            session,
            {"id": kept.entry_id, "passed": kept.passed, "server": kept.server if is_same_server else "that of before"},
        )
    drain.drain()
    drain.drain()
    assert worths(session_factory) == {"a1": 800}
    with session_factory() as session:
        reasons = Sql("SELECT reason FROM dead_letters WHERE code = 'lost'").values(session, {})
    assert [reason.partition(" after ")[0] for reason in reasons] == ["the stream dropped 4 entries"]
    assert is_settled(session_factory, one_shard)


def test_a_stream_begun_anew_is_read_from_its_start(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """A flush, and then entries with lesser ids than the position: none of them is passed over, none trimmed unread."""
    drain.drain()
    redis_client.delete(stream_key(0))
    earlier = int((clock() - timedelta(hours=1)).timestamp() * 1000)
    for number in range(5, 9):
        redis_client.xadd(stream_key(0), {"event": spent(number)}, id=f"{earlier}-{number}")
    assert left(session_factory, one_shard) == (4, 4)
    assert sweep(session_factory, one_shard).trimmed == 0
    assert drain.drain().events == 4
    assert worths(session_factory) == {"a1": 900}
    assert left(session_factory, one_shard) == (0, 4)
    assert sweep(session_factory, one_shard).trimmed == 4
    assert dead_letters(session_factory) == []


def test_a_server_that_lost_its_last_entries_is_read_from_its_oldest(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """It gives lesser ids from then on, as its clock may be behind; producers send again what was lost."""
    kept = redis_client.dump(stream_key(0))
    append(one_shard, [spent(number) for number in range(5, 8)])
    drain.drain()
    redis_client.restore(stream_key(0), 0, kept, replace=True)
    assert left(session_factory, one_shard) == (5, 5)
    last = redis_client.xinfo_stream(stream_key(0))["last-generated-id"].decode()
    for number in range(7, 10):
        redis_client.xadd(stream_key(0), {"event": spent(number)}, id=f"{last.partition('-')[0]}-{number + 100}")
    assert drain.drain().events == 8
    assert worths(session_factory) == {"a1": 1_000}
    assert is_settled(session_factory, one_shard)


def test_another_server_process_is_read_from_its_oldest_entry(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """It may have lost entries, and given their ids to others, without any other sign of it."""
    drain.drain()
    with session_factory.begin() as session:
        Sql("UPDATE stream_positions SET server = 'another'").run(session, {})
    assert left(session_factory, one_shard) == (5, 5)
    assert sweep(session_factory, one_shard).trimmed == 0
    assert drain.drain().events == 5
    assert worths(session_factory) == {"a1": 500}
    assert is_settled(session_factory, one_shard)


def test_what_was_set_aside_stays_so_when_it_is_read_again(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """A dead letter needs somebody's decision; another entry that a server gave the same id is applied."""
    die(session_factory, 2, times=8)
    drain.drain()
    assert dead_letters(session_factory) == [("poison", spent(0))]
    with session_factory.begin() as session:
        Sql("UPDATE stream_positions SET server = 'another'").run(session, {})
    assert drain.drain().events == 5
    assert worths(session_factory) == {"a1": 400}
    assert position(session_factory).reread_to == ""
    (first,) = redis_client.xrange(stream_key(0), count=1)
    redis_client.delete(stream_key(0))
    redis_client.xadd(stream_key(0), {"event": spent(9)}, id=first[0].decode())
    assert drain.drain().events == 1
    assert worths(session_factory) == {"a1": 500}
    assert is_settled(session_factory, one_shard)


def test_reading_again_that_is_begun_again_goes_as_far(drain: ShardDrain, session_factory: Sessions) -> None:
    """The stream server restarts twice: what was applied before the first time is read again up to the same end."""
    drain.drain()
    end = position(session_factory).entry_id
    for server in ("one", "another"):
        with session_factory.begin() as session:
            Sql("UPDATE stream_positions SET server = :server").run(session, {"server": server})
        assert drain.drain(0).events == 2
        assert position(session_factory).reread_to == end
    drain.drain()
    assert position(session_factory).reread_to == ""
    assert worths(session_factory) == {"a1": 500}


def test_entries_that_went_unread_are_counted(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """Entries that were taken off the stream before any drain read them are in the log; all others are applied."""
    drain.drain()
    append(one_shard, [spent(number) for number in range(5, 10)])
    ids = [entry[0] for entry in one_shard.read_after(0, position(session_factory).entry_id, 5)]
    redis_client.xdel(stream_key(0), ids[1], ids[4])
    with capture_logs() as lines:
        assert drain.drain().events == 3
        drain.drain()
        drain.drain()
    assert [line["entries"] for line in lines if line["event"] == "entries went before they were read"] == [2]
    assert worths(session_factory) == {"a1": 800}
    assert is_settled(session_factory, one_shard)


def test_a_full_server_is_drained(
    one_shard: EventStream, drain: ShardDrain, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """It accepts nothing, but it still gives what it has: so what fills it is applied."""
    drain.drain()
    append(one_shard, [spent(number) for number in range(5, 10)])
    redis_client.config_set("maxmemory", "1mb")
    try:
        assert drain.drain().events == 5
        assert sweep(session_factory, one_shard).trimmed == 10
    finally:
        redis_client.config_set("maxmemory", "0")
    assert worths(session_factory) == {"a1": 1_000}


class TooMuch(BaseException):
    """Stands for the death of a process that was given more than it can hold."""


class Small(EventStream):
    """A stream whose process dies of more than two entries."""

    deaths = 0

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        entries = super().read_after(shard, after, count)
        if len(entries) > 2:
            self.deaths += 1
            raise TooMuch
        return entries


def test_a_drain_that_dies_of_reading_is_given_less(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """A drain notes that it begins before it reads, so after one that died of it the next one takes a smaller part."""
    stream = Small(redis_client, 1)
    append(stream, [spent(number) for number in range(40)])
    drain = ShardDrain(session_factory, stream, 0, 64, clock)
    for _ in range(60):
        with suppress(TooMuch):
            drain.drain()
    assert stream.deaths > 0
    assert worths(session_factory) == {"a1": 4_000}
    assert is_settled(session_factory, stream)


@pytest.mark.parametrize(("entry_id", "next_id"), [("0-0", "0-1"), ("5-18446744073709551615", "6-0")])
def test_the_least_id_behind_one(entry_id: str, next_id: str) -> None:
    """The sequence goes up to 2^64 - 1, and then comes the next millisecond."""
    assert successor(entry_id) == next_id


@given(batch_events=st.integers(1, 5_000), killers=st.sets(st.integers(0, 20_000), max_size=3))
def test_a_killer_takes_few_lives_and_alone_is_set_aside(batch_events: int, killers: set[int]) -> None:
    """Of any stream all but the killers are applied; each of these costs at most eight workers and some batches."""
    at, deaths, batches, position = 0, 0, 0, Position()
    set_aside: set[int] = set()
    while at < 20_001:
        position = begin(position, batch_events)
        size = min(batch_size(position, batch_events), 20_001 - at)
        if is_hopeless(position, batch_events):
            assert size == 1
            set_aside.add(at)
        elif killers & set(range(at, at + size)):
            deaths += 1
            position = position._replace(begun_at=clock())
            continue
        position, at, batches = after_entries(position, str(at), size, batch_events), at + size, batches + 1
    assert set_aside == killers
    assert deaths <= 8 * len(killers) + len(killers)
    assert batches <= 20_001 // batch_events + 1 + 60 * len(killers)
    assert (position.tries, position.in_doubt) == (0, 0) or killers


def test_an_entry_that_was_never_alone_is_not_hopeless() -> None:
    """A smaller batch size is set after some deaths: the suspects are then tried one by one before any is set aside."""
    position = Position()
    for _ in range(4):
        position = after_failure(position, 2_000)
    for batch_events in (20, 10, 5, 1):
        assert not is_hopeless(position, batch_events)
        assert batch_size(position, batch_events) == 1


def test_what_fails_is_tried_in_eighths() -> None:
    """4,000, then 500, 62, 7 and 1; as parts get through they grow again."""
    position, sizes = Position(), []
    for _ in range(7):
        sizes.append(batch_size(position, 4_000))
        position = after_failure(position, 4_000)
    assert sizes == [4_000, 500, 62, 7, 1, 1, 1]
    for _ in range(6):
        size = batch_size(position, 4_000)
        while position.tries and batch_size(position, 4_000) == size:
            position = after_entries(position, "1-1", size, 4_000)
        sizes.append(batch_size(position, 4_000))
    assert sizes[7:11] == [7, 62, 500, 4_000]
