"""`milepost status`: what it shows of real servers, once and live, to a person and to a program."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Timer
from typing import Any

import pytest
import redis
from rich.console import Console

from core.goals.goal import GoalType
from core.jobs.job import jobs as known_jobs
from core.services.tenants import create_tenant
from core.settings import load_settings
from core.store.database import Sessions
from core.store.days import JobRun, record_run
from core.store.driver import Sql
from milepost.ops.status import GOALS_MOST, collect_status
from milepost.ops.status_frame import frame
from tests.acts import event, goal
from tests.conftest import NOW, Apply, Run

pytestmark = pytest.mark.usefixtures("run")
COMMAND = [sys.executable, "-P", "-m", "milepost", "status"]


@pytest.fixture
def status(run: Run) -> Run:
    """Runs `milepost status` with arguments; returns status, output, errors."""
    return lambda *arguments: run("status", *arguments)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `milepost status` with arguments as a process of its own, which finds the servers that `run` names."""
    processes, timers = [], []

    def start(*arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        # A process that is started while HUP is ignored, as the tests are under nohup, ignores it, too.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        process = subprocess.Popen([*COMMAND, *arguments], stdout=output, stderr=subprocess.PIPE)
        signal.signal(signal.SIGHUP, before)
        processes.append(process)
        # A read from a process that prints nothing more would wait for ever.
        timers.append(Timer(60, process.kill))
        timers[-1].start()
        return process

    yield start
    for timer in timers:
        timer.cancel()
    for process in processes:
        process.kill()
        process.communicate()


def status_json(status: Run) -> dict[str, Any]:
    """The output of --json."""
    _, out, _ = status("--json")
    found: dict[str, Any] = json.loads(out)
    return found


def test_goals_are_shown_as_a_person_reads_them(status: Run, session_factory: Sessions, now: datetime) -> None:
    """Each goal shows its user, name, type, tracking, amount, target, percent and the date by its stored pace."""
    goal_id = goal(session_factory, now, name="House", user_id="ann", current_amount="6500")
    goal(session_factory, now, GoalType.DEBT, name="Car loan", target_amount="0", current_amount="8500")
    _project(session_factory, goal_id)
    code, out, _ = status()
    assert code == 0
    (line,) = (line for line in out.splitlines() if "House" in line)
    for part in ("ann", "savings", "change", "6,500.00 USD", "10,000.00", "65.0", "2027-04-01"):
        assert part in line
    (debt,) = (line for line in out.splitlines() if "Car loan" in line)
    assert debt.split()[-5:] == ["8,500.00", "USD", "0.00", "0.0", "-"]


def goal_lines(width: int) -> tuple[list[str], list[str]]:
    """The names of the columns and the lines of the goals, as a terminal of that width shows them."""
    console = Console(width=width, file=StringIO())
    console.print(frame(collect_status(load_settings()), console.width))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    (header,) = (number for number, line in enumerate(lines) if "projected" in line)
    goals = lines[header + 1 : lines.index("", header)]
    assert all(len(line) <= width for line in goals)
    return lines[header].split(), goals


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (60, ["goal", "amount", "%", "projected"]),
        (80, ["goal", "amount", "of", "%", "projected"]),
        (85, ["user", "goal", "amount", "of", "%", "projected"]),
        (95, ["user", "goal", "type", "amount", "of", "%", "projected"]),
        (200, ["user", "goal", "type", "tracking", "amount", "of", "%", "projected"]),
    ],
)
def test_a_narrow_terminal_leaves_out_what_matters_least(
    session_factory: Sessions, now: datetime, width: int, columns: list[str]
) -> None:
    """At every width a goal is one line that has its name, amount, percent and projected date whole."""
    goal_id = goal(session_factory, now, name="A holiday home in Lisbon", user_id="demo-clara-2", current_amount="6500")
    _project(session_factory, goal_id)
    goal(session_factory, now, name="Freelance income of 160,000", target_amount="160000", current_amount="136541.40")
    shown, lines = goal_lines(width)
    assert shown == columns
    (line,) = (line for line in lines if "A holiday home in Lisbon " in line)
    for part in (" 6,500.00 USD ", " 65.0 ", "2027-04-01", *([" 10,000.00 "] if "of" in columns else [])):
        assert part in line
    (other,) = (line for line in lines if "Freelance income of 160,000 " in line)
    assert " 136,541.40 USD " in other


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_long_name_is_cut_before_any_number(session_factory: Sessions, now: datetime, width: int) -> None:
    """Whatever a goal is called, its amount, percent and projected date are whole, on one line."""
    goal_id = goal(session_factory, now, name="A long name " * 10, user_id="user" * 10, current_amount="6500")
    _project(session_factory, goal_id)
    _, (line,) = goal_lines(width)
    for part in ("A long name A long", "\N{HORIZONTAL ELLIPSIS}", " 6,500.00 USD ", " 65.0 ", "2027-04-01"):
        assert part in line


