"""Only an event that itself cannot be applied becomes a dead letter; other failures are waited out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
import redis
from psycopg import OperationalError, ProgrammingError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.errors import StreamUnavailable
from core.ingestion import apply as apply_module
from core.ingestion import drain as drain_module
from core.ingestion.apply import Applied
from core.ingestion.decode import Decoded
from core.ingestion.drain import ShardDrain
from core.ingestion.facts import DuplicateCheck
from core.store.database import Sessions, is_database_trouble, open_sessions
from core.store.driver import Session, Sql
from core.stream.entries import RawEntry, stream_key
from core.stream.stats import BatchStats
from core.stream.stream import EntryKey, EventStream
from tests.ingestion.positions import die, is_settled, position, status
from tests.ingestion.test_drain import append, clock, dead_letters, spent, worths

TRIES = 12


@pytest.fixture
def one_shard(redis_client: redis.Redis) -> EventStream:
    """A stream of one shard, so that everything is on it."""
    return EventStream(redis_client, 1)


@pytest.fixture
def drain(session_factory: Sessions, one_shard: EventStream) -> ShardDrain:
    """Drains that shard, ten events a batch."""
    return ShardDrain(session_factory, one_shard, 0, 10, clock)


def test_a_schema_that_is_not_migrated_yet_loses_no_event(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """New workers on an old schema fail and fail again; once it is migrated everything is applied."""
    append(one_shard, [spent(number) for number in range(5)])
    with session_factory.begin() as session:
        Sql("ALTER TABLE transactions RENAME COLUMN category TO kategorie").run(session, {})
    with pytest.raises(ProgrammingError) as failed:
        drain.drain()
    assert is_database_trouble(failed.value)
    for _ in range(TRIES):
        with suppress(ProgrammingError):
            drain.drain()
    assert status(session_factory, one_shard).unapplied == 5
    assert dead_letters(session_factory) == []
    with session_factory.begin() as session:
        Sql("ALTER TABLE transactions RENAME COLUMN kategorie TO category").run(session, {})
    drain.drain()
    assert worths(session_factory) == {"a1": 500}
    assert is_settled(session_factory, one_shard)


def test_a_worker_of_the_version_before_loses_no_event(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that still adds to the days of accounts, now a view, fails and fails again; a new one applies all."""
    adding = Sql("INSERT INTO account_days (tenant, account_id, day, moved_minor) VALUES ('default', 'a1', now(), 100)")
    append(one_shard, [spent(number) for number in range(5)])
    with monkeypatch.context() as before:
        before.setattr(apply_module, "write_transactions", lambda session, _: adding.run(session, {}))
        with pytest.raises(OperationalError) as failed:
            drain.drain()
        for _ in range(TRIES):
            with suppress(OperationalError):
                drain.drain()
    assert failed.value.sqlstate == "55000"
    assert is_database_trouble(failed.value)
    assert status(session_factory, one_shard).unapplied == 5
    assert dead_letters(session_factory) == []
    drain.drain()
    assert worths(session_factory) == {"a1": 500}
    assert is_settled(session_factory, one_shard)


class StallingStream(EventStream):
    """A stream server that times out, as often as it is set to, when a drain reports a commit."""

    stalls = 0

    def note_stats(self, shard: int, batch: BatchStats) -> None:
        if self.stalls:
            self.stalls -= 1
            raise RedisTimeoutError("stalled")
        super().note_stats(shard, batch)


