"""The stage retain: drops what is past retention, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from core.jobs.retain import AT_ONCE, Retained, run_retain
from core.settings import load_settings
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.outbox import position_at
from tests.acts import balance, goal, link, paid
from tests.conftest import Apply
from tests.dumping import FACTS_AND_GOALS, rows_by_table
from worker.app import make_worker_app

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_KEY = """INSERT INTO idempotency_keys (tenant, idempotency_key, route, body_hash, status, body, created_at)
VALUES ('default', :name, 'POST /goals', '', 201, '', :at)"""
_RUN = """INSERT INTO job_runs (tenant, job, period, chunk, started_at, finished_at, result)
VALUES (:tenant, :job, :period, 0, :at, :at, '{}')"""
_LETTER = """INSERT INTO dead_letters
    (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at, replayed_at, discarded_at)
VALUES ('default', 0, :name, 'malformed', 'no', '', :old, :old, :replayed, :discarded)"""
_MESSAGE = """INSERT INTO outbox (tenant, message_id, type, goal_id, payload, happened_at, created_at, position)
VALUES ('default', :name, 'goal.reached', 'g', '{}', :at, :at, :position)"""


def put(sessions: Sessions, statement: str, *rows: dict[str, object]) -> None:
    """Insert rows."""
    with sessions.begin() as session:
        Sql(statement).run_all(session, rows)


def kept(sessions: Sessions, query: str) -> list[str]:
    """The one column of a query, sorted."""
    with sessions() as session:
        return sorted(Sql(query).values(session, {}))


def test_idempotency_keys_are_kept_for_a_day(session_factory: Sessions, now: datetime) -> None:
    """A key is dropped once it is older than 24 hours."""
    ages = {"fresh": HOUR, "almost": DAY, "old": DAY + timedelta(seconds=1)}
    put(session_factory, _KEY, *({"name": name, "at": now - age} for name, age in ages.items()))
    assert run_retain(session_factory, now) == Retained(1, 0, 0, 0)
    assert kept(session_factory, "SELECT idempotency_key FROM idempotency_keys") == ["almost", "fresh"]


def test_the_last_run_of_a_job_stays(session_factory: Sessions, now: datetime) -> None:
    """Runs older than 90 days go, but for the last of each job of each tenant, however old."""
    ages = [("a", "snapshot", 100), ("a", "snapshot", 95), ("a", "snapshot", 1), ("a", "project", 200)]
    ages += [("a", "project", 150), ("b", "project", 300)]
    rows = [{"tenant": t, "job": job, "period": f"{days}", "at": now - days * DAY} for t, job, days in ages]
    put(session_factory, _RUN, *rows)
    assert run_retain(session_factory, now) == Retained(0, 3, 0, 0)
    left = kept(session_factory, "SELECT tenant || job || period FROM job_runs WHERE job <> 'retain'")
    assert left == ["aproject150", "asnapshot1", "bproject300"]


def test_letters_that_wait_stay_for_ever(session_factory: Sessions, now: datetime) -> None:
    """Dead letters go 90 days after they were replayed or discarded, the later of the two."""
    old, long_ago, lately = now - 900 * DAY, now - 91 * DAY, now - 89 * DAY
    marks = {
        "waits": (None, None),
        "replayed": (long_ago, None),
        "discarded": (None, long_ago),
        "lately": (None, lately),
        "later": (long_ago, lately),
    }
    rows = [{"name": name, "old": old, "replayed": r, "discarded": d} for name, (r, d) in marks.items()]
    put(session_factory, _LETTER, *rows)
    assert run_retain(session_factory, now) == Retained(0, 0, 2, 0)
    assert kept(session_factory, "SELECT entry_id FROM dead_letters") == ["lately", "later", "waits"]


def test_only_announced_messages_go(session_factory: Sessions, now: datetime) -> None:
    """An announced message goes after 90 days; one that was not stays, however old."""
    ages = {"waits": (900, None), "old": (91, 1), "lately": (89, 2)}
    rows = [
        {"name": name, "at": now - 900 * DAY, "position": place and position_at(now - days * DAY)}
        for name, (days, place) in ages.items()
    ]
    put(session_factory, _MESSAGE, *rows)
    assert run_retain(session_factory, now) == Retained(0, 0, 0, 1)
    assert kept(session_factory, "SELECT message_id FROM outbox") == ["lately", "waits"]


def test_more_than_a_batch_goes_in_batches(session_factory: Sessions, now: datetime) -> None:
    """Nothing is left over when there is more than one statement takes, and progress is reported."""
    count = 2 * AT_ONCE + 10
    put(session_factory, _KEY, *({"name": str(number), "at": now - 2 * DAY} for number in range(count)))
    progress: list[str] = []
    assert run_retain(session_factory, now, on_progress=progress.append).idempotency_keys == count
    assert progress == [f"idempotency keys: {done:,} dropped" for done in (AT_ONCE, 2 * AT_ONCE, count)]
    assert run_retain(session_factory, now) == Retained(0, 0, 0, 0)


def test_a_scheduled_run_works_once_a_day(session_factory: Sessions, now: datetime) -> None:
    """The beat's second run of a day drops nothing, a person's does, and the next day's does."""
    put(session_factory, _KEY, {"name": "a", "at": now - 2 * DAY})
    assert run_retain(session_factory, now, again=False).idempotency_keys == 1
    put(session_factory, _KEY, {"name": "b", "at": now - 2 * DAY})
    assert run_retain(session_factory, now + HOUR, again=False) == Retained()
    assert run_retain(session_factory, now + HOUR).idempotency_keys == 1
    put(session_factory, _KEY, {"name": "c", "at": now - 2 * DAY})
    assert run_retain(session_factory, now + DAY, again=False).idempotency_keys == 1
    runs = kept(session_factory, "SELECT period || ' ' || result FROM job_runs WHERE job = 'retain'")
    assert [run.partition(" ")[0] for run in runs] == ["2026-03-10", "2026-03-11"]
    assert json.loads(runs[0].partition(" ")[2])["idempotency_keys"] == 1


