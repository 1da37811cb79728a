"""The job project: stores every night the pace of each active goal, from which its projection follows.

Of a goal it reads three closes and, if they moved, what its accounts reported beyond their transactions in between. A
chunk is done in transactions of a thousand goals each; the last one records (project, day, tenant, chunk).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

import simplejson

from core.errors import InvalidField
from core.goals.projection import Pace, no_pace, pace_days, projection_of, why_resting
from core.jobs.job import TIME_SLICE_S, Job, PartDone, Parts, Say, Servers, WholeRun
from core.jobs.snapshot import ChunkDays, check_day
from core.snapshots.pace import PacedGoal, compute_paces
from core.store.database import Sessions
from core.store.days import CHUNKS, JobRun, all_tenant_days, count_runs, lock_snapshots, note_run, record_run
from core.store.driver import Session, plan_by_key
from core.store.forecasts import JOB, ForecastRow, active_goals, write_forecasts
from core.store.goals import GoalKey, GoalRow, read_goals
from core.store.links import funding_of_goals
from core.store.snapshots import read_closes
from core.store.tenants import Tenant

AT_ONCE = 1_000
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Projected:
    """How many active goals were projected, and how many of them got a date."""

    goals: int = 0
    dated: int = 0

    def __add__(self, other: Projected) -> Projected:
        return Projected(self.goals + other.goals, self.dated + other.dated)


@dataclass(frozen=True, slots=True)
class ChunkProjected:
    """What was done. `is_done` is False if the time was up: then the next part starts `after` this goal."""

    did: Projected
    is_done: bool
    after: str = ""


def run_project(
    sessions: Sessions,
    now: datetime,
    *,
    tenant: str | None = None,
    through: date | None = None,
    on_progress: Say | None = None,
) -> Projected:
    """Project all active goals of all tenants, or of one, from their last closed day, or from `through`.

    Raises InvalidField for a day that is not closed.
    """
    did = Projected()
    for work in due_projections(sessions, tenant=tenant, through=through, again=True):
        did += project_chunk(sessions, work, now, again=True).did
        if on_progress is not None:
            on_progress(f"{work.tenant.name}: part {work.chunk + 1} of {CHUNKS}, {did.goals:,} goals projected")
    return did


def due_projections(
    sessions: Sessions, *, tenant: str | None = None, through: date | None = None, again: bool = False
) -> list[ChunkDays]:
    """The chunks of the tenants whose last closed day has no projections; with `again` of all with a closed day."""
    due = []
    with sessions() as session:
        for days in all_tenant_days(session):
            if tenant not in (None, days.tenant.name) or (days.closed_through is None and through is None):
                continue
            last = _day(days.tenant.name, days.closed_through, through)
            if again or count_runs(session, days.tenant.name, JOB, last.isoformat()) < CHUNKS:
                due += [ChunkDays(days.tenant, chunk, last) for chunk in range(CHUNKS)]
    return due


def project_chunk(
    sessions: Sessions,
    work: ChunkDays,
    now: datetime,
    *,
    again: bool = False,
    after: str = "",
    time_slice_s: float | None = None,
) -> ChunkProjected:
    """Project the active goals of one chunk and record it as done.

    Without `again` only the goals whose pace up to this day is not stored: so a run continues where a killed one
    stopped.
    """
    began, did = time.monotonic(), Projected()
    while time_slice_s is None or time.monotonic() - began < time_slice_s:
        with sessions.begin() as session:
            plan_by_key(session)
            # Else snapshots could change, and their forecasts be dropped, between our reading and our writing.
            lock_snapshots(session, work.tenant.name, alone=True)
            ids = active_goals(
                session, work.tenant.name, work.chunk, work.through, again=again, after=after, limit=AT_ONCE
            )
            did += _project_some(session, work, ids, now)
            if len(ids) < AT_ONCE:
                result = simplejson.dumps(asdict(did))
                run = JobRun(work.tenant.name, JOB, work.through.isoformat(), work.chunk, now, now, result)
                (note_run if again else record_run)(session, run)
                return ChunkProjected(did, is_done=True)
            after = ids[-1]
    return ChunkProjected(did, is_done=False, after=after)


def _project_some(session: Session, work: ChunkDays, ids: Sequence[str], now: datetime) -> Projected:
    """Store the paces of some goals, of which one that waits for a balance or is not closed yet has none."""
    goals = read_goals(session, [(work.tenant.name, goal_id) for goal_id in ids])
    paces = _paces(session, work, [goal for goal in goals if why_resting(goal) is None])
    write_forecasts(session, [ForecastRow(*key, pace, now) for key, pace in paces.items()])
    dated = [goal for goal in goals if goal.key in paces and projection_of(goal, paces[goal.key]).days is not None]
    return Projected(len(goals), len(dated))


def _paces(session: Session, work: ChunkDays, goals: Sequence[GoalRow]) -> dict[GoalKey, Pace]:
    days = {goal.key: pace_days(goal.start_date, work.through) for goal in goals}
    paces = {key: no_pace(work.through) for key, own in days.items() if own is None}
    whole = [(goal, own) for goal in goals if (own := days[goal.key]) is not None]
    closes = read_closes(session, [(goal.key, own) for goal, own in whole])
    paced = [PacedGoal(goal, own, found) for (goal, own), found in zip(whole, closes, strict=True) if found is not None]
    funding = funding_of_goals(session, (each.goal.key for each in paced if each.has_moved))
    computed = compute_paces(session, paced, funding, work.tenant.zone)
    return paces | {each.goal.key: pace for each, pace in zip(paced, computed, strict=True)}


def _day(tenant: str, closed_through: date | None, through: date | None) -> date:
    if through is not None:
        check_day(through)
    if through is None and closed_through is not None:
        return closed_through
    if through is not None and closed_through is not None and through <= closed_through:
        return through
    raise InvalidField(
        "date", f"{through} is not closed yet for the tenant {tenant}; `milepost run snapshot` closes days"
    )


def _run(whole: WholeRun) -> Projected:
    return run_project(whole.sessions, whole.now, through=whole.through, on_progress=whole.on_progress)


def _due(servers: Servers) -> Iterator[tuple[str, str, int, str]]:
    for work in due_projections(servers.sessions):
        yield work.tenant.name, work.tenant.time_zone, work.chunk, work.through.isoformat()


def _run_chunk(servers: Servers, tenant: str, time_zone: str, chunk: int, through: str, after: str = "") -> PartDone:
    work = ChunkDays(Tenant(tenant, time_zone), chunk, date.fromisoformat(through))
    done = project_chunk(servers.sessions, work, servers.now(), after=after, time_slice_s=TIME_SLICE_S)
    return PartDone(done.did.goals, None if done.is_done else (tenant, time_zone, chunk, through, done.after))


PROJECT = Job(
    JOB,
    run=_run,
    scheduled=Parts("project_chunk", ("tenant", "time_zone", "chunk", "through", "after"), _due, _run_chunk),
    takes_day=True,
)
