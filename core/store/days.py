"""Which days are closed for which tenant, which days have to be closed again, and which job has done which period."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from core.events.calendar import day_start, local_day
from core.events.spans import NEVER
from core.store import driver
from core.store.accounts import AccountKey, AccountRow
from core.store.driver import BY_KEY, Session, Sql, dates
from core.store.goals import GoalKey
from core.store.tenants import Tenant

CHUNKS = 4
"""The number of parts into which a tenant's accounts and goals are divided, so that several workers can close days."""
_DAY = timedelta(days=1)
LOCK_NAMESPACE = 0x4D44
SNAPSHOTS_NAMESPACE = 0x4D45


@dataclass(frozen=True, slots=True)
class TenantDays:
    """A tenant and the last local day that is closed for it; None before the first day is closed."""

    tenant: Tenant
    closed_through: date | None


@dataclass(frozen=True, slots=True)
class JobRun:
    """One finished run; `period` is the day that it was for, `result` a JSON text."""

    tenant: str
    job: str
    period: str
    chunk: int
    started_at: datetime
    finished_at: datetime
    result: str


_TENANTS = Sql("SELECT tenant, time_zone, closed_through FROM tenants ORDER BY tenant")
_LOCK_CHUNK = Sql("SELECT pg_try_advisory_xact_lock(:namespace, hashtext(:tenant || ' ' || :chunk))")
_BEGIN_LONG_WORK = Sql(
    f"""SELECT set_config('idle_in_transaction_session_timeout', '60s', true),
        set_config('statement_timeout', '60s', true), {BY_KEY}"""
)
# A transaction of the snapshot job takes about a second, and some seconds where a single account has many facts.
_ALLOW_LONG_WAIT = Sql("SELECT set_config('lock_timeout', '20s', true), set_config('statement_timeout', '30s', true)")
_DATABASE_NOW = Sql("SELECT clock_timestamp()")
_LOCK_SNAPSHOTS = Sql("SELECT pg_advisory_xact_lock_shared(:namespace, hashtext(:tenant))")
_LOCK_SNAPSHOTS_ALONE = Sql("SELECT pg_advisory_xact_lock(:namespace, hashtext(:tenant))")
_IN_CHUNK = f"(hashtext({{}}) & {CHUNKS - 1}) = coalesce(:chunk, hashtext({{}}) & {CHUNKS - 1})"
_DIRTY_ACCOUNTS = Sql(
    f"""SELECT account_id FROM accounts
    WHERE tenant = :tenant AND (dirty_from <= :through OR late_from <= :through)
      AND account_id > :after AND {_IN_CHUNK.format("account_id", "account_id")}
    ORDER BY account_id LIMIT :limit"""
)
_DIRTY_GOALS = Sql(
    f"""SELECT goal_id FROM goals
    WHERE tenant = :tenant AND dirty_from <= :through AND goal_id > :after
      AND {_IN_CHUNK.format("goal_id", "goal_id")}
    ORDER BY goal_id LIMIT :limit"""
)
_HAS_DIRTY_RANGES = Sql(
    """SELECT EXISTS (SELECT 1 FROM accounts WHERE tenant = :tenant AND dirty_from <= :through)
    OR EXISTS (SELECT 1 FROM accounts WHERE tenant = :tenant AND late_from <= :through)
    OR EXISTS (SELECT 1 FROM goals WHERE tenant = :tenant AND dirty_from <= :through)"""
)
# The days after the closed ones still have to be closed, so an account that moves on one of them stays dirty from the
# first such day on. This holds too where only a late range was marked: a report on an open day may take back its
# amount. And it holds for all accounts of a chain if it does for one, since links measure what is joined; what they
# measure also moves where an account begins or ends to count.
_FIRST_MOVES = Sql(
    f"""SELECT k.tenant, k.account_id, min(least(
        CASE WHEN a.counts_from >= :since AND a.counts_from < :never THEN a.counts_from END,
        CASE WHEN a.counts_until >= :since THEN a.counts_until END,
        (SELECT t.posted_at FROM transactions t
         WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
           AND t.posted_at >= :since AND t.amount_minor <> 0
         ORDER BY t.posted_at LIMIT 1),
        (SELECT r.as_of FROM reports r
         WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.as_of >= :since AND r.residual_minor <> 0
         ORDER BY r.as_of LIMIT 1))) OVER (PARTITION BY k.tenant, coalesce(a.chain_id, k.account_id))
    FROM {driver.keys("tenants", "accounts")} AS k(tenant, account_id)
    JOIN accounts a USING (tenant, account_id)"""
)
_CLEAR_ACCOUNTS = Sql(
    f"""UPDATE accounts a SET late_from = NULL, late_through = NULL,
        dirty_from = least(CASE WHEN a.dirty_from > :through THEN a.dirty_from END, k.moved_on)
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, :moved_on) AS k(tenant, account_id, moved_on)
    WHERE a.tenant = k.tenant AND a.account_id = k.account_id"""
)
_ACCOUNTS_DIRTY_FROM = Sql(
    """SELECT min(least(a.dirty_from, a.late_from)) FROM links l
    JOIN accounts a ON a.tenant = l.tenant AND a.account_id = l.account_id
    WHERE l.tenant = :tenant AND l.goal_id = :goal_id"""
)
_CLOSED_THROUGH = Sql("SELECT closed_through FROM tenants WHERE tenant = :tenant")
# `closed_at` is as late in the transaction as possible, as for a snapshot that is rewritten, and never before that of
# an earlier day.
_CLOSED = Sql(
    """WITH closed AS (
        UPDATE tenants SET closed_through = greatest(closed_through, :through)
        WHERE tenant = :tenant AND (closed_through IS NULL OR closed_through < :through) RETURNING tenant)
    INSERT INTO closed_days (tenant, day, closed_at)
    SELECT tenant, :through, greatest(CAST(:now AS timestamptz) + (clock_timestamp() - transaction_timestamp()),
        (SELECT max(closed_at) FROM closed_days WHERE tenant = :tenant))
    FROM closed"""
)
_RUN_COLUMNS = "tenant, job, period, chunk, started_at, finished_at, result"
_RECORD_RUN = Sql(
    f"""INSERT INTO job_runs ({_RUN_COLUMNS})
    VALUES (:tenant, :job, :period, :chunk, :started_at, :finished_at, :result)
    ON CONFLICT (tenant, job, period, chunk) DO NOTHING RETURNING chunk"""
)
_NOTE_RUN = Sql(
    f"""INSERT INTO job_runs AS noted ({_RUN_COLUMNS})
    VALUES (:tenant, :job, :period, :chunk, :started_at, :finished_at, :result)
    ON CONFLICT (tenant, job, period, chunk) DO UPDATE SET
        started_at = EXCLUDED.started_at, finished_at = EXCLUDED.finished_at, result = EXCLUDED.result
    WHERE noted.finished_at IS NULL OR noted.finished_at <= EXCLUDED.finished_at"""
)
_COUNT_RUNS = Sql("SELECT count(*) FROM job_runs WHERE tenant = :tenant AND job = :job AND period = :period")
_LAST_RUNS = Sql(
    f"""SELECT DISTINCT ON (job) {_RUN_COLUMNS} FROM job_runs WHERE tenant = :tenant AND finished_at IS NOT NULL
    ORDER BY job, finished_at DESC"""
)
_FORGET_RUNS = Sql(
    """DELETE FROM job_runs WHERE (tenant, job, period, chunk) IN (
        SELECT tenant, job, period, chunk FROM job_runs o
        WHERE finished_at < :before AND EXISTS (
            SELECT FROM job_runs n WHERE n.tenant = o.tenant AND n.job = o.job AND n.finished_at > o.finished_at)
        LIMIT :most FOR UPDATE OF o SKIP LOCKED)"""
)


