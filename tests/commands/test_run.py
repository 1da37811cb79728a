"""`milepost run JOB`: one scheduled job now, and what it did."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tables import BUSINESS_TABLES
from core.stream.backlog import shard_statuses
from core.stream.stream import EventStream
from milepost.cli.run import JOBS, JOBS_WITH_A_DAY
from tests.acts import goal, link, paid
from tests.commands.conftest import Drain, Rows
from tests.conftest import Run

NOW = datetime.now(UTC)
YESTERDAY = (NOW - timedelta(days=1)).date()


@pytest.fixture
def moved(session_factory: Sessions, stream: EventStream, drain: Drain) -> str:
    """A goal with 100.00 since three days ago; its id."""
    began = NOW - timedelta(days=5)
    goal_id = goal(session_factory, began)
    link(session_factory, began, goal_id, "a", "100")
    stream.append("default", [("a", paid("t", 10_000, NOW - timedelta(days=3)))])
    drain()
    return goal_id


@pytest.mark.parametrize("job", sorted(JOBS))
def test_every_job_says_what_it_did(run: Run, moved: str, job: str) -> None:
    """Each job ends without an error and prints named counts, for people and as JSON."""
    assert moved
    status, out, errors = run("run", job, "--json")
    assert status == 0, errors
    stats = json.loads(out)
    assert stats
    status, out, _ = run("run", job)
    assert status == 0
    assert out.startswith(f"{job}: done in ")
    named = [line.strip().partition(":")[0] for line in out.splitlines()[1:] if ":" in line]
    assert [name.replace(" ", "_") for name in named] == list(stats)


@pytest.mark.usefixtures("moved")
def test_days_are_closed_up_to_a_date(run: Run, rows: Rows) -> None:
    """`run snapshot --date` closes every day up to that one, and `run snapshot` what is left up to yesterday."""
    day = YESTERDAY - timedelta(days=1)
    status, out, _ = run("run", "snapshot", "--date", day.isoformat(), "--json")
    assert (status, json.loads(out)["closes"]) == (0, 2)
    assert rows("SELECT closed_through FROM tenants") == [(day,)]
    closes = rows("SELECT amount_minor FROM goal_snapshots ORDER BY day")
    assert closes == [(0,), (10_000,)]
    assert run("run", "snapshot")[0] == 0
    assert rows("SELECT closed_through FROM tenants") == [(YESTERDAY,)]


def test_a_sweep_trims_what_is_applied(run: Run, stream: EventStream, session_factory: Sessions, moved: str) -> None:
    """`run sweep` removes the applied entries and names the shards that have something left."""
    assert moved
    stream.append("default", [("b", b"{}")])
    (waiting,) = (status.shard for status in shard_statuses(session_factory, stream) if status.oldest_at is not None)
    status, out, _ = run("run", "sweep", "--json")
    assert (status, json.loads(out)) == (0, {"trimmed": 1, "unapplied_shards": [waiting], "messages": 0})


def test_what_verify_finds_is_status_one(run: Run, session_factory: Sessions, moved: str) -> None:
    """An amount that was altered by hand is found, and the exit status says so."""
    with session_factory.begin() as session:
        Sql("UPDATE goals SET amount_minor = amount_minor + 1 WHERE goal_id = :id").run(session, {"id": moved})
    status, out, _ = run("run", "verify", "--json")
    assert status == 1
    assert json.loads(out)["violations"] > 0
    status, out, _ = run("run", "verify")
    assert (status, moved in out) == (1, True)


@pytest.mark.usefixtures("moved")
@pytest.mark.parametrize("job", sorted(JOBS_WITH_A_DAY))
@pytest.mark.parametrize(
    ("date", "status", "said"),
    [
        (NOW.date().isoformat(), 1, "date: "),
        ((NOW + timedelta(days=400)).date().isoformat(), 1, "date: "),
        ("9999-12-31", 1, "date: "),
        ("2026-02-30", 2, "must be a day such as"),
        ("yesterday", 2, "must be a day such as"),
        ("", 2, "must be a day such as"),
    ],
    ids=str,
)
def test_a_day_that_cannot_be_closed_is_refused(
    run: Run, rows: Rows, job: str, date: str, status: int, said: str
) -> None:
    """Today, the future and text that is no date are refused with a message, and not a row changes."""
    tables = [*(table.name for table in BUSINESS_TABLES), "job_runs"]
    before = [rows(f"SELECT t::text FROM {name} t ORDER BY 1") for name in tables]
    found, out, errors = run("run", job, "--date", date)
    assert (found, out) == (status, "")
    assert said in errors
    assert "Traceback" not in errors
    assert [rows(f"SELECT t::text FROM {name} t ORDER BY 1") for name in tables] == before


def test_a_day_that_is_open_for_one_tenant_is_refused_for_all(run: Run, rows: Rows, moved: str) -> None:
    """A day that is over in one time zone and not in another closes nothing anywhere."""
    assert moved
    assert run("tenants", "create", "west", "--time-zone", "Etc/GMT+12")[0] == 0
    assert run("tenants", "create", "east", "--time-zone", "Etc/GMT-14")[0] == 0
    # Somewhere on Earth the day of the west is yesterday's, or the day of the east tomorrow's.
    newest = (datetime.now(UTC) + timedelta(hours=14)).date() - timedelta(days=1)
    status, _, errors = run("run", "snapshot", "--date", newest.isoformat())
    assert (status, "west" in errors or "default" in errors) == (1, True)
    assert {row[0] for row in rows("SELECT closed_through FROM tenants")} == {None}


@pytest.mark.parametrize("job", sorted(set(JOBS) - JOBS_WITH_A_DAY))
def test_a_job_without_a_day_takes_none(run: Run, job: str) -> None:
    """--date for a job that has no day is wrong usage."""
    status, out, errors = run("run", job, "--date", "2026-01-31")
    assert (status, out) == (2, "")
    assert f"{job} has no day" in errors


def test_an_unknown_job_is_wrong_usage(run: Run) -> None:
    """The refusal names the jobs that there are."""
    status, _, errors = run("run", "everything")
    assert status == 2
    assert [job for job in JOBS if job not in errors] == []
