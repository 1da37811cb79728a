"""The usual way: it does the same work to the same rows, and a run of it is checked and timed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import sessionmaker

from benchmarks.check import check_result
from benchmarks.seed import seed
from benchmarks.servers import database, unlimited
from benchmarks.usual_way.run import UsualWayFailed, measure_usual_way
from benchmarks.usual_way.tasks import apply
from benchmarks.workload import Workload, make_events, sums
from core.store.tenants import DEFAULT
from milepost.embedded.postgres import EmbeddedPostgres

ACCOUNTS = 4


def test_a_task_leaves_what_the_pipeline_would(engine: Engine, database_url: str, now: datetime) -> None:
    """Worths, amounts, milestones and messages follow from the events, and a repeated event changes nothing."""
    seed(database_url, ACCOUNTS, now)
    sessions = sessionmaker(engine)
    made = make_events(Workload.SCATTERED, 20, ACCOUNTS, now + timedelta(hours=1))
    events = [replace(event, amount_minor=event.amount_minor + 100_00) for event in made]
    for event in [*events, *events[:5]]:
        with sessions.begin() as session:
            apply(session, DEFAULT, json.loads(event.to_json()), now)
    check_result(engine, "the usual way", sums(events), len(events), ACCOUNTS)
    with sessions() as session:
        lines = session.execute(
            text("SELECT count(*) FROM goal_entries e JOIN goals g USING (tenant, goal_id) WHERE e.entry = g.entries")
        )
        assert lines.scalar_one() == 2 * ACCOUNTS
        assert session.scalar(text("SELECT count(*) FROM outbox")) > 0


def test_a_run_is_timed_from_the_first_task_to_the_last(
    postgres: EmbeddedPostgres, redis_url: str, now: datetime
) -> None:
    """The worker's two processes apply all events of a seeded world, and the program says how long they took."""
    with database(postgres.url, "usual_way_run") as url:
        seed(url, ACCOUNTS, now)
        usual_way = measure_usual_way(url, redis_url, 12, ACCOUNTS, now + timedelta(hours=1))
    assert (usual_way.events, usual_way.processes) == (12, 2)
    assert usual_way.seconds > 0
    assert usual_way.events_per_s == pytest.approx(12 / usual_way.seconds, abs=0.1)


def test_a_wrong_result_fails_the_run(postgres: EmbeddedPostgres, redis_url: str, now: datetime) -> None:
    """A world that is not what the events say is no measurement: here it has fewer accounts than it should."""
    with database(postgres.url, "usual_way_wrong") as url:
        seed(url, ACCOUNTS, now)
        with unlimited(url) as engine, engine.begin() as connection:
            connection.execute(text("UPDATE accounts SET worth_minor = 1 WHERE account_id LIKE '%3'"))
        with pytest.raises(UsualWayFailed, match="the result of the usual way is wrong in"):
            measure_usual_way(url, redis_url, 2, ACCOUNTS, now + timedelta(hours=1))
