"""What an operator watches in the database, of all tenants together, at a cost that does not grow with the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.goals.goal import DebtForm, GoalType, Span, Tracking
from core.goals.lifecycle import GoalStatus
from core.store.job_runs import JobRun

# No count goes further: a figure of COUNTED_MOST means that many or more.
COUNTED_MOST = 10_000
TENANTS_MOST = 1_000
RUNS_MOST = 10_000
# Up to so many goals are sorted for a look at the latest; of more, only what the end of the ledger names.
GOALS_SORTED_MOST = 50_000
LEDGER_PAGES = 64


@dataclass(frozen=True, slots=True)
class OutboxBacklog:
    """Messages that are not delivered: how many, at most COUNTED_MOST, and since when the oldest waits."""

    messages: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """A tenant and the last local day that is closed for it, None if none is."""

    tenant: str
    time_zone: str
    created_at: datetime
    closed_through: date | None


@dataclass(frozen=True, slots=True)
class MovedGoal:
    """A goal as an operator sees it at a glance; `projected_at` as last stored."""

    tenant: str
    goal_id: str
    user_id: str
    name: str
    type: GoalType
    tracking: Tracking
    status: GoalStatus
    currency: str
    amount_minor: int
    target_minor: int
    span: Span
    updated_at: datetime
    projected_at: datetime | None


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """What the database says of itself: `version` is 180004 for 18.4; whether commits outlive a crash."""

    version: int
    version_text: str
    now: datetime
    is_durable: bool


_WAITING_LETTERS = text(
    """SELECT code, count(*) FROM (
        SELECT code FROM dead_letters WHERE replayed_at IS NULL AND discarded_at IS NULL LIMIT :most) waiting
    GROUP BY code ORDER BY code"""
)
_WAITING_MESSAGES = text(
    "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE delivered_at IS NULL LIMIT :most) AS waiting"
)
_OLDEST_MESSAGE = text(
    """SELECT min(o.created_at) FROM tenants t CROSS JOIN LATERAL (
        SELECT created_at FROM outbox WHERE tenant = t.tenant AND delivered_at IS NULL ORDER BY created_at LIMIT 1) o"""
)
_CLOSED_DAYS = text(
    """SELECT tenant, time_zone, created_at, closed_through FROM tenants
    ORDER BY coalesce(closed_through, (created_at AT TIME ZONE 'UTC')::date), tenant LIMIT :most"""
)
# Jumps from one (tenant, job) to the next along the primary key, and reads the last period of each.
_LAST_RUNS = text(
    """WITH RECURSIVE jobs AS (
        (SELECT tenant, job FROM job_runs ORDER BY tenant, job LIMIT 1)
        UNION ALL
        SELECT n.tenant, n.job FROM jobs j CROSS JOIN LATERAL (
            SELECT r.tenant, r.job FROM job_runs r WHERE (r.tenant, r.job) > (j.tenant, j.job)
            ORDER BY r.tenant, r.job LIMIT 1) n)
    SELECT r.tenant, r.job, r.period, r.chunk, r.started_at, r.finished_at, r.result
    FROM (SELECT tenant, job FROM jobs LIMIT :most) j CROSS JOIN LATERAL (
        SELECT * FROM job_runs r WHERE r.tenant = j.tenant AND r.job = j.job AND r.finished_at IS NOT NULL
        ORDER BY r.period DESC, r.chunk DESC LIMIT 1) r"""
)
_GOAL_COLUMNS = """g.tenant, g.goal_id, g.user_id, g.name, g.type, g.tracking, g.status, g.currency, g.amount_minor,
    g.target_minor, g.start_minor, g.finish_minor, g.debt_form, g.updated_at, f.projected_completion_at"""
_OF_GOALS = "FROM goals g LEFT JOIN forecasts f ON f.tenant = g.tenant AND f.goal_id = g.goal_id"
_MOVED_LAST = text(f"SELECT {_GOAL_COLUMNS} {_OF_GOALS} ORDER BY g.updated_at DESC, g.goal_id LIMIT :most")
_MOVED_LATELY = text(
    f"""SELECT {_GOAL_COLUMNS} {_OF_GOALS}
    WHERE (g.tenant, g.goal_id) IN (SELECT tenant, goal_id FROM goal_entries WHERE ctid >= CAST(:from_page AS tid))
    ORDER BY g.updated_at DESC, g.goal_id LIMIT :most"""
)
_LEDGER_PAGES = text("SELECT pg_relation_size('goal_entries') / current_setting('block_size')::bigint")
_COUNT_GOALS = "SELECT count(*) FROM (SELECT 1 FROM goals LIMIT :most) AS counted"
_COUNT_ACCOUNTS = "SELECT count(*) FROM (SELECT 1 FROM accounts LIMIT :most) AS counted"
_SERVER = text(
    """SELECT current_setting('server_version_num')::int, current_setting('server_version'), clock_timestamp(),
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
        AND current_setting('synchronous_commit') <> 'off'"""
)
_LIMIT_TIME = text("SELECT set_config('statement_timeout', :limit, true)")
_KNOWS_ZONE = text("SELECT 1 FROM pg_timezone_names WHERE name = :zone LIMIT 1")


def limit_statements(session: Session, seconds: int) -> None:
    """Let no further statement of this transaction take longer: who watches must not wait for what is watched."""
    session.execute(_LIMIT_TIME, {"limit": f"{seconds}s"})


def waiting_dead_letters(session: Session) -> dict[str, int]:
    """Dead letters that were neither replayed nor discarded, by code of their reason; COUNTED_MOST at most."""
    return {row[0]: row[1] for row in session.execute(_WAITING_LETTERS, {"most": COUNTED_MOST})}


def outbox_backlog(session: Session) -> OutboxBacklog:
    """What waits to be delivered."""
    messages = session.execute(_WAITING_MESSAGES, {"most": COUNTED_MOST}).scalar_one()
    return OutboxBacklog(messages, session.execute(_OLDEST_MESSAGE).scalar_one() if messages else None)


def closed_days(session: Session) -> list[ClosedDays]:
    """The tenants, the furthest behind first; TENANTS_MOST at most."""
    return [ClosedDays(*row) for row in session.execute(_CLOSED_DAYS, {"most": TENANTS_MOST})]


def last_runs_of_all(session: Session) -> list[JobRun]:
    """The run of the latest period of each job of each tenant."""
    return [JobRun(*row) for row in session.execute(_LAST_RUNS, {"most": RUNS_MOST})]


def goals_moved_last(session: Session, most: int) -> list[MovedGoal]:
    """Goals, those that moved last first.

    Where there are many, of those only that the newest pages of the ledger name: it grows at its end.
    """
    if count_goals(session, GOALS_SORTED_MOST) < GOALS_SORTED_MOST:
        rows = session.execute(_MOVED_LAST, {"most": most})
    else:
        first = max(0, session.execute(_LEDGER_PAGES).scalar_one() - LEDGER_PAGES)
        rows = session.execute(_MOVED_LATELY, {"from_page": f"({first},0)", "most": most})
    return [_goal(row) for row in rows]


def count_goals(session: Session, most: int = COUNTED_MOST) -> int:
    """How many goals there are, `most` at most."""
    return int(session.execute(text(_COUNT_GOALS), {"most": most}).scalar_one())


def count_accounts(session: Session, most: int = COUNTED_MOST) -> int:
    """How many accounts there are, `most` at most."""
    return int(session.execute(text(_COUNT_ACCOUNTS), {"most": most}).scalar_one())


def ask_database(session: Session) -> DatabaseServer:
    """Ask the database about itself."""
    return DatabaseServer(*session.execute(_SERVER).one())


def knows_time_zone(session: Session, zone: str) -> bool:
    """Whether the database has the data of an IANA time zone."""
    return session.execute(_KNOWS_ZONE, {"zone": zone}).first() is not None


def _goal(row: Any) -> MovedGoal:
    return MovedGoal(
        tenant=row[0],
        goal_id=row[1],
        user_id=row[2],
        name=row[3],
        type=GoalType(row[4]),
        tracking=Tracking(row[5]),
        status=GoalStatus(row[6]),
        currency=row[7],
        amount_minor=row[8],
        target_minor=row[9],
        span=Span(row[10], row[11], None if row[12] is None else DebtForm(row[12])),
        updated_at=row[13],
        projected_at=row[14],
    )
