"""What the pipeline has to do with the Berka data; each scenario begins with an empty database and its goals."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from tests.berka import rows
from tests.berka.closing import Kills, check_closes, check_verify, close_days, held, kill_closer, project
from tests.berka.oracle import Movement, goal_amounts, read_movements, worths_by_reports, worths_by_sum
from tests.berka.oracle_days import Line, closes_by_reports, closes_by_sum
from tests.berka.report import Differs, Report
from tests.berka.rest import GoalName, make_goals, read_amounts
from tests.berka.system import DRAINS, REPLAYED_WITHIN_S, System, eventually, running

ROOT = Path(__file__).resolve().parents[2]
SEED = 1993


@dataclass(frozen=True, slots=True)
class State:
    """What has to be the same whatever the order and the accidents: the facts' rows, goals' amounts and closes."""

    facts: rows.Dump
    amounts: dict[GoalName, Decimal]
    closes: dict[GoalName, Line]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the oracle says: each account's worth in hellers, in the end and at the close of every day."""

    worths: dict[str, int]
    closes: dict[str, Line]


class Berka:
    """The data (all of it, or its first so many accounts), its event files in `scratch`, and a folder per system."""

    def __init__(self, folder: Path, scratch: Path, accounts: int | None, report: Report, **settings: str) -> None:
        self.folder, self.scratch, self.report = folder, scratch, report
        self._accounts, self._settings = accounts, settings

    @cached_property
    def movements(self) -> list[Movement]:
        """The source's rows."""
        return read_movements(self.folder, self._accounts)

    @cached_property
    def accounts(self) -> list[str]:
        """The accounts in order of appearance."""
        return list(dict.fromkeys(movement.account for movement in self.movements))

    @cached_property
    def by_sum(self) -> Expected:
        """Where the transactions alone tell."""
        return Expected(worths_by_sum(self.movements), closes_by_sum(self.movements))

    @cached_property
    def by_reports(self) -> Expected:
        """Where reports tell as well."""
        return Expected(worths_by_reports(self.movements), closes_by_reports(self.movements))

    @cached_property
    def plain(self) -> Path:
        """The events in the source's order."""
        return self._events("plain")

    @cached_property
    def balances(self) -> Path:
        """The events with a report for each account and day."""
        return self._events("balances", "--balances")

    @cached_property
    def shuffled(self) -> Path:
        """The plain events in another order, the same each time."""
        lines = self.plain.read_text("utf-8").splitlines(keepends=True)
        random.Random(SEED).shuffle(lines)
        path = self.scratch / "shuffled.ndjson"
        path.write_text("".join(lines), "utf-8")
        return path

    def parts(self, count: int) -> list[Path]:
        """The shuffled events in so many files, one after the other."""
        lines = self.shuffled.read_text("utf-8").splitlines(keepends=True)
        paths = [self.scratch / f"part{number}.ndjson" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_text("".join(lines[len(lines) * number // count : len(lines) * (number + 1) // count]), "utf-8")
        return paths

    def _events(self, name: str, *options: str) -> Path:
        path = self.scratch / f"{name}.ndjson"
        limit = [] if self._accounts is None else ["--accounts", str(self._accounts)]
        command = [sys.executable, str(ROOT / "examples" / "berka.py"), str(self.folder), *options, *limit]
        with path.open("wb") as file:
            subprocess.run(command, stdout=file, check=True)
        return path

    @contextmanager
    def system_with_goals(self, name: str) -> Iterator[tuple[System, dict[str, GoalName]]]:
        """A fresh system in which every account has its two goals."""
        with running(self.scratch / name, **self._settings) as system:
            self.report.step("an empty system is ready")
            goals = make_goals(system, self.accounts)
            self.report.step(f"{len(goals):,} goals made and linked over REST")
            yield system, goals
        self.report.step("the system has stopped")

    def replay(self, system: System, file: Path, how: str) -> None:
        """Replay a file and wait until it is applied."""
        took = system.replay(file)
        self.report.step(
            f"{how}: {took['events']:,} events on the stream after {took['appended_s']:.1f} s, "
            f"applied after {took['applied_s']:.1f} s"
        )

    def check(self, system: System, goals: dict[str, GoalName], expected: Expected) -> None:
        """Worths, amounts and closes are exactly the oracle's, and nothing was refused."""
        self.report.none("no dead letters", rows.dead_letters(system))
        worths = expected.worths
        self.report.equal(f"the worth of {len(worths):,} accounts is the oracle's", worths, rows.worths(system))
        amounts = {name: Decimal(minor) / 100 for name, minor in goal_amounts(worths, self.movements).items()}
        what = f"the amount of {len(amounts):,} goals, read over REST, is the formula's"
        self.report.equal(what, amounts, read_amounts(system, goals))
        self.report.none("every goal's ledger leads without a gap to its amount", rows.ledger_gaps(system))
        close_days(self.report, system)
        check_closes(self.report, system, goals, expected.closes)

    def check_again_changes_nothing(self, system: System, file: Path, how: str, before: rows.Dump) -> None:
        """Replaying into a database that knows it all leaves every row as it was."""
        self.replay(system, file, how)
        count = sum(len(table) for table in before.values())
        what = f"the ordered dump of {len(before)} business tables ({count:,} rows) is as it was"
        self.report.equal(what, before, rows.dump_business_tables(system))

    def check_same(self, system: System, goals: dict[str, GoalName], expected: State) -> None:
        """Facts and amounts are those of another run."""
        found = state(system, goals)
        count = sum(len(table) for table in expected.facts.values())
        what = f"accounts, reports, transactions and account days ({count:,} rows) are those of the plain run"
        self.report.equal(what, expected.facts, found.facts)
        what = f"the amounts of {len(expected.amounts):,} goals are those of the plain run"
        self.report.equal(what, expected.amounts, found.amounts)
        count = sum(len(closes) for closes in expected.closes.values())
        self.report.equal(
            f"the rows of goal_snapshots ({count:,}) are those of the plain run", expected.closes, found.closes
        )


def state(system: System, goals: dict[str, GoalName]) -> State:
    """The state to compare runs by, once all days are closed."""
    return State(rows.dump_facts(system), read_amounts(system, goals), rows.stored_closes(system))


def plain_and_again(berka: Berka) -> State:
    """The source's order; then the same again, and shuffled, into the same database."""
    berka.report.title("Plain: in the source's order, a second time, and shuffled")
    with berka.system_with_goals("plain") as (system, goals):
        berka.replay(system, berka.plain, "replayed")
        berka.check(system, goals, berka.by_sum)
        project(berka.report, system)
        reached, before = state(system, goals), rows.dump_business_tables(system)
        berka.check_again_changes_nothing(system, berka.plain, "replayed a second time", before)
        berka.check_again_changes_nothing(system, berka.shuffled, "replayed shuffled", before)
        check_verify(berka.report, system)
    return reached


def balances_and_again(berka: Berka) -> None:
    """With a report for each account and day; then the same again."""
    berka.report.title("Balances: with a report for each account and day, and a second time")
    with berka.system_with_goals("balances") as (system, goals):
        berka.replay(system, berka.balances, "replayed")
        berka.check(system, goals, berka.by_reports)
        project(berka.report, system)
        before = rows.dump_business_tables(system)
        berka.check_again_changes_nothing(system, berka.balances, "replayed a second time", before)
        check_verify(berka.report, system)


def shuffled_into_empty(berka: Berka, expected: State) -> None:
    """Shuffled events leave what ordered ones did."""
    berka.report.title("Shuffled: into an empty database")
    with berka.system_with_goals("shuffled") as (system, goals):
        berka.replay(system, berka.shuffled, "replayed shuffled")
        berka.check(system, goals, berka.by_sum)
        berka.check_same(system, goals, expected)
        check_verify(berka.report, system)


def killed_in_the_middle(berka: Berka, expected: State, kills: int) -> None:
    """kill -9 of the drain worker, again and again, leaves what a quiet run does."""
    berka.report.title(f"Killed: kill -9 of the drain worker and its processes, {kills} times during the replay")
    with berka.system_with_goals("killed") as (system, goals):
        replaying = system.begin_replay(berka.plain)
        applied = 0
        for number in range(1, kills + 1):
            applied = _kill_at(berka, system, max(applied + 1, len(berka.movements) * number // (kills + 1)))
        took = system.end_replay(replaying)
        berka.report.step(f"{took['events']:,} events applied {took['applied_s']:.1f} s after the first was sent")
        berka.check(system, goals, berka.by_sum)
        berka.check_same(system, goals, expected)
        check_verify(berka.report, system)


def killed_while_closing(berka: Berka, expected: State, kills: Kills) -> None:
    """kill -9 of whoever closes days, after each part of the shuffled events, leaves the closes of a quiet run."""
    berka.report.title(f"Closing killed: kill -9 of the jobs worker or `milepost run snapshot`, {len(kills)} times")
    *parts, last = berka.parts(len(kills) + 1)
    with berka.system_with_goals("closing") as (system, goals):
        for (table, victim), part in zip(kills, parts, strict=True):
            with held(system, table):
                berka.replay(system, part, "replayed a part")
                kill_closer(berka.report, system, table, victim)
        berka.replay(system, last, "replayed the last part")
        berka.check(system, goals, berka.by_sum)
        berka.check_same(system, goals, expected)
        check_verify(berka.report, system)


def _kill_at(berka: Berka, system: System, transactions: int) -> int:
    """Kill once so many transactions are applied; how many there are then. Raises Differs if none was still to come."""
    with system.connect() as connection:
        eventually(
            lambda: rows.count_transactions(connection) >= transactions,
            f"{transactions:,} transactions are applied",
            REPLAYED_WITHIN_S,
        )
        victims = system.kill_worker(DRAINS)
        applied = rows.count_transactions(connection)
    if applied >= len(berka.movements):
        raise Differs("the kill came after everything was applied: it shows nothing")
    berka.report.step(f"killed {len(victims)} processes with {applied:,} transactions applied")
    return applied
