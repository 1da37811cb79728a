"""A job is added by its module and its row in the schedule: nothing else has to name it."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

import core.jobs
import milepost.cli.run
from api.routes.metrics import database_families
from core.jobs.job import JOB_QUEUE, job_named, jobs
from core.services.metrics import read_database_stats
from core.settings import load_settings
from core.store.database import Sessions
from core.store.days import database_now
from schedules import table
from tests.conftest import Run
from worker.app import make_worker_app

MODULE = '''
"""A job in parts, one a tenant, that notes how many accounts the tenant has."""

from dataclasses import dataclass

from core.jobs.job import Job, PartDone, Parts
from core.store.days import JobRun, record_run
from core.store.driver import Sql


@dataclass(frozen=True, slots=True)
class Counted:
    tenants: int
    accounts: int


def _tenants(sessions):
    with sessions() as session:
        return Sql("SELECT tenant FROM tenants ORDER BY 1").values(session, {})


def _count(sessions, tenant, now):
    with sessions.begin() as session:
        found = Sql("SELECT count(*) FROM accounts WHERE tenant = :tenant").value(session, {"tenant": tenant})
        record_run(session, JobRun(tenant, "toy", now.date().isoformat(), 0, now, now, str(found)))
    return found


def _run(whole):
    tenants = _tenants(whole.sessions)
    return Counted(len(tenants), sum(_count(whole.sessions, tenant, whole.now) for tenant in tenants))


def _due(servers):
    return [(tenant,) for tenant in _tenants(servers.sessions)]


def _run_tenant(servers, tenant):
    return PartDone(_count(servers.sessions, tenant, servers.now()))


TOY = Job("toy", run=_run, scheduled=Parts("toy_tenant", ("tenant",), _due, _run_tenant))
'''


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The module among those of core/jobs, and its row among those of the schedule."""
    (tmp_path / "toy.py").write_text(MODULE)
    with monkeypatch.context() as patched:
        patched.setattr(core.jobs, "__path__", [*core.jobs.__path__, str(tmp_path)])
        jobs.cache_clear()
        row = table.job_row(job_named("toy"), table.Clock(minute=40), "a test")
        patched.setattr(table, "JOB_ROWS", (*table.JOB_ROWS, row))
        importlib.reload(milepost.cli.run)
        yield
    jobs.cache_clear()
    importlib.reload(milepost.cli.run)


@pytest.fixture
def app(added: None, database_url: str, redis_url: str) -> Celery:  # noqa: ARG001
    """The worker's application on the test's servers, with the job."""
    return make_worker_app(load_settings(database_url=database_url, redis_url=redis_url))


def run_task(app: Celery, task: str, *args: object) -> object:
    """Run a task in this process, as a worker would."""
    return app.tasks[task].apply(args=args, throw=True).get(disable_sync_subtasks=False)


def test_the_worker_runs_it_and_the_metrics_show_it(
    app: Celery, redis_client: redis.Redis, session_factory: Sessions
) -> None:
    """Beat starts it, its task sends a message a part to its queue, the part does its work, and /metrics names it."""
    assert app.conf.beat_schedule["toy"]["task"] == "milepost.toy"
    assert run_task(app, "milepost.toy") == 1
    (raw,) = redis_client.lrange(f"milepost:celery:{JOB_QUEUE}", 0, -1)
    message = json.loads(raw)
    (arguments, *_) = json.loads(base64.b64decode(message["body"]))
    assert (message["headers"]["task"], arguments) == ("milepost.toy_tenant", ["default"])
    assert run_task(app, "milepost.toy_tenant", *arguments) == 0
    with session_factory() as session:
        now = database_now(session)
        stats = read_database_stats(session, now)
    (run,) = [each for each in stats.runs if each.job == "toy"]
    assert run.newest_at is not None
    assert not run.is_late(now)
    ages = next(each for each in database_families(stats, now) if each.name == "milepost_job_last_run_age_seconds")
    assert "toy" in {sample.labels["job"] for sample in ages.samples}


@pytest.mark.usefixtures("added")
def test_the_command_line_runs_it(run: Run) -> None:
    """`milepost run` takes its name, runs it and says what it did."""
    status, out, errors = run("run", "toy", "--json")
    assert status == 0, errors
    assert json.loads(out) == {"tenants": 1, "accounts": 0}
    assert "toy" in run("run", "nothing")[2]


def test_every_job_is_scheduled() -> None:
    """A job that has a record has a row in the schedule, or it would never run."""
    assert {job.name for job in jobs()} == {row.name for row in table.JOB_ROWS}