def test_the_task_drops_once_a_day(database_url: str, redis_url: str, session_factory: Sessions) -> None:
    """The first trigger of a day drops what is past retention; a second one finds the day done."""
    app = make_worker_app(load_settings(database_url=database_url, redis_url=redis_url))
    dropped = []
    for name in ("a", "b"):
        put(session_factory, _KEY, {"name": name, "at": datetime.now(UTC) - 2 * DAY})
        dropped.append(app.tasks["milepost.retain"].apply(throw=True).get(disable_sync_subtasks=False))
    assert dropped == [1, 0]


def test_a_second_run_of_a_day_is_noted(session_factory: Sessions, now: datetime) -> None:
    """A person's run refreshes when the job of that day ended and what it did; one that began earlier does not."""
    assert run_retain(session_factory, now, again=False) == Retained()
    put(session_factory, _KEY, {"name": "a", "at": now - 2 * DAY})
    assert run_retain(session_factory, now + HOUR).idempotency_keys == 1
    run_retain(session_factory, now + HOUR / 2)
    with session_factory() as session:
        ((finished_at, result),) = Sql("SELECT finished_at, result FROM job_runs").rows(session, {})
    assert finished_at == now + HOUR
    assert json.loads(result)["idempotency_keys"] == 1


def test_what_amounts_follow_from_is_never_dropped(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Ten years on, facts, goals, links, the ledger and the audit are as they were."""
    goal_id = goal(session_factory, now)
    link(session_factory, now, goal_id, "a", "60", now - 3 * DAY)
    apply([paid("t", 1000, now - DAY), balance(500, now - 2 * DAY)])
    tables = [*FACTS_AND_GOALS, "audit", "tenants", "api_keys"]
    with session_factory() as session:
        before = rows_by_table(session, tables)
    assert any(before[table] for table in ("transactions", "goal_entries", "links"))
    assert run_retain(session_factory, now + 3650 * DAY) == Retained(0, 0, 0, 0)
    with session_factory() as session:
        assert rows_by_table(session, tables) == before
