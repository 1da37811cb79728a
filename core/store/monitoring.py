"""What an operator monitors in the database, for all tenants together, at a cost that does not grow with the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from core.goals.goal import DebtForm, GoalStatus, GoalType, Span, Tracking
from core.goals.projection import Pace, completion_date, projection_of
from core.store.deliveries import ready_endpoints
from core.store.driver import Session, Sql
from core.store.tenants import DEFAULT

# No count goes further: the value COUNTED_MOST means that many or more.
COUNTED_MOST = 10_000
TENANTS_MOST = 1_000
# The last runs of at most this many tenants are read; JobRuns.tenants_unseen says how many more tenants there are.
RUN_TENANTS_MOST = 50_000
# Up to this many goals are sorted to find those that moved last. If there are more, only the goals that the newest
# pages of the ledger name are read.
GOALS_SORTED_MOST = 50_000
LEDGER_PAGES = 64


@dataclass(frozen=True, slots=True)
class OutboxBacklog:
    """The messages that are not announced yet: how many, COUNTED_MOST at most, and since when the oldest one waits."""

    messages: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryBacklog:
    """How many deliveries are due (COUNTED_MOST at most), since when the first of them, and endpoints in trouble.

    `disabled`: by reason, how many endpoints are disabled. `failing`: of how many others the last attempt failed.
    """

    due: int
    oldest_due_at: datetime | None
    disabled: dict[str, int]
    failing: int


@dataclass(frozen=True, slots=True)
class OpenRefreshes:
    """The open refresh requests: how many for each provider, and since when the oldest one has been waiting.

    At most COUNTED_MOST are counted in all.
    """

    by_provider: dict[str, int]
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class WaitingFacts:
    """The facts that are dated too far ahead to count: how many of each kind, COUNTED_MOST at most, and the first due.

    `next_at` is in the past while one is due and not counted yet.
    """

    by_kind: dict[str, int]
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """A tenant and the last local day that is closed for it; None before the first day is closed."""

    tenant: str
    time_zone: str
    created_at: datetime
    closed_through: date | None


@dataclass(frozen=True, slots=True)
class JobTimes:
    """When a job last finished.

    `newest_at`: for any of its tenants; None if it never did. `furthest_at`: for the tenant for which it is longest
    ago; a tenant for which the job never finished counts from the tenant's creation.
    """

    job: str
    newest_at: datetime | None
    furthest_at: datetime


@dataclass(frozen=True, slots=True)
class JobRuns:
    """The times of each job, and the number of tenants that were not read."""

    jobs: tuple[JobTimes, ...]
    tenants_unseen: int


@dataclass(frozen=True, slots=True)
class MovedGoal:
    """A goal as an operator sees it in a list; `completion_at` is when the last stored pace gets it there."""

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
    waiting_for: Sequence[str]
    start_date: date
    updated_at: datetime
    pace: Pace | None

    @property
    def completion_at(self) -> datetime | None:
        """The projected day; None without one."""
        return None if self.pace is None else completion_date(projection_of(self, self.pace), self.pace.through)


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """The database server: `version` is 180004 for 18.4; `is_durable` says whether commits survive a crash."""

    version: int
    version_text: str
    now: datetime
    is_durable: bool


_WAITING_DEAD_LETTERS = Sql(
    """SELECT code, count(*) FROM (
        SELECT code FROM dead_letters WHERE replayed_at IS NULL AND discarded_at IS NULL LIMIT :most) waiting
    GROUP BY code ORDER BY code"""
)
_WAITING_MESSAGES = Sql("SELECT count(*) FROM (SELECT 1 FROM outbox WHERE position IS NULL LIMIT :most) AS waiting")
_OLDEST_MESSAGE = Sql(
    """SELECT min(o.created_at) FROM tenants t CROSS JOIN LATERAL (
        SELECT created_at FROM outbox WHERE tenant = t.tenant AND position IS NULL ORDER BY created_at LIMIT 1) o"""
)
_COUNT_DUE = Sql("SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE due_at <= :now LIMIT :most) AS due")
_DISABLED = Sql("SELECT disabled_reason, count(*) FROM endpoints WHERE NOT enabled GROUP BY disabled_reason")
_COUNT_FAILING = Sql("SELECT count(*) FROM endpoints WHERE enabled AND failing_since IS NOT NULL")
_OPEN_REFRESHES = Sql(
    """SELECT provider, count(*) FROM (
        SELECT provider FROM refresh_requests WHERE done_count < count LIMIT :most) AS open
    GROUP BY provider ORDER BY provider"""
)
_OLDEST_REFRESH = Sql(
    """SELECT min(o.opened_at) FROM tenants t CROSS JOIN LATERAL (
        SELECT opened_at FROM refresh_requests WHERE tenant = t.tenant AND done_count < count
        ORDER BY opened_at LIMIT 1) o"""
)
_WAITING_FACTS = Sql(
    """SELECT 'transaction', count(*), min(due_at) FROM (
        SELECT due_at FROM transactions WHERE due_at IS NOT NULL ORDER BY due_at LIMIT :most) AS waiting
    UNION ALL
    SELECT 'report', count(*), min(due_at) FROM (
        SELECT due_at FROM waiting_reports WHERE due_at IS NOT NULL ORDER BY due_at LIMIT :most) AS waiting"""
)
_CLOSED_DAYS = Sql(
    """SELECT tenant, time_zone, created_at, closed_through FROM tenants
    ORDER BY coalesce(closed_through, (created_at AT TIME ZONE 'UTC')::date), tenant LIMIT :most"""
)
# At most :most tenants: `default`, then those whose days are closed the least far.
_TENANTS_SEEN = """SELECT tenant, created_at FROM tenants
        ORDER BY tenant <> :all_tenants, coalesce(closed_through, (created_at AT TIME ZONE 'UTC')::date), tenant
        LIMIT :most"""
# Reads one row by the primary key of job_runs for each tenant and job, and returns one row for each job.
_LAST_RUNS = Sql(
    f"""WITH seen AS ({_TENANTS_SEEN})
    SELECT j.job, max(r.finished_at), min(coalesce(r.finished_at, t.created_at))
    FROM unnest(CAST(:of_each AS text[]) || CAST(:of_all AS text[])) AS j (job)
    JOIN seen t ON j.job = ANY(CAST(:of_each AS text[])) OR t.tenant = :all_tenants
    LEFT JOIN LATERAL (
        SELECT finished_at FROM job_runs
        WHERE tenant = t.tenant AND job = j.job AND finished_at IS NOT NULL
        ORDER BY period DESC, chunk DESC LIMIT 1) r ON true
    GROUP BY j.job ORDER BY j.job"""
)
# Reads an index that has only the results with violations: those of each tenant's last run, since a later run without
# violations makes up for an earlier one.
_VIOLATIONS = Sql(
    """SELECT coalesce(sum(CASE jsonb_typeof(found)
        WHEN 'number' THEN found::numeric::bigint
        WHEN 'array' THEN jsonb_array_length(found)
        ELSE 1 END), 0)::bigint
    FROM (
        SELECT CASE WHEN w.result IS JSON OBJECT THEN w.result::jsonb -> 'violations' END AS found FROM job_runs w
        WHERE w.job = 'verify' AND w.result NOT LIKE '%"violations": 0%' AND NOT EXISTS (
            SELECT 1 FROM job_runs n
            WHERE n.tenant = w.tenant AND n.job = 'verify' AND (n.period, n.chunk) > (w.period, w.chunk)
                AND n.finished_at IS NOT NULL)
          AND EXISTS (SELECT 1 FROM tenants t WHERE t.tenant = w.tenant)
        LIMIT :most) wrong"""
)
# Reads one row by the primary key of job_runs for each tenant. Null if no tenant was verified yet.
_WITH_DIFFERENCE = Sql(
    f"""SELECT sum(CASE jsonb_typeof(found) WHEN 'number' THEN found::numeric::bigint END)::bigint
    FROM ({_TENANTS_SEEN}) t CROSS JOIN LATERAL (
        SELECT CASE WHEN result IS JSON OBJECT THEN result::jsonb -> 'accounts_with_difference' END AS found
        FROM job_runs WHERE tenant = t.tenant AND job = 'verify' AND finished_at IS NOT NULL
        ORDER BY period DESC, chunk DESC LIMIT 1) last"""
)
_COUNT_TENANTS = Sql("SELECT count(*) FROM tenants")
_GOAL_COLUMNS = """g.tenant, g.goal_id, g.user_id, g.name, g.type, g.tracking, g.status, g.currency, g.amount_minor,
    g.target_minor, g.start_minor, g.finish_minor, g.debt_form, g.waiting_for, g.start_date, g.updated_at,
    f.through_day, f.trend_minor, f.trend_days, f.contributed_minor, f.contribution_months"""
_OF_GOALS = "FROM goals g LEFT JOIN forecasts f ON f.tenant = g.tenant AND f.goal_id = g.goal_id"
_MOVED_LAST = Sql(f"SELECT {_GOAL_COLUMNS} {_OF_GOALS} ORDER BY g.updated_at DESC, g.goal_id LIMIT :most")
_MOVED_LATELY = Sql(
    f"""SELECT {_GOAL_COLUMNS} {_OF_GOALS}
    WHERE (g.tenant, g.goal_id) IN (SELECT tenant, goal_id FROM goal_entries WHERE ctid >= CAST(:from_page AS tid))
    ORDER BY g.updated_at DESC, g.goal_id LIMIT :most"""
)
_LEDGER_PAGES = Sql("SELECT pg_relation_size('goal_entries') / current_setting('block_size')::bigint")
_COUNT_GOALS = "SELECT count(*) FROM (SELECT 1 FROM goals LIMIT :most) AS counted"
_COUNT_ACCOUNTS = "SELECT count(*) FROM (SELECT 1 FROM accounts LIMIT :most) AS counted"
_SERVER = Sql(
    """SELECT current_setting('server_version_num')::int, current_setting('server_version'), clock_timestamp(),
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
        AND current_setting('synchronous_commit') <> 'off'"""
)
_LIMIT_TIME = Sql("SELECT set_config('statement_timeout', :limit, true)")
_KNOWS_ZONE = Sql("SELECT 1 FROM pg_timezone_names WHERE name = :zone LIMIT 1")


def limit_statements(session: Session, seconds: int) -> None:
    """Limit the time of every further statement of this transaction: monitoring must not wait for what it monitors."""
    _LIMIT_TIME.run(session, {"limit": f"{seconds}s"})


def waiting_dead_letters(session: Session) -> dict[str, int]:
    """By code, how many dead letters were neither replayed nor discarded; COUNTED_MOST at most."""
    return {row[0]: row[1] for row in _WAITING_DEAD_LETTERS.rows(session, {"most": COUNTED_MOST})}


def outbox_backlog(session: Session) -> OutboxBacklog:
    """The messages that wait to be announced."""
    messages = _WAITING_MESSAGES.value(session, {"most": COUNTED_MOST})
    return OutboxBacklog(messages, _OLDEST_MESSAGE.value(session, {}) if messages else None)


def delivery_backlog(session: Session, now: datetime) -> DeliveryBacklog:
    """The deliveries that are due now, and the endpoints that get nothing or fail."""
    due = [each.at for each in ready_endpoints(session) if each.at <= now]
    return DeliveryBacklog(
        _COUNT_DUE.value(session, {"now": now, "most": COUNTED_MOST}),
        min(due, default=None),
        {row[0]: row[1] for row in _DISABLED.rows(session, {})},
        _COUNT_FAILING.value(session, {}),
    )


def open_refreshes(session: Session) -> OpenRefreshes:
    """The refresh requests that webhooks opened and nobody has marked as done."""
    by_provider = {row[0]: row[1] for row in _OPEN_REFRESHES.rows(session, {"most": COUNTED_MOST})}
    return OpenRefreshes(by_provider, _OLDEST_REFRESH.value(session, {}) if by_provider else None)


def waiting_facts(session: Session) -> WaitingFacts:
    """The facts that are stored and do not count yet because of their date."""
    rows = _WAITING_FACTS.rows(session, {"most": COUNTED_MOST})
    return WaitingFacts(
        {row[0]: row[1] for row in rows}, min((row[2] for row in rows if row[2] is not None), default=None)
    )


def closed_days(session: Session) -> list[ClosedDays]:
    """The tenants, those whose days are closed the least far first; TENANTS_MOST at most."""
    return [ClosedDays(*row) for row in _CLOSED_DAYS.rows(session, {"most": TENANTS_MOST})]


def last_runs_of_all(session: Session, of_each: Sequence[str], of_all: Sequence[str]) -> JobRuns:
    """When each job last finished.

    `of_each` names the jobs that run for each tenant, `of_all` those that run once for all tenants and are recorded
    under the tenant `default`. If there are more than RUN_TENANTS_MOST tenants, those whose days are closed the least
    far are read.
    """
    parameters = {"of_each": list(of_each), "of_all": list(of_all), "all_tenants": DEFAULT, "most": RUN_TENANTS_MOST}
    jobs = tuple(JobTimes(*row) for row in _LAST_RUNS.rows(session, parameters))
    return JobRuns(jobs, max(0, _COUNT_TENANTS.value(session, {}) - RUN_TENANTS_MOST))


def count_violations(session: Session) -> int:
    """How many values the last verifications found to be wrong, for COUNTED_MOST tenants with wrong values at most."""
    return int(_VIOLATIONS.value(session, {"most": COUNTED_MOST}))


def count_with_difference(session: Session) -> int | None:
    """How many accounts had an unexplained difference by each tenant's last verification; None if there was none.

    At most RUN_TENANTS_MOST tenants are read, as for `last_runs_of_all`.
    """
    parameters = {"all_tenants": DEFAULT, "most": RUN_TENANTS_MOST}
    found: int | None = _WITH_DIFFERENCE.value(session, parameters)
    return found


def goals_moved_last(session: Session, most: int) -> list[MovedGoal]:
    """At most `most` goals, those that moved last first.

    If there are many goals, only those that the newest pages of the ledger name are sorted: the ledger grows at its
    end.
    """
    if count_goals(session, GOALS_SORTED_MOST) < GOALS_SORTED_MOST:
        rows = _MOVED_LAST.rows(session, {"most": most})
    else:
        first = max(0, _LEDGER_PAGES.value(session, {}) - LEDGER_PAGES)
        rows = _MOVED_LATELY.rows(session, {"from_page": f"({first},0)", "most": most})
    return [_goal(row) for row in rows]


def count_goals(session: Session, most: int = COUNTED_MOST) -> int:
    """How many goals there are, `most` at most."""
    return int(Sql(_COUNT_GOALS).value(session, {"most": most}))


def count_accounts(session: Session, most: int = COUNTED_MOST) -> int:
    """How many accounts there are, `most` at most."""
    return int(Sql(_COUNT_ACCOUNTS).value(session, {"most": most}))


def ask_database(session: Session) -> DatabaseServer:
    """Read the version, the clock and the durability of the database server."""
    return DatabaseServer(*_SERVER.one(session, {}))


def knows_time_zone(session: Session, zone: str) -> bool:
    """Whether the database has the rules of an IANA time zone."""
    return _KNOWS_ZONE.first(session, {"zone": zone}) is not None


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
        waiting_for=row[13],
        start_date=row[14],
        updated_at=row[15],
        pace=None if row[16] is None else Pace(*row[16:]),
    )
