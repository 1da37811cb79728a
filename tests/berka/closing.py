"""Closing the days of a system: in peace, and with the processes that close them killed at chosen moments."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from tests.berka import rows
from tests.berka.oracle_days import DAYS, Line, dense, goal_closes, sparse
from tests.berka.report import Differs, Report
from tests.berka.rest import GoalName, read_stored_snapshots
from tests.berka.system import CLOSED_WITHIN_S, JOBS, READY_WITHIN_S, SELDOM_S, System, SystemTrouble, eventually

Victim = Literal["the command", "the jobs worker"]
COMMAND: Victim = "the command"
AGAIN_AFTER_S = 3.0

# Tables in the order in which closing writes them, and how far it is while it waits for each. Nothing that replays
# events writes to these.
MOMENTS = {
    "goal_snapshots": "with nothing written",
    "forecasts": "with closes written and not committed",
    "job_runs": "with closes committed and the part not claimed",
    "tenants": "with all parts claimed and the day not noted",
}
# What each says of itself to the database.
NAMES: Mapping[Victim, str] = {COMMAND: "milepost", "the jobs worker": "milepost worker"}
Kills = Sequence[tuple[str, Victim]]
BOTH_AT_EACH: Kills = [(table, victim) for table in MOMENTS for victim in NAMES]
ONE_AT_EACH: Kills = [BOTH_AT_EACH[n] for n in (0, 2, 5, 7)]


def close_days(report: Report, system: System) -> None:
    """`milepost run snapshot`, until nothing is marked."""
    did = system.command("run", "snapshot")
    with system.connect() as connection:
        deadline = time.monotonic() + CLOSED_WITHIN_S
        # A part that one of beat's jobs is at just now is left to it.
        while marks := rows.marks(connection):
            if time.monotonic() > deadline:
                raise SystemTrouble(f"{marks} rows are still marked after {CLOSED_WITHIN_S} s")
            system.command("run", "snapshot")
        count = rows.count_closes(connection)
    report.step(f"milepost run snapshot: {did['goals']:,} goals, {did['closes']:,} closes; {count:,} rows stored")


def check_closes(report: Report, system: System, goals: dict[str, GoalName], worths: dict[str, Line]) -> None:
    """The close of every goal and the worth of every account on every day are the oracle's."""
    expected = goal_closes(worths)
    what = f"the closes of {len(expected):,} goals on {len(DAYS)} days, read over REST, are the formula's"
    report.equal(what, expected, read_stored_snapshots(system, goals))
    stored = {name: sparse(line) for name, line in expected.items()}
    what = f"the rows of goal_snapshots ({sum(map(len, stored.values())):,}) are their sparse form"
    report.equal(what, stored, rows.stored_closes(system))
    found = {account: dense(line, opening) for account, (opening, line) in rows.worths_at_closes(system).items()}
    report.equal(f"the worths of {len(worths):,} accounts at {len(DAYS)} closes are the oracle's", worths, found)


def project(report: Report, system: System) -> None:
    """`milepost run project`, so that beat finds nothing to project between two dumps."""
    did = system.command("run", "project")
    report.step(f"milepost run project: {did['goals']:,} goals")


def check_verify(report: Report, system: System) -> None:
    """`milepost verify` finds that all holds."""
    command = system.begin_command("verify")
    output, trouble = command.communicate(timeout=CLOSED_WITHIN_S)
    if command.returncode != 0:
        raise Differs(f"milepost verify ended with {command.returncode}: {(trouble + output).decode()[:5_000]}")
    report.step("milepost verify finds that all holds")


@contextmanager
def held(system: System, table: str) -> Iterator[None]:
    """Keep everybody from writing to a table for a while; reading goes on."""
    with system.connect() as connection, connection.transaction():
        connection.execute(f'LOCK TABLE "{table}" IN SHARE MODE')
        yield


def kill_closer(report: Report, system: System, table: str, victim: Victim) -> None:
    """kill -9 of one that closes days, in the middle of the transaction in which it waits for a held table."""
    closer = (_Command if victim == COMMAND else _JobsWorker)(system)
    with system.connect() as connection:

        def is_waiting() -> bool:
            closer.go_on()
            return bool(connection.execute(_WAITING, (table, NAMES[victim])).fetchall())

        eventually(is_waiting, f"{victim} waits to write to {table}", READY_WITHIN_S, SELDOM_S)
        closer.kill()
        marks, closes = rows.marks(connection), rows.count_closes(connection)
    report.step(f"killed {victim} {MOMENTS[table]}: {closes:,} closes stored, {marks:,} rows marked")


class _Command:
    """`milepost run snapshot`; if beat's jobs were at all parts, it has ended, and is started again."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._process: subprocess.Popen[bytes] | None = None

    def go_on(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = self._system.begin_command("run", "snapshot")

    def kill(self) -> None:
        assert self._process is not None, "go_on() comes first"
        self._process.kill()
        self._process.communicate()


class _JobsWorker:
    """The jobs worker, which gets the trigger that beat sends; again after a while, since it may be starting."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._again_at = 0.0

    def go_on(self) -> None:
        if time.monotonic() >= self._again_at:
            self._system.trigger("milepost.snapshot")
            self._again_at = time.monotonic() + AGAIN_AFTER_S

    def kill(self) -> None:
        self._system.kill_worker(JOBS)


_WAITING = """
SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.relation = CAST(%s AS regclass) AND NOT l.granted AND a.application_name = %s
"""
