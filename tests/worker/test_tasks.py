"""The tasks on real servers: triggers carry nothing, may be lost or doubled, and may meet servers that are away."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
import redis
from celery import Celery

from core.jobs.job import DRAIN_QUEUE, JOB_QUEUE
from core.settings import Settings, load_settings
from core.store.database import Sessions
from core.store.driver import Sql
from core.stream.stream import EventStream
from milepost.embedded.programs import free_port
from schedules.table import schedule
from tests.acts import event
from worker.app import make_worker_app

AT = datetime(2026, 3, 9, tzinfo=UTC)
SPENT = {"account_id": "a", "transaction_id": "t", "amount": 1, "currency": "USD", "posted_at": AT.isoformat()}


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    """Settings that name the test's servers."""
    return load_settings(database_url=database_url, redis_url=redis_url)


@pytest.fixture
def app(settings: Settings) -> Celery:
    """The application on the test's servers."""
    return make_worker_app(settings)


def run(app: Celery, task: str, *args: int) -> object:
    """Run a task in this process, as a worker would."""
    return app.tasks[task].apply(args=args, throw=True).get(disable_sync_subtasks=False)


def waiting(client: redis.Redis) -> int:
    """Messages in the drains' queue."""
    return client.llen(f"milepost:celery:{DRAIN_QUEUE}")


def test_every_row_of_the_schedule_names_a_task_and_its_queue(app: Celery) -> None:
    """Nothing is scheduled that no worker knows, and drains have a queue of their own."""
    rows = schedule(3)
    assert {row.task for row in rows} <= set(app.tasks)
    assert {row.queue for row in rows if row.task == "milepost.apply_events"} == {DRAIN_QUEUE}
    quick = {"milepost.apply_events", "milepost.relay", "milepost.sweep", "milepost.due"}
    assert {row.task for row in rows if row.queue == DRAIN_QUEUE} == quick
    assert sorted(row.args[0] for row in rows if row.args) == [0, 1, 2]
    assert all(row.expires_s <= (row.when if isinstance(row.when, float) else 3_600) for row in rows)


def test_a_trigger_drains_its_shard_and_sends_the_next(
    app: Celery, stream: EventStream, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """One trigger applies what is there and leaves one successor; with it, none is lost while beat is away."""
    stream.append("default", [("a", event("transaction.recorded", AT, "1", SPENT))])
    applied = [run(app, "milepost.apply_events", shard) for shard in range(2)]
    assert sorted(str(count) for count in applied) == ["0", "1"]
    assert waiting(redis_client) == 2
    with session_factory() as session:
        assert Sql("SELECT worth_minor FROM accounts").value(session, {}) == 100


def test_a_second_trigger_for_a_followed_shard_ends_at_once(
    app: Celery, stream: EventStream, redis_client: redis.Redis
) -> None:
    """While one process waits on a shard, another trigger leaves it alone and sends nothing."""
    assert stream.claim_wait(0, 60_000)
    assert run(app, "milepost.apply_events", 0) == 0
    assert waiting(redis_client) == 0


def test_a_sweep_wakes_shards_that_have_something_left(
    app: Celery, stream: EventStream, redis_client: redis.Redis
) -> None:
    """Entries without a trigger are found within a minute."""
    stream.append("default", [("a", event("transaction.recorded", AT, "1", SPENT))])
    run(app, "milepost.sweep")
    assert waiting(redis_client) == 1


def test_triggers_do_not_pile_up_while_no_drain_runs(app: Celery, redis_client: redis.Redis) -> None:
    """A sweep keeps a hundred of the drains' triggers, the newest ones."""
    for _ in range(150):
        app.send_task("milepost.apply_events", args=(0,))
    assert waiting(redis_client) == 150
    run(app, "milepost.sweep")
    assert waiting(redis_client) == 100


@pytest.mark.parametrize("away", ["database_url", "redis_url"])
def test_a_server_that_is_away_costs_nothing_but_time(
    settings: Settings, stream: EventStream, session_factory: Sessions, away: str
) -> None:
    """A task that meets a closed port ends in peace, and the event is applied when the server is back."""
    stream.append("default", [("a", event("transaction.recorded", AT, "1", SPENT))])
    shard = next(status.shard for status in stream.status({}) if status.length)
    closed = {
        "database_url": f"postgresql://u:p@127.0.0.1:{free_port()}/d",
        "redis_url": f"redis://127.0.0.1:{free_port()}/0",
    }
    known = {"database_url": settings.database_url, "redis_url": settings.redis_url}
    given = {name: value.get_secret_value() for name, value in known.items() if value is not None}
    run(make_worker_app(load_settings(**(given | {away: closed[away]}))), "milepost.apply_events", shard)
    run(make_worker_app(settings), "milepost.apply_events", shard)
    with session_factory() as session:
        assert Sql("SELECT worth_minor FROM accounts").value(session, {}) == 100


def test_workers_keep_the_settings_that_were_measured(app: Celery) -> None:
    """No result backend, late acknowledgement, short sockets, and no limit to reconnecting."""
    assert app.conf.result_backend is None
    assert app.conf.task_acks_late
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.broker_transport_options["socket_timeout"] == 5
    assert not app.tasks["milepost.apply_events"].acks_late


def test_the_schedule_closes_days_and_projects_chunk_by_chunk(
    app: Celery, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """The hourly tasks send a message for each chunk that has something to do, and nothing once all is done."""
    jobs = f"milepost:celery:{JOB_QUEUE}"

    def sent() -> list[tuple[str, list[object]]]:
        found = [json.loads(raw) for raw in redis_client.lrange(jobs, 0, -1)][::-1]
        redis_client.delete(jobs)
        return [(each["headers"]["task"], json.loads(base64.b64decode(each["body"]))[0]) for each in found]

    for hourly, part in (
        ("milepost.snapshot", "milepost.snapshot_chunk"),
        ("milepost.project", "milepost.project_chunk"),
    ):
        assert run(app, hourly) == 4
        messages = sent()
        assert [(name, arguments[2]) for name, arguments in messages] == [(part, chunk) for chunk in range(4)]
        for name, arguments in messages:
            run(app, name, *arguments)  # type: ignore[arg-type]
        assert run(app, hourly) == 0
        assert sent() == []
    with session_factory() as session:
        claimed = Sql("SELECT job, count(*) FROM job_runs GROUP BY 1 ORDER BY 1").rows(session, {})
        assert claimed == [("project", 4), ("snapshot", 4)]


def test_the_sweep_starts_the_closing_of_a_day_that_is_over(app: Celery, redis_client: redis.Redis) -> None:
    """No one waits an hour for a day to be closed: the clean-up of every minute sends for it, until it is closed."""
    run(app, "milepost.sweep")
    (raw,) = redis_client.lrange(f"milepost:celery:{JOB_QUEUE}", 0, -1)
    assert json.loads(raw)["headers"]["task"] == "milepost.snapshot"
