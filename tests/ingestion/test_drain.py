"""The drain: what it does when all is well, and what each kind of crash leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import redis

from core.ingestion import apply as apply_module
from core.ingestion import drain as drain_module
from core.ingestion.apply import Applied, apply_decoded
from core.ingestion.decode import Batch
from core.ingestion.drain import ShardDrain
from core.jobs.sweep import sweep
from core.store.database import Sessions, is_database_trouble, open_sessions
from core.store.driver import Session, Sql
from core.store.positions import Position, lock_position
from core.stream.entries import RawEntry, stream_key
from core.stream.position import StreamLook
from core.stream.stats import BatchStats
from core.stream.stream import EventStream
from tests.acts import event, money
from tests.dumping import rows_by_table
from tests.ingestion.positions import die, is_settled, position, status

POSTED = datetime(2026, 3, 9, tzinfo=UTC)
FACTS = ("accounts", "transactions", "reports", "account_days")


def clock() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def spent(number: int, minor: int = 100, account: str = "a1") -> bytes:
    """A posted transaction with a number for an id."""
    data = {
        "account_id": account,
        "transaction_id": f"t{number}",
        "amount": money(minor),
        "currency": "USD",
        "posted_at": POSTED.isoformat(),
        "pending": False,
    }
    return event("transaction.recorded", POSTED, f"e{number}", data)


@pytest.fixture
def one_shard(redis_client: redis.Redis) -> EventStream:
    """A stream of one shard, so that everything is on it."""
    return EventStream(redis_client, 1)


@pytest.fixture
def drain(session_factory: Sessions, one_shard: EventStream) -> ShardDrain:
    """Drains that shard, ten events a batch."""
    return ShardDrain(session_factory, one_shard, 0, 10, clock)


def append(stream: EventStream, events: Sequence[bytes]) -> None:
    """Put events on the stream."""
    stream.append("default", [("a1", body) for body in events])


def worths(session_factory: Sessions) -> dict[str, int]:
    """Worth by account."""
    with session_factory() as session:
        return {row[0]: row[1] for row in Sql("SELECT account_id, worth_minor FROM accounts").rows(session, {})}


def dead_letters(session_factory: Sessions) -> list[tuple[str, bytes]]:
    """(code, event) of every dead letter."""
    with session_factory() as session:
        return [
            (row[0], bytes(row[1]))
            for row in Sql("SELECT code, event FROM dead_letters ORDER BY entry_id").rows(session, {})
        ]


def test_a_drain_applies_everything_and_moves_the_position(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """After a drain every event is applied, the position is at the last one, and a sweep may drop them all."""
    append(one_shard, [spent(number) for number in range(25)])
    assert drain.drain().events == 25
    assert worths(session_factory) == {"a1": 2500}
    assert is_settled(session_factory, one_shard)
    assert {0: position(session_factory).entry_id} == one_shard.ends()
    assert sweep(session_factory, one_shard).trimmed == 25
    assert status(session_factory, one_shard).length == 0


class Died(BaseException):
    """Stands for the death of a process: nothing in it handles this."""


class DyingStream(EventStream):
    """A stream whose process dies at a named step, once each."""

    dies_at: Sequence[str] = ()

    def look(self, shard: int) -> StreamLook:
        found = super().look(shard)
        self._maybe_die("at the beginning")
        return found

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        entries = super().read_after(shard, after, count)
        if entries:
            self._maybe_die("after the read")
        return entries

    def note_stats(self, shard: int, batch: BatchStats) -> None:
        self._maybe_die("after the commit")
        super().note_stats(shard, batch)

    def _maybe_die(self, step: str) -> None:
        if self.dies_at[:1] == [step]:
            self.dies_at = self.dies_at[1:]
            raise Died


class DyingDrain(ShardDrain):
    """A drain of such a stream that can also die before its commit, and in it."""

    __slots__ = ()

    def _pass(self, session: Session, position: Position, batch: Batch, *, goes_on: bool) -> None:
        super()._pass(session, position, batch, goes_on=goes_on)
        assert isinstance(self.stream, DyingStream)
        self.stream._maybe_die("before the commit")


STEPS = ["at the beginning", "after the read", "before the commit", "after the commit"]


@pytest.mark.parametrize("steps", [*([step] for step in STEPS), STEPS, [*reversed(STEPS)], ["after the read"] * 3])
def test_a_crash_at_any_step_loses_and_doubles_nothing(
    redis_client: redis.Redis, session_factory: Sessions, steps: list[str]
) -> None:
    """Whatever steps drains die at, the last one leaves every event applied once and nothing noted."""
    stream = DyingStream(redis_client, 1)
    append(stream, [spent(number, 100 + number) for number in range(17)])
    drain = DyingDrain(session_factory, stream, 0, 10, clock)
    stream.dies_at = steps
    for _ in steps:
        with pytest.raises(Died):
            drain.drain()
    assert stream.dies_at == []
    drain.drain()
    assert worths(session_factory) == {"a1": sum(100 + number for number in range(17))}
    assert is_settled(session_factory, stream)
    assert sweep(session_factory, stream).trimmed == 17


def test_what_a_crash_after_the_commit_left_is_not_applied_again(
    redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """Rows and position are one commit: the next drain finds nothing to do, and leaves every table as it was."""
    stream = DyingStream(redis_client, 1)
    append(stream, [spent(number) for number in range(5)])
    stream.dies_at = ["after the commit"]
    drain = ShardDrain(session_factory, stream, 0, 10, clock)
    with pytest.raises(Died):
        drain.drain()
    with session_factory() as session:
        before = rows_by_table(session)
    assert drain.drain().events == 0
    with session_factory() as session:
        assert rows_by_table(session) == before
    assert worths(session_factory) == {"a1": 500}


def test_a_shard_is_drained_by_one_at_a_time(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """While one connection has locked the shard, another drain finds it busy and takes nothing."""
    append(one_shard, [spent(1)])
    drain.drain()
    append(one_shard, [spent(2)])
    with session_factory.begin() as other:
        assert lock_position(other, 0) is not None
        assert drain.drain().is_busy
        assert worths(session_factory) == {"a1": 100}
    assert drain.drain().events == 1


def test_two_first_drains_of_a_shard_make_one_row(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """No shard has a row before its first drain, and two workers may come at once."""
    stream = EventStream(redis_client, 1)
    append(stream, [spent(number) for number in range(30)])
    drains = [ShardDrain(session_factory, stream, 0, 5, clock) for _ in range(4)]
    threads = [threading.Thread(target=each.drain) for each in drains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    drains[0].drain()
    assert worths(session_factory) == {"a1": 3_000}
    assert is_settled(session_factory, stream)


class StalledStream(EventStream):
    """A stream whose reader stops until the server has ended its transaction."""

    def __init__(self, client: redis.Redis, shards: int) -> None:
        super().__init__(client, shards)
        self.has_read, self.may_go_on = threading.Event(), threading.Event()

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        entries = super().read_after(shard, after, count)
        if entries and not self.has_read.is_set():
            self.has_read.set()
            assert self.may_go_on.wait(30)
        return entries


def test_a_stopped_drain_cannot_commit_behind_its_successor(
    redis_client: redis.Redis, database_url: str, session_factory: Sessions, drain: ShardDrain
) -> None:
    """A drain that stops in its transaction loses its connection and its lock; its successor does the work."""
    stalled = StalledStream(redis_client, 1)
    append(stalled, [spent(1)])
    limits = {"idle_in_transaction_session_timeout": "1s"}
    sessions = open_sessions(database_url, application_name="stalled", limits=limits)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ShardDrain(sessions, stalled, 0, 10, clock).drain()
        except psycopg.Error as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert stalled.has_read.wait(30)
    deadline = clock() + timedelta(seconds=30)
    while drain.drain().is_busy or worths(session_factory) != {"a1": 100}:
        assert clock() < deadline
    stalled.may_go_on.set()
    thread.join(30)
    sessions.close()
    assert [is_database_trouble(error) for error in failures] == [True]
    assert worths(session_factory) == {"a1": 100}


def test_an_event_that_cannot_be_applied_is_quarantined_and_the_rest_goes_on(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """One event that makes the batch fail (its account would overflow) ends as a dead letter, whole and alone."""
    with session_factory.begin() as session:
        Sql("INSERT INTO accounts (tenant, account_id, currency, worth_minor) VALUES ('default','full','USD',:w)").run(
            session, {"w": 2**63 - 10}
        )
    poison = spent(99, 1000, account="full")
    append(one_shard, [spent(1), spent(2), poison, spent(3)])
    drain.drain()
    assert worths(session_factory)["a1"] == 300
    assert dead_letters(session_factory) == [("poison", poison)]
    assert is_settled(session_factory, one_shard)


def test_an_event_that_kills_its_worker_each_time_is_quarantined(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions
) -> None:
    """What was tried in vain too often is tried alone; an entry whose attempts never ended is set aside."""
    append(one_shard, [spent(1), spent(2), spent(3)])
    die(session_factory, 10, times=8)
    drain.drain()
    assert worths(session_factory) == {"a1": 200}
    assert dead_letters(session_factory) == [("poison", spent(1))]
    assert is_settled(session_factory, one_shard)


def test_an_entry_that_the_stream_dropped_is_not_lost_in_silence(
    drain: ShardDrain, one_shard: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """Entries that someone else trimmed away leave a dead letter that says how many they were."""
    append(one_shard, [spent(0)])
    drain.drain()
    append(one_shard, [spent(1), spent(2), spent(3)])
    redis_client.xtrim(stream_key(0), maxlen=1, approximate=False)
    drain.drain()
    drain.drain()
    assert worths(session_factory) == {"a1": 200}
    with session_factory() as session:
        ((code, reason),) = Sql("SELECT code, reason FROM dead_letters").rows(session, {})
    assert code == "lost"
    assert reason.startswith("the stream dropped 2 entries after ")


def test_a_batch_finds_its_rows_by_key(
    drain: ShardDrain, one_shard: EventStream, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever applies it: no statement of the transaction may read a table of millions whole."""
    seen: list[list[str]] = []

    def noting(session: Session, *more: Any) -> Applied:
        ways = ("seqscan", "hashjoin", "mergejoin")
        seen.append([str(Sql(f"SHOW enable_{way}").value(session, {})) for way in ways])
        return apply_decoded(session, *more)

    append(one_shard, [spent(1)])
    monkeypatch.setattr(apply_module, "apply_decoded", noting)
    monkeypatch.setattr(drain_module, "apply_decoded", noting)
    drain.drain()
    with session_factory.begin() as session:
        apply_module.apply_events(session, [], clock())
    assert seen == [["off"] * 3] * 2
