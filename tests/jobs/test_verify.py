"""The job verify and its task: each tenant is verified once a day, with a result that others can read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from core.jobs.verify import due_verifications, run_verify, verify_tenant
from core.settings import load_settings
from core.store.days import JobRun, last_runs
from core.store.driver import Sql
from schedules.table import schedule
from tests.verify.conftest import Filled
from tests.verify.world import LATEST
from worker.app import make_worker_app


def last_run(filled: Filled, tenant: str) -> JobRun:
    """The latest result of a tenant."""
    with filled.sessions() as session:
        return next(run for run in last_runs(session, tenant) if run.job == "verify")


def test_a_run_leaves_a_result_for_each_tenant(filled: Filled) -> None:
    """A run stores for the UTC day what it compared and that nothing is wrong, so that each tenant is verified once."""
    assert due_verifications(filled.sessions, LATEST) == ["cuba", "default", "york"]
    done = run_verify(filled.sessions, LATEST)
    assert (done.tenants, done.violations, done.rows) == (3, 0, ())
    assert due_verifications(filled.sessions, LATEST + timedelta(hours=11)) == []
    assert due_verifications(filled.sessions, LATEST + timedelta(hours=12)) == ["cuba", "default", "york"]
    run = last_run(filled, "york")
    result = json.loads(run.result)
    assert (run.period, run.chunk) == ("2026-03-20", 0)
    assert (result["ok"], result["violations"], result["first"]) == (True, 0, [])
    assert sum(result["checked"].values()) > 0


def test_a_result_names_rows_and_no_amounts(filled: Filled) -> None:
    """A result has the names of the wrong rows; a later run of the same day has its own result."""
    verify_tenant(filled.sessions, "default", LATEST)
    with filled.sessions.begin() as session:
        Sql("UPDATE goals SET amount_minor = 987654321 WHERE goal_id = :g").run(session, {"g": filled.goals["all"]})
    done = verify_tenant(filled.sessions, "default", LATEST + timedelta(hours=1))
    assert done.rows[0] == f"goals goal_id={filled.goals['all']}"
    run = last_run(filled, "default")
    result = json.loads(run.result)
    assert (run.chunk, result["ok"], result["violations"]) == (1, False, done.violations)
    assert result["first"] == list(done.rows)
    assert "987654321" not in run.result


def test_accounts_with_a_lasting_difference_are_counted(filled: Filled) -> None:
    """A balance that no row explains is no violation; the run and its result say in how many accounts one stays."""
    before = verify_tenant(filled.sessions, "default", LATEST)
    with filled.sessions.begin() as session:
        Sql("""INSERT INTO accounts (tenant, account_id, currency, currency_from, currency_time, currency_source,
                    currency_event_id)
                VALUES ('default', 'odd', 'USD', 'report', now(), 's', 'e')""").run(session, {})
        # 1.00, then 6.00 four times, without a transaction.
        Sql("""INSERT INTO reports (tenant, account_id, as_of, current_minor, currency, residual_minor, event_time,
                    source, event_id)
                SELECT 'default', 'odd', timestamptz '2026-01-01' + n * interval '1 day',
                    CASE n WHEN 0 THEN 100 ELSE 600 END, 'USD', minor, now(), 's', 'e'
                FROM generate_series(0, 4) n
                CROSS JOIN LATERAL (SELECT CASE n WHEN 1 THEN 500 ELSE 0 END) AS r(minor)""").run(session, {})
        Sql("""UPDATE accounts SET opening_minor = 100, worth_minor = 600, first_report_at = '2026-01-01',
                    last_report_at = '2026-01-05' WHERE account_id = 'odd'""").run(session, {})
    done = verify_tenant(filled.sessions, "default", LATEST + timedelta(hours=1))
    assert (done.violations, done.accounts_with_difference) == (0, before.accounts_with_difference + 1)
    result = json.loads(last_run(filled, "default").result)
    assert (result["ok"], result["accounts_with_difference"]) == (True, done.accounts_with_difference)


def test_of_two_runs_at_once_neither_result_is_lost(filled: Filled) -> None:
    """Two verifications of a tenant that end together leave two results."""
    with ThreadPoolExecutor(2) as pool, filled.sessions.begin() as session:
        # Both runs wait for this row, which has the first chunk number, until it is rolled back.
        Sql("""INSERT INTO job_runs (tenant, job, period, chunk, started_at)
                VALUES ('york', 'verify', '2026-03-20', 0, now())""").run(session, {})
        runs = [pool.submit(verify_tenant, filled.sessions, "york", LATEST) for _ in range(2)]
        wait_until(lambda: waiting_for_locks(filled) == 2)
        session.rollback()
        for each in runs:
            each.result(timeout=60)
    with filled.sessions() as session:
        chunks = Sql("SELECT chunk FROM job_runs WHERE tenant || job = 'yorkverify' ORDER BY 1").values(session, {})
        assert chunks == [0, 1]


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll until the condition holds, for a minute at most."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waiting_for_locks(filled: Filled) -> int:
    """How many connections to this database wait for another transaction."""
    with filled.sessions() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return int(Sql(query).value(session, {}))


def test_progress_is_reported(filled: Filled) -> None:
    """A run reports to its caller how far it is."""
    reported: list[str] = []
    verify_tenant(filled.sessions, "cuba", LATEST, on_progress=reported.append)
    assert reported[0] == "cuba: 0 of 8 accounts"
    assert reported[-1] == "cuba: 9 of 9 goals"


def test_the_task_verifies_a_tenant_and_has_time_for_it(filled: Filled, redis_url: str) -> None:
    """The scheduled task exists, may run for longer than others, and leaves the result."""
    app = make_worker_app(load_settings(database_url=filled.url, redis_url=redis_url))
    assert "milepost.verify" in {row.task for row in schedule(2) if row.name == "verify"}
    task = app.tasks["milepost.verify_tenant"]
    assert task.soft_time_limit > app.conf.task_time_limit
    assert app.tasks["milepost.verify"].apply(throw=True).get(disable_sync_subtasks=False) == 3
    assert task.apply(args=("york",), throw=True).get(disable_sync_subtasks=False) == 0
    assert json.loads(last_run(filled, "york").result)["ok"] is True
