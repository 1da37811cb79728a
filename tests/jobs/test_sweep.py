"""The job sweep: trims what is applied, keeps all else, and names the shards that have something left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import redis
import simplejson

from core.ingestion.drain import ShardDrain
from core.jobs.sweep import sweep, write_dead_letter_messages
from core.store.database import Sessions
from core.store.dead_letters import DeadLetter, DeadLetterKey, keep_dead_letters, mark_discarded, mark_replayed
from core.store.driver import Sql
from core.stream.stream import EventStream
from tests.ingestion.positions import die, status
from tests.ingestion.test_drain import append, clock, spent


def test_a_sweep_keeps_what_is_not_applied(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """Trimming stops at the position, whatever a drain does with what follows it."""
    one_shard = EventStream(redis_client, 1)
    drain = ShardDrain(session_factory, one_shard, 0, 10, clock)
    append(one_shard, [spent(number) for number in range(4)])
    drain.drain()
    append(one_shard, [spent(number) for number in range(4, 9)])
    die(session_factory, 10)
    swept = sweep(session_factory, one_shard)
    assert swept.trimmed == 4
    assert swept.unapplied_shards == (0,)
    assert status(session_factory, one_shard).length == 5


def test_a_shard_left_over_from_a_larger_setting_is_swept(redis_client: redis.Redis, session_factory: Sessions) -> None:
    """Entries on a shard beyond the present number are still named as unapplied."""
    EventStream(redis_client, 4).append("default", [(f"a{n}", spent(n)) for n in range(40)])
    assert sweep(session_factory, EventStream(redis_client, 1)).unapplied_shards == (0, 1, 2, 3)


def refuse(sessions: Sessions, at: datetime, *numbers: int, code: str = "bad_value", tenant: str = "default") -> None:
    with sessions.begin() as session:
        keep_dead_letters(
            session, [DeadLetter(tenant, 0, f"{number}-0", code, "why", b"{}", at, at) for number in numbers]
        )


def decide(sessions: Sessions, now: datetime, number: int, mark: Callable[..., None]) -> None:
    with sessions.begin() as session:
        mark(session, DeadLetterKey("default", 0, f"{number}-0"), now)


def test_waiting_dead_letters_have_one_message(session_factory: Sessions, now: datetime) -> None:
    """One message while any waits, whatever comes meanwhile; when none waits any more, there is one again."""
    assert write_dead_letter_messages(session_factory, now) == 0
    refuse(session_factory, now, 1, 2)
    refuse(session_factory, now - timedelta(hours=1), 3, code="malformed")
    refuse(session_factory, now, 1, tenant="of nobody")
    assert [write_dead_letter_messages(session_factory, now) for _ in range(2)] == [1, 0]
    refuse(session_factory, now, 4)
    decide(session_factory, now, 1, mark_replayed)
    assert write_dead_letter_messages(session_factory, now) == 0
    for number in (2, 3, 4):
        decide(session_factory, now, number, mark_discarded)
    assert write_dead_letter_messages(session_factory, now) == 0
    refuse(session_factory, now, 5)
    assert write_dead_letter_messages(session_factory, now) == 1
    with session_factory() as session:
        rows = Sql("SELECT message_id, tenant, payload FROM outbox ORDER BY 1").rows(session, {})
    assert [row[:2] for row in rows] == [(f"dead_letter_waiting:{number}", "default") for number in (1, 2)]
    first, second = [simplejson.loads(row[2])["data"] for row in rows]
    assert first == {"waiting": 3, "codes": {"bad_value": 2, "malformed": 1}, "oldest_at": "2026-03-10T11:00:00Z"}
    assert (second["waiting"], second["codes"]) == (1, {"bad_value": 1})


def test_two_sweeps_at_once_tell_once(session_factory: Sessions, now: datetime) -> None:
    """The second one waits for the first, and finds that it is written."""
    refuse(session_factory, now, 1)
    barrier, written = threading.Barrier(6), list[int]()

    def run() -> None:
        barrier.wait(10)
        written.append(write_dead_letter_messages(session_factory, now))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(written) == [0, 0, 0, 0, 0, 1]
