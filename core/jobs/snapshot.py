"""The job snapshot: closes the days of every tenant that are over, missed ones too, and closed days with late facts.

A tenant is closed chunk by chunk, each chunk in transactions of some hundred accounts or goals; the last one records
(snapshot, day, tenant, chunk). Once all chunks of a day are recorded, the tenant is closed through that day. The dirty
ranges of accounts and goals say what is left to do, so a run that is cut short, killed or started twice leaves nothing
out and does nothing twice.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

import psycopg
import simplejson
import structlog

from core.errors import InvalidField
from core.events.calendar import EARLIEST, last_closed_day
from core.jobs.job import TIME_SLICE_S, Job, PartDone, Parts, Say, Servers, WholeRun
from core.snapshots.closing import Snapshotted, close_touched_accounts, close_touched_goals
from core.store.database import Sessions, is_database_trouble
from core.store.days import (
    CHUNKS,
    JobRun,
    TenantDays,
    all_tenant_days,
    count_runs,
    dirty_accounts,
    dirty_goals,
    has_dirty_ranges,
    lock_chunk,
    note_closed_through,
    record_run,
)
from core.store.driver import Session
from core.store.tenants import Tenant, lock_tenant

log = structlog.get_logger(__name__)

JOB = "snapshot"
AT_ONCE = 500
LIST_AT_ONCE = 20_000
"""How many dirty accounts or goals one search lists: every search reads all of them."""

FIRST_STEP = 50
QUICK_S, SLOW_S = 0.3, 1.0
WAIT_S = 0.2
WAIT_FOR_OTHERS_S = 60.0
"""How long a run waits for another process that works on one of its chunks, before it leaves the chunk to that one."""

Clock = Callable[[], datetime]
Touched = Callable[[Session, str, date, int, int, str], list[str]]
Close = Callable[[Session, Tenant, Sequence[str], date, datetime], Snapshotted]


@dataclass(frozen=True, slots=True)
class ChunkDays:
    """One chunk of a tenant, to be closed through a day."""

    tenant: Tenant
    chunk: int
    through: date


@dataclass(frozen=True, slots=True)
class ChunkClosed:
    """What was done; `is_done` is False if the time was up or another worker works on this chunk."""

    did: Snapshotted
    is_done: bool


def run_snapshot(
    sessions: Sessions,
    now: datetime,
    *,
    tenant: str | None = None,
    through: date | None = None,
    on_progress: Say | None = None,
) -> Snapshotted:
    """Close the days of all tenants, or of one, up to the last day that is over, or up to `through`.

    Raises InvalidField for a day that is not over in some tenant's time zone. Closed days that have become dirty are
    closed again even if they are after `through`.
    """
    clock = _going_on_from(now)
    did, left = Snapshotted(), due_chunks(sessions, now, tenant=tenant, through=through)
    give_up_at = time.monotonic() + WAIT_FOR_OTHERS_S
    while left and time.monotonic() < give_up_at:
        busy = []
        for work in left:
            closed = close_chunk(sessions, work, clock())
            did += closed.did
            if not closed.is_done:
                busy.append(work)
            elif on_progress is not None:
                on_progress(f"{work.tenant.name}: part {work.chunk + 1} of {CHUNKS}, {did.goals:,} goals looked at")
        left = busy
        if left:
            time.sleep(WAIT_S)
    return did + Snapshotted(left_to_others=len(left))


def due_chunks(
    sessions: Sessions, now: datetime, *, tenant: str | None = None, through: date | None = None
) -> list[ChunkDays]:
    """The chunks that have something to close; raises InvalidField as `run_snapshot` does."""
    with sessions() as session:
        tenants = [days for days in all_tenant_days(session) if tenant in (None, days.tenant.name)]
        wanted = [(days, _last_day(days, now, through)) for days in tenants]
        due = [
            (days.tenant, last)
            for days, last in wanted
            if days.closed_through is None
            or days.closed_through < last
            or has_dirty_ranges(session, days.tenant.name, last)
        ]
    return [ChunkDays(whose, chunk, last) for whose, last in due for chunk in range(CHUNKS)]


def close_chunk(
    sessions: Sessions, work: ChunkDays, now: datetime, *, time_slice_s: float | None = None
) -> ChunkClosed:
    """Close one chunk: dirty days of its accounts, then of its goals. The last chunk closes the tenant's day."""
    began, did, clock = time.monotonic(), Snapshotted(), _going_on_from(now)
    for step in (_account_steps, _goal_steps):
        for done in step(sessions, work, clock):
            if done is None or (time_slice_s is not None and time.monotonic() - began > time_slice_s):
                return ChunkClosed(did + (done or Snapshotted()), is_done=False)
            did += done
    did += _finish(sessions, work, did, now, clock)
    log.info(
        "closed",
        tenant=work.tenant.name,
        through=work.through.isoformat(),
        chunk=work.chunk,
        seconds=round(time.monotonic() - began, 3),
        **asdict(did),
    )
    return ChunkClosed(did, is_done=True)


def _account_steps(sessions: Sessions, work: ChunkDays, clock: Clock) -> Iterator[Snapshotted | None]:
    """Close the days that facts made dirty, one transaction a step; None if another worker works on this chunk."""
    return _steps(sessions, work, clock, dirty_accounts, close_touched_accounts)


def _goal_steps(sessions: Sessions, work: ChunkDays, clock: Clock) -> Iterator[Snapshotted | None]:
    """Close the days that requests made dirty, one transaction a step; None if another worker works on this chunk."""
    return _steps(sessions, work, clock, dirty_goals, close_touched_goals)