def test_a_stalling_stream_server_makes_no_dead_letters(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """However often it fails after a commit, each event is applied and none is set aside."""
    stream = StallingStream(redis_client, 1)
    drain = ShardDrain(session_factory, stream, 0, 2, clock)
    append(stream, [spent(number) for number in range(24)])
    stream.stalls = TRIES
    deadline = clock() + timedelta(seconds=30)
    while status(session_factory, stream).unapplied:
        assert clock() < deadline
        try:
            drain.drain()
        except RedisError:
            continue
    assert worths(session_factory) == {"a1": 2_400}
    assert dead_letters(session_factory) == []


class TimeIsUp(Exception):
    """Stands for a task's soft time limit, which Celery raises anywhere in the task."""


def test_a_time_limit_is_not_the_events_fault(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that no event can cause leaves the entries where they are, even if it comes again and again."""
    append(one_shard, [spent(1)])
    applies = apply_module.apply_decoded

    def interrupted(*_: object) -> None:
        raise TimeIsUp

    monkeypatch.setattr(drain_module, "apply_decoded", interrupted)
    for _ in range(TRIES):
        with pytest.raises(TimeIsUp):
            drain.drain()
    monkeypatch.setattr(drain_module, "apply_decoded", applies)
    drain.drain()
    assert worths(session_factory) == {"a1": 100}
    assert dead_letters(session_factory) == []


def test_an_id_from_the_far_future_stops_nothing(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """A producer's own entry id, however large, is no time: events apply, and dates are checked against the clock."""
    far = {"tenant": "default", "event": spent(1)}
    redis_client.xadd(stream_key(0), far, id="999999999999999999-1")  # type: ignore[arg-type]
    append(one_shard, [spent(2), spent(3).replace(b"2026-03-09", b"2031-03-09")])
    drain.drain()
    assert worths(session_factory) == {"a1": 200}
    assert [code for code, _ in dead_letters(session_factory)] == ["clock_ahead"]


def test_a_batch_that_comes_back_is_taken_in_smaller_parts(
    one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was too much for one transaction is tried in ever smaller ones, until it is not."""
    drain = ShardDrain(session_factory, one_shard, 0, 64, clock)
    append(one_shard, [spent(number) for number in range(64)])
    applies, sizes = apply_module.apply_decoded, []

    def limited(
        session: Session, batch: Decoded, now: datetime, duplicate_check: DuplicateCheck | None = None
    ) -> Applied:
        sizes.append(len(batch.entries))
        if len(batch.entries) > 4:
            raise TimeIsUp
        return applies(session, batch, now, duplicate_check)

    monkeypatch.setattr(drain_module, "apply_decoded", limited)
    deadline = clock() + timedelta(seconds=30)
    while status(session_factory, one_shard).unapplied:
        assert clock() < deadline
        try:
            drain.drain()
        except TimeIsUp:
            continue
    assert worths(session_factory) == {"a1": 6400}
    assert sizes[:3] == [64, 8, 1]


def test_entries_that_a_lock_holds_up_do_not_hold_up_others(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, database_url: str
) -> None:
    """While an account's row is locked by someone, its events wait, and those of other accounts are applied."""
    append(one_shard, [spent(1), spent(2)])
    with session_factory.begin() as session:
        Sql("INSERT INTO accounts (tenant, account_id) VALUES ('default', 'a1')").run(session, {})
    append(one_shard, [spent(3, account="b")])
    sessions = open_sessions(database_url, application_name="hasty", limits={"lock_timeout": "100ms"})
    hasty = ShardDrain(sessions, one_shard, 0, 10, clock)
    deadline = clock() + timedelta(seconds=30)
    with session_factory.begin() as holder:
        Sql("SELECT 1 FROM accounts WHERE account_id = 'a1' FOR UPDATE").run(holder, {})
        while worths(session_factory) != {"a1": 0, "b": 100}:
            assert clock() < deadline
            with suppress(OperationalError):
                hasty.drain()
    sessions.close()
    drain.drain()
    assert worths(session_factory) == {"a1": 200, "b": 100}
    assert dead_letters(session_factory) == []
    assert is_settled(session_factory, one_shard)


def test_a_begin_that_the_database_did_not_survive_counts_for_nothing(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """Who dies with the database, however often, was not killed by the event: it is applied, and not set aside."""
    append(one_shard, [spent(1)])
    for _ in range(TRIES):
        die(session_factory, 10)
        with session_factory.begin() as session:
            Sql("UPDATE stream_positions SET begun_at = pg_postmaster_start_time() - interval '1 s'").run(session, {})
    assert position(session_factory).tries == 0
    drain.drain()
    assert worths(session_factory) == {"a1": 100}
    assert dead_letters(session_factory) == []


class UnreadableStream(EventStream):
    """A stream server that can be asked, and refuses to give entries."""

    is_refusing = True

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        if self.is_refusing:
            raise RedisTimeoutError("no entries")
        return super().read_after(shard, after, count)


def test_entries_that_cannot_be_read_are_not_to_blame(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """However often reading fails, nothing is set aside once it works."""
    stream = UnreadableStream(redis_client, 1)
    drain = ShardDrain(session_factory, stream, 0, 10, clock)
    append(stream, [spent(1), spent(2)])
    for _ in range(TRIES):
        with pytest.raises(RedisTimeoutError):
            drain.drain()
    stream.is_refusing = False
    drain.drain()
    assert worths(session_factory) == {"a1": 200}
    assert dead_letters(session_factory) == []


class FullStream(EventStream):
    """A stream server that takes nothing more."""

    is_full = False

    def append_to_shards(self, entries: Sequence[tuple[int, str, bytes]]) -> list[EntryKey]:
        if self.is_full:
            raise StreamUnavailable("the stream is full")
        return super().append_to_shards(entries)


def test_an_entry_that_is_held_up_while_the_stream_is_full_is_not_to_blame(
    redis_client: redis.Redis, session_factory: Sessions, database_url: str
) -> None:
    """It cannot be appended again: so it stays where it is, however long, and is applied when the lock is free."""
    stream = FullStream(redis_client, 1)
    append(stream, [spent(1)])
    with session_factory.begin() as session:
        Sql("INSERT INTO accounts (tenant, account_id) VALUES ('default', 'a1')").run(session, {})
    sessions = open_sessions(database_url, application_name="hasty", limits={"lock_timeout": "50ms"})
    hasty = ShardDrain(sessions, stream, 0, 10, clock)
    stream.is_full = True
    with session_factory.begin() as holder:
        Sql("SELECT 1 FROM accounts WHERE account_id = 'a1' FOR UPDATE").run(holder, {})
        for _ in range(TRIES):
            with pytest.raises(StreamUnavailable):
                hasty.drain()
    hasty.drain()
    sessions.close()
    assert worths(session_factory) == {"a1": 100}
    assert dead_letters(session_factory) == []
