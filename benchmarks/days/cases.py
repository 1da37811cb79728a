"""The cases of `python -m benchmarks.days`, each measured in a fresh copy of a database whose days are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial

from sqlalchemy import select

from benchmarks.days.check import check_closes
from benchmarks.days.measure import Step, Work, measure, time_copy_again
from benchmarks.days.seed import DAY, World, entries, seed_days
from benchmarks.servers import database, unlimited
from benchmarks.workload import BenchEvent
from core.errors import MilepostError
from core.ingestion.apply import apply_events
from core.jobs.project import run_project
from core.jobs.snapshot import AT_ONCE, run_snapshot
from core.store import tables
from core.store.database import Sessions
from milepost.ops.latency import StepProgress

_SEEDED = "bench_days"
_CHECKED = 500
_MINOR = 700
TakeStep = Callable[[str, Work], Step]


class TooFewGoals(MilepostError):
    """There are not enough accounts for the late facts."""

    def __init__(self, goals: int, late: int) -> None:
        super().__init__(
            f"{late:,} late facts of each kind need more than {4 * late:,} goals, not {goals:,}: two goals an account"
        )


@dataclass(frozen=True, slots=True)
class DaysPlan:
    """What to measure: `goals`, two an account; the percentage that moved yesterday; and `late` facts a case."""

    goals: int
    moved_percent: float
    late: int
    batch_events: int
    today: date

    @classmethod
    def of(cls, goals: int, moved_percent: float, late: int, batch_events: int) -> DaysPlan:
        """A plan for today; raises TooFewGoals."""
        if goals // 2 <= 2 * late:
            raise TooFewGoals(goals, late)
        return cls(goals, moved_percent, late, batch_events, datetime.now(UTC).date())

    @property
    def world(self) -> World:
        """Accounts for both kinds of late facts, and others."""
        return World(self.late, self.late, self.goals // 2 - 2 * self.late, self.today)

    @property
    def moved(self) -> Sequence[int]:
        """The accounts that move yesterday, spread over all."""
        accounts = self.world.accounts
        count = round(accounts * self.moved_percent / 100)
        return [number * accounts // count for number in range(count)]


@dataclass(frozen=True, slots=True)
class Case:
    """One fact for each of some accounts, all of the day `age` days ago."""

    name: str
    age: int
    numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class Measured:
    """One case: its facts applied, its days closed, closed again and, if measured, all goals projected."""

    case: Case
    applied: Step
    closed: Step
    again: Step
    projected: Step | None
    copy_seconds: float

    @property
    def closes(self) -> int:
        """The number of snapshots that were inserted, updated or deleted."""
        return self.closed.of("goal_snapshots").written


def cases(plan: DaysPlan) -> Iterator[Case]:
    """The cases in the order in which they run."""
    followed, unreported = range(plan.late), range(plan.late, 2 * plan.late)
    yield Case("nightly", 1, plan.moved)
    yield Case("a report follows", 300, followed)
    yield Case("none follows", 300, unreported)
    yield Case("a report follows", 30, followed)
    yield Case("a report follows", 3_000, followed)


def run_days(plan: DaysPlan, server_url: str, progress: StepProgress) -> Iterator[Measured]:
    """Measure each case; raises WrongResult if the snapshots do not fit the facts, StepFailed."""
    with database(server_url, _SEEDED) as seeded_url:
        with progress.step("seed"):
            measure(seeded_url, partial(_seed, plan, seeded_url))
        for number, case in enumerate(cases(plan)):
            with database(server_url, f"{_SEEDED}_{number}", template=_SEEDED) as url:
                yield measure_case(plan, case, url, progress, is_projected=number == 0)


def measure_case(
    plan: DaysPlan,
    case: Case,
    url: str,
    progress: StepProgress,
    *,
    is_projected: bool = False,
    take: TakeStep = measure,
) -> Measured:
    """Measure one case on a fresh copy of the seeded world; `take` does one step."""
    name = case.name if case.age == 1 else f"{case.age:,} days late, {case.name}"
    with progress.step(f"{name}: apply"):
        applied = take(url, partial(_apply, plan, case))
    with progress.step(f"{name}: close"):
        closed = take(url, partial(_close, plan))
        again = take(url, partial(_close, plan))
    projected = None
    if is_projected:
        with progress.step("project all goals"):
            projected = take(url, partial(_project, plan))
    with progress.step(f"{name}: check"), unlimited(url) as engine:
        check_closes(engine, _sample(plan, case), plan.today - DAY)
    with progress.step(f"{name}: baseline COPY"):
        closes = closed.of("goal_snapshots").written
        steps = -(-len(case.numbers) // AT_ONCE)
        selected = select(tables.goal_snapshots).order_by(*tables.goal_snapshots.primary_key).limit(closes)
        copy_s = time_copy_again(url, tables.goal_snapshots, selected, max(1, -(-closes // steps)))
    return Measured(case, applied, closed, again, projected, copy_s)


def _sample(plan: DaysPlan, case: Case) -> list[int]:
    """The accounts to check: some of those with facts of the case, and some of all."""
    concerned = case.numbers[:: max(1, len(case.numbers) // _CHECKED)]
    others = range(0, plan.world.accounts, max(1, plan.world.accounts // _CHECKED))
    return sorted({*concerned, *others})


def _seed(plan: DaysPlan, url: str, _sessions: Sessions) -> None:
    """By sessions of its own, which have no time limits."""
    seed_days(url, plan.world)


def _apply(plan: DaysPlan, case: Case, sessions: Sessions) -> None:
    """Apply one transaction of the day for each of the accounts, in batches as a drain would."""
    world, size = plan.world, plan.batch_events
    for start in range(0, len(case.numbers), size):
        numbers = case.numbers[start : start + size]
        bodies = (BenchEvent(n, f"of-day-{case.age}", _MINOR, world.at(case.age)).to_json() for n in numbers)
        with sessions.begin() as session:
            apply_events(session, list(entries(world, bodies, start)), world.now)


def _close(plan: DaysPlan, sessions: Sessions) -> object:
    return run_snapshot(sessions, plan.world.now)


def _project(plan: DaysPlan, sessions: Sessions) -> object:
    return run_project(sessions, plan.world.now)