def closed_through(session: Session, tenant: str) -> date | None:
    """The last day that is closed for a tenant; None before the first day is closed."""
    found: date | None = _CLOSED_THROUGH.value(session, {"tenant": tenant})
    return found


def all_tenant_days(session: Session) -> list[TenantDays]:
    """Every tenant with the last day that is closed for it."""
    return [TenantDays(Tenant(row[0], row[1]), row[2]) for row in _TENANTS.rows(session, {})]


def lock_chunk(session: Session, tenant: str, chunk: int) -> bool:
    """Keep others from closing this chunk until the end of the transaction; False if another worker is closing it."""
    parameters = {"namespace": LOCK_NAMESPACE, "tenant": tenant, "chunk": str(chunk)}
    return bool(_LOCK_CHUNK.value(session, parameters))


def begin_long_work(session: Session) -> None:
    """Look rows up by key, and allow this transaction and its statements to run for longer than a batch of events."""
    _BEGIN_LONG_WORK.run(session, {})


def lock_snapshots(session: Session, tenant: str, *, alone: bool) -> None:
    """Keep a tenant's snapshots from being written while projections read them; call it before any row is locked.

    Writers of snapshots take the lock shared and do not exclude each other. A projection takes it `alone`.
    """
    statement = _LOCK_SNAPSHOTS_ALONE if alone else _LOCK_SNAPSHOTS
    statement.run(session, {"namespace": SNAPSHOTS_NAMESPACE, "tenant": tenant})