def _project(session_factory: Sessions, goal_id: str) -> None:
    with session_factory.begin() as session:
        # 3,500.00 at 280.00 in 28 days are 350 days, counted from April 16 on.
        Sql("""INSERT INTO forecasts
                (tenant, goal_id, through_day, trend_minor, trend_days, contribution_months, projected_at)
                VALUES ('default', :goal_id, '2026-04-15', 28000, 28, 0, now())""").run(session, {"goal_id": goal_id})


def test_goals_that_moved_last_come_first_and_not_all_come(
    status: Run, session_factory: Sessions, now: datetime
) -> None:
    """Of many goals those that moved last are shown, the latest first, with exact amounts for programs."""
    ids = [goal(session_factory, now + timedelta(minutes=n), current_amount=str(n)) for n in range(GOALS_MOST + 3)]
    found = status_json(status)
    assert [shown["goal_id"] for shown in found["goals"]] == ids[::-1][:GOALS_MOST]
    assert found["goals"][0]["current_amount"] == f"{GOALS_MOST + 2}.00"
    assert found["counts"]["goals"] == GOALS_MOST + 3


def test_many_goals_are_found_by_the_end_of_the_ledger(
    session_factory: Sessions, now: datetime, status: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too many goals to sort, those that the newest ledger entries name are shown in the same way."""
    ids = [goal(session_factory, now + timedelta(minutes=n)) for n in range(4)]
    monkeypatch.setattr("core.store.monitoring.GOALS_SORTED_MOST", 3)
    assert [shown["goal_id"] for shown in status_json(status)["goals"]] == ids[::-1]


def test_names_cannot_control_a_terminal(status: Run, session_factory: Sessions, now: datetime) -> None:
    """What callers put into names is shown as text: no markup, and no escape sequence."""
    goal(session_factory, now)
    with session_factory.begin() as session:
        Sql("UPDATE goals SET name = :name").run(session, {"name": "[red]a[/red]\x1b[2Jb"})
    _, out, _ = status()
    assert "[red]a[/red]" in out
    assert "\x1b[2J" not in out


def test_days_jobs_and_letters_are_shown(status: Run, session_factory: Sessions) -> None:
    """Closed days by tenant, the last run of each job, the messages in the outbox and the dead letters are shown."""
    now = datetime.now(UTC)
    yesterday = now.date() - timedelta(days=1)
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET closed_through = :day").run(session, {"day": yesterday})
        result = '{"violations": 0, "accounts_with_difference": 3}'
        record_run(session, JobRun("default", "verify", "p", 0, now, now, result))
        Sql("""INSERT INTO dead_letters (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at)
                VALUES ('default', 0, '1-0', 'bad_value', 'r', '', now(), now())""").run(session, {})
        Sql("""INSERT INTO outbox (tenant, message_id, type, goal_id, payload, happened_at, created_at)
                VALUES ('default', 'm', 't', 'g', '{}', now(), now())""").run(session, {})
    found = status_json(status)
    assert found["is_well"]
    assert (found["tenants"][0]["closed_through"], found["tenants"][0]["days_behind"]) == (yesterday.isoformat(), 0)
    jobs = {job["job"]: job for job in found["jobs"]}
    assert sorted(jobs) == [job.name for job in known_jobs() if job.quiet_after is not None]
    assert (jobs["verify"]["is_ok"], jobs["verify"]["violations"], jobs["project"]["newest_at"]) == (True, 0, None)
    assert (found["outbox"]["messages"], found["dead_letters"]) == (1, {"bad_value": 1})
    assert found["accounts_with_difference"] == 3
    code, out, _ = status()
    assert code == 0
    parts = (yesterday.isoformat(), "verify", "0 violations", "1 waiting: bad_value 1", "1 not announced")
    for part in (*parts, "unexplained in 3 of the accounts"):
        assert part in out


def test_a_wrong_value_is_not_well(status: Run, session_factory: Sessions) -> None:
    """When the last audit found something, status says so and ends with 1."""
    now = datetime.now(UTC)
    with session_factory.begin() as session:
        record_run(session, JobRun("default", "verify", "p", 0, now, now, '{"violations": 3}'))
    code, out, _ = status()
    assert code == 1
    assert "found 3 wrong values: `milepost verify` names the rows; once they are repaired, `milepost run" in out


def test_facts_that_are_dated_ahead_are_shown(status: Run, apply: Apply, session_factory: Sessions) -> None:
    """How many wait, and for when; one that has been due for minutes and does not count is not well."""
    data = {"account_id": "a", "transaction_id": "t", "amount": "5.00", "currency": "USD", "posted_at": "2026-03-12"}
    apply([event("transaction.recorded", NOW, "e", data)])
    with session_factory.begin() as session:
        Sql("UPDATE transactions SET due_at = '2099-03-12'").run(session, {})
    code, out, _ = status()
    assert code == 0
    assert "1 not due, the next one at 2099-03-12 00:00 UTC" in out
    assert status_json(status)["waiting_facts"]["by_kind"] == {"transaction": 1, "report": 0}
    with session_factory.begin() as session:
        Sql("UPDATE transactions SET due_at = now() - interval '6 minutes'").run(session, {})
    code, out, _ = status()
    assert code == 1
    assert "trouble: facts are due and do not count" in out


def test_a_job_that_is_late_for_one_tenant_is_reported(status: Run, session_factory: Sessions) -> None:
    """If a job ran today, but never for one of the tenants, status says since when that tenant exists."""
    now = datetime.now(UTC)
    with session_factory.begin() as session:
        create_tenant(session, "left", "UTC", now - timedelta(days=4))
        record_run(session, JobRun("default", "project", "p", 0, now, now, "{}"))
    _, out, _ = status()
    (line,) = (line for line in out.splitlines() if line.startswith("project"))
    assert line.rstrip().endswith("not for some tenant since 4 d ago")


def test_events_that_nobody_applies_are_not_well(status: Run, redis_client: redis.Redis) -> None:
    """A shard whose oldest event has waited for over 30 seconds without any commit is a trouble, and ends with 1."""
    at = datetime.now(UTC) - timedelta(seconds=31)
    redis_client.xadd("milepost:events:1", {"event": b"{}"}, id=f"{int(at.timestamp() * 1000)}-0")
    code, out, _ = status()
    assert code == 1
    assert "shard 1: events wait" in out
    assert "shard 0: " not in out


def test_seconds_without_watch_are_refused(status: Run) -> None:
    """SECONDS is refused without --watch, and below a fifth of a second."""
    assert status("5")[0] == 2
    assert status("--watch", "0.01")[0] == 2


def test_a_watch_into_a_pipe_prints_frame_after_frame(
    started: Callable[..., subprocess.Popen[bytes]], session_factory: Sessions, now: datetime
) -> None:
    """Without a terminal a watch prints plain frames that show what happened since, and Ctrl-C ends it with 0."""
    process = started("--watch", "0.2")
    assert process.stdout is not None
    while b"no goals yet" not in process.stdout.readline():
        assert process.poll() is None
    goal(session_factory, now, name="A new goal")
    while b"A new goal" not in (line := process.stdout.readline()):
        assert process.poll() is None
    assert b"\x1b" not in line
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")


def test_a_watch_whose_reader_has_ended_ends_without_an_error(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    """When the process that reads the frames has ended, the watch ends with 0 and without a traceback."""
    process = started("--watch", "0.2", "--json")
    assert process.stdout is not None
    assert process.stdout.readline() == b"{\n"
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_watch_on_a_terminal_is_live(started: Callable[..., subprocess.Popen[bytes]], number: signal.Signals) -> None:
    """On a terminal a frame is drawn over the one before; Ctrl-C, TERM and HUP end it with 0, with a visible cursor."""
    ours, theirs = pty.openpty()
    process = started("--watch", "0.2", output=theirs)
    os.close(theirs)
    seen = b""
    while seen.count(b"database") < 3:
        seen += os.read(ours, 65_536)
    process.send_signal(number)
    with suppress(OSError):  # Linux says so at the end of a terminal
        while more := os.read(ours, 65_536):
            seen += more
    os.close(ours)
    assert process.wait(timeout=20) == 0
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0
    assert b"Traceback" not in seen


def test_a_watch_outlives_its_servers(
    started: Callable[..., subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch whose servers do not answer shows the trouble and tries again."""
    monkeypatch.setenv("MILEPOST_DATABASE_URL", "postgresql://u:hidden-password@127.0.0.1:1/d")
    process = started("--watch", "0.2")
    assert process.stdout is not None
    troubles = 0
    while troubles < 2:
        line = process.stdout.readline()
        assert process.poll() is None
        assert b"hidden-password" not in line
        troubles += line.startswith(b"trouble: the database")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