def _steps(
    sessions: Sessions, work: ChunkDays, clock: Clock, touched: Touched, close: Close
) -> Iterator[Snapshotted | None]:
    """One transaction after the other, each with so few ids that others wait only a moment for its locks.

    How much work an account is cannot be known beforehand: a few take a second if each has years to be closed for
    dozens of goals. So the steps begin small, grow while they are quick, and shrink when they are slow or fail.
    """
    after, size, listed = "", FIRST_STEP, list[str]()
    while True:
        began, now = time.monotonic(), clock()
        try:
            with sessions.begin() as session:
                is_ours = lock_chunk(session, work.tenant.name, work.chunk)
                if is_ours and not listed:
                    listed = touched(session, work.tenant.name, work.through, work.chunk, LIST_AT_ONCE, after)
                ids = listed[:size]
                done = close(session, work.tenant, ids, work.through, now) if is_ours and ids else None
        except psycopg.Error as error:
            if size == 1 or not is_database_trouble(error):
                raise
            log.warning("closing failed, trying fewer at once", size=size, error=type(error).__name__)
            size = max(1, size // 4)
            continue
        if not is_ours:
            yield None
        if done is None:
            return
        after, listed = ids[-1], listed[len(ids) :]
        took_s = time.monotonic() - began
        size = min(AT_ONCE, size * 2) if took_s < QUICK_S else max(1, size // 2) if took_s > SLOW_S else size
        yield done


def _finish(sessions: Sessions, work: ChunkDays, did: Snapshotted, began: datetime, clock: Clock) -> Snapshotted:
    """Record the chunk's day as done. The process that records the last chunk closes the tenant's day.

    A goal that is to be completed because of a chunk's accounts may belong to a chunk that was done before: so dirty
    goals are looked for once more.
    """
    period = work.through.isoformat()
    with sessions.begin() as session:
        # Of two workers that record the last two chunks at once, the second must see the first one's record.
        lock_tenant(session, work.tenant.name)
        ended = clock()
        result = simplejson.dumps(asdict(did) | {"seconds": round((ended - began).total_seconds(), 3)})
        record_run(session, JobRun(work.tenant.name, JOB, period, work.chunk, began, ended, result))
        if count_runs(session, work.tenant.name, JOB, period) < CHUNKS:
            return Snapshotted()
    done = Snapshotted()
    for ids in _batches(lambda after: _left(sessions, work, after)):
        now = clock()
        with sessions.begin() as session:
            done += close_touched_goals(session, work.tenant, ids, work.through, now)
    now = clock()
    with sessions.begin() as session:
        note_closed_through(session, work.tenant.name, work.through, now)
    return done


def _going_on_from(now: datetime) -> Clock:
    """A clock that starts at `now` when this is called."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)


def _left(sessions: Sessions, work: ChunkDays, after: str) -> list[str]:
    with sessions() as session:
        return dirty_goals(session, work.tenant.name, work.through, None, AT_ONCE, after)


def _batches(next_after: Callable[[str], list[str]]) -> Iterator[list[str]]:
    after = ""
    while ids := next_after(after):
        yield ids
        after = ids[-1]


def check_day(through: date) -> None:
    """Refuse a day before the earliest date of facts; raises InvalidField."""
    if through < EARLIEST.date():
        raise InvalidField("date", f"{through} is before 1900")


def _last_day(days: TenantDays, now: datetime, through: date | None) -> date:
    last = last_closed_day(now, days.tenant.zone)
    if through is None:
        return last
    check_day(through)
    if through > last:
        raise InvalidField(
            "date", f"{through} is not over yet for the tenant {days.tenant.name}: its last closed day is {last}"
        )
    return through if days.closed_through is None else max(through, days.closed_through)


def tenants_behind(sessions: Sessions, now: datetime) -> Sequence[TenantDays]:
    """The tenants whose last local day is over and not closed yet."""
    with sessions() as session:
        return [
            days
            for days in all_tenant_days(session)
            if days.closed_through is None or days.closed_through < last_closed_day(now, days.tenant.zone)
        ]


def _run(whole: WholeRun) -> Snapshotted:
    return run_snapshot(whole.sessions, whole.now, through=whole.through, on_progress=whole.on_progress)


def _due(servers: Servers) -> Iterator[tuple[str, str, int, str]]:
    for work in due_chunks(servers.sessions, servers.database_now()):
        yield work.tenant.name, work.tenant.time_zone, work.chunk, work.through.isoformat()


def _run_chunk(servers: Servers, tenant: str, time_zone: str, chunk: int, through: str) -> PartDone:
    now, whose = servers.database_now(), Tenant(tenant, time_zone)
    # The message may be from before midnight.
    last = max(date.fromisoformat(through), last_closed_day(now, whose.zone))
    closed = close_chunk(servers.sessions, ChunkDays(whose, chunk, last), now, time_slice_s=TIME_SLICE_S)
    is_to_go_on = not closed.is_done and (closed.did.accounts or closed.did.goals)
    return PartDone(closed.did.goals, (tenant, time_zone, chunk, through) if is_to_go_on else None)


SNAPSHOT = Job(
    JOB,
    run=_run,
    scheduled=Parts("snapshot_chunk", ("tenant", "time_zone", "chunk", "through"), _due, _run_chunk),
    takes_day=True,
)