def database_now(session: Session) -> datetime:
    """The time by the database's clock, which all workers share, so that a day ends for all of them at once."""
    now: datetime = _DATABASE_NOW.value(session, {})
    return now


def dirty_accounts(session: Session, tenant: str, through: date, chunk: int, limit: int, after: str = "") -> list[str]:
    """Accounts of a chunk with a dirty or late range that begins on or before `through`, in id order after `after`."""
    parameters = {"tenant": tenant, "through": through, "chunk": chunk, "limit": limit, "after": after}
    return [row[0] for row in _DIRTY_ACCOUNTS.rows(session, parameters)]


def dirty_goals(
    session: Session, tenant: str, through: date, chunk: int | None, limit: int, after: str = ""
) -> list[str]:
    """Goals with a dirty range of their own that begins on or before `through`, in id order after `after`.

    Of one chunk, or with None of all chunks.
    """
    parameters = {"tenant": tenant, "through": through, "chunk": chunk, "limit": limit, "after": after}
    return [row[0] for row in _DIRTY_GOALS.rows(session, parameters)]


def has_dirty_ranges(session: Session, tenant: str, through: date) -> bool:
    """Whether a tenant has an account or a goal whose snapshots have to be written again for a day up to `through`."""
    return bool(_HAS_DIRTY_RANGES.value(session, {"tenant": tenant, "through": through}))


def clear_dirty_ranges(
    session: Session, accounts: Mapping[AccountKey, AccountRow], through: date, zone: ZoneInfo
) -> None:
    """Clear the dirty and late ranges of locked accounts whose goals are closed through a day.

    Days are local days of `zone`. Where an account moved after `through`, it stays dirty from that day on. With an
    account its whole chain must be given.
    """
    if not accounts:
        return
    since, keys = day_start(through + _DAY, zone), sorted(accounts)
    moved = [key for key in keys if accounts[key].may_have_moved_since(since)]
    moved_at: dict[AccountKey, datetime | None] = {}
    if moved:
        parameters = driver.key_columns("accounts", moved) | {"since": since, "never": NEVER}
        moved_at = {(row[0], row[1]): row[2] for row in _FIRST_MOVES.rows(session, parameters)}
    moved_on = [None if (at := moved_at.get(key)) is None else local_day(at, zone) for key in keys]
    columns = driver.key_columns("accounts", keys) | {"moved_on": dates(moved_on)}
    _CLEAR_ACCOUNTS.run(session, columns | {"through": through})


def accounts_dirty_from(session: Session, key: GoalKey) -> date | None:
    """The first day in the dirty and late ranges of a goal's accounts; None if there is none."""
    found: date | None = _ACCOUNTS_DIRTY_FROM.value(session, {"tenant": key[0], "goal_id": key[1]})
    return found


def note_closed_through(session: Session, tenant: str, through: date, now: datetime) -> None:
    """Record that all goals of a tenant, except those that are dirty, are closed through a day, and since when.

    `now` is the time at which the transaction began. Waits for every transaction that writes snapshots of the tenant:
    what it writes for a day that was not closed before must be committed before the day counts as closed.
    """
    closed = closed_through(session, tenant)
    if closed is not None and closed >= through:
        return
    _ALLOW_LONG_WAIT.run(session, {})
    lock_snapshots(session, tenant, alone=True)
    _CLOSED.run(session, {"tenant": tenant, "through": through, "now": now})


def record_run(session: Session, run: JobRun) -> bool:
    """Record a run; False if anyone has recorded the same run before. It keeps nobody from the work."""
    return _RECORD_RUN.first(session, asdict(run)) is not None


def note_run(session: Session, run: JobRun) -> None:
    """Record a run that was done again; it replaces the earlier record unless that one finished later."""
    _NOTE_RUN.run(session, asdict(run))


def count_runs(session: Session, tenant: str, job: str, period: str) -> int:
    """How many chunks of a period are done."""
    parameters = {"tenant": tenant, "job": job, "period": period}
    return int(_COUNT_RUNS.value(session, parameters))


def last_runs(session: Session, tenant: str) -> list[JobRun]:
    """The latest finished run of each job of a tenant, by job."""
    return [JobRun(*row) for row in _LAST_RUNS.rows(session, {"tenant": tenant})]


def forget_runs(session: Session, before: datetime, most: int = 10_000) -> int:
    """Delete at most `most` runs that finished before a moment, and return how many.

    The last run of each job of a tenant stays. The retain job calls this until it deletes none.
    """
    return _FORGET_RUNS.run(session, {"before": before, "most": most})
