"""A verification: the list of all checks in the order in which they run, and the run over one tenant or all."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.errors import MilepostError
from core.verify.account_checks import ACCOUNT_CHECKS, COUNTED_CHECKS
from core.verify.checks import ODD_DAYS, Check, Finding, Verified, Violation
from core.verify.goal_checks import AMOUNT_CHECKS, GOAL_CHECKS
from core.verify.placement_checks import PLACEMENT_CHECKS
from core.verify.question import Question, Reading, Session
from core.verify.snapshot_checks import REWRITE_CHECKS, SNAPSHOT_CHECKS
from core.verify.span_checks import SPAN_CHECKS

BY_ACCOUNT: tuple[Check, ...] = COUNTED_CHECKS + PLACEMENT_CHECKS + ACCOUNT_CHECKS + SPAN_CHECKS
BY_GOAL: tuple[Check, ...] = AMOUNT_CHECKS + SNAPSHOT_CHECKS + REWRITE_CHECKS + GOAL_CHECKS
FIRST = 20
KEYS_AT_ONCE = 2_000
# Delivered messages are deleted after 90 days. Messages that are younger than this must exist, even at the end of a run
# that began before midnight.
MESSAGES_KEPT = timedelta(days=89)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is: `done` of `total` rows of a tenant's table, accounts first, then goals."""

    tenant: str
    table: str
    done: int
    total: int


class NoSuchTenant(MilepostError):
    """The tenant that should be verified does not exist."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no tenant {name}; `milepost tenants list` shows those there are")


# Plans must not depend on statistics, which may not exist yet.
_SETTINGS = "; ".join(
    (
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = '10min'",
        "SET LOCAL enable_nestloop = off",
        "SET LOCAL jit = off",
        "SET LOCAL plan_cache_mode = force_custom_plan",
        "SET LOCAL timezone = 'UTC'",
    )
)
_TENANTS = Question(
    "SELECT tenant FROM tenants WHERE CAST(:tenant AS text) IS NULL OR tenant = :tenant ORDER BY tenant"
)
_TENANT = Question("SELECT time_zone, closed_through FROM tenants WHERE tenant = :tenant")
_ODD_DAYS = Question(ODD_DAYS)
_COUNT = {table: Question(f"SELECT count(*) FROM {table} WHERE tenant = :tenant") for table in ("accounts", "goals")}
_NEXT = {
    table: Question(
        f"""SELECT {key} FROM {table} WHERE tenant = :tenant AND {key} > :after
        ORDER BY {key} OFFSET :at_once LIMIT 1"""
    )
    for table, key in (("accounts", "account_id"), ("goals", "goal_id"))
}


def all_checks() -> Iterator[Check]:
    """Every check, in the order in which they run."""
    yield from BY_ACCOUNT
    yield from BY_GOAL


def verify(
    sessions: Reading,
    now: datetime,
    *,
    tenant: str | None = None,
    first: int = FIRST,
    keys_at_once: int = KEYS_AT_ONCE,
    progress: Callable[[Progress], None] | None = None,
) -> Verified:
    """Compare what is stored with the facts, for one tenant or all; shows the `first` violations of each check.

    Reads tenant by tenant, `keys_at_once` accounts or goals at a time, so that memory does not grow with the database,
    here or in Postgres. Each range of keys is read in a database snapshot of its own, so that a long run does not keep
    rows from being vacuumed. Other work continues meanwhile. Raises NoSuchTenant.
    """
    began = time.monotonic()
    findings = {check.name: Finding(check.name) for check in all_checks()}
    reader = _Reader(sessions, now, first, keys_at_once, progress or _ignore)
    names = reader.tenants(tenant)
    for name in names:
        for finding in reader.findings(name):
            findings[finding.check] = findings[finding.check].plus(finding, first)
    return Verified(names, tuple(findings.values()), time.monotonic() - began)


class _Reader:
    """Reads one range of keys after the other, each in a database snapshot of its own."""

    def __init__(
        self, sessions: Reading, now: datetime, first: int, keys_at_once: int, progress: Callable[[Progress], None]
    ) -> None:
        self._sessions = sessions
        self._now = now
        self._first = first
        self._keys_at_once = keys_at_once
        self._progress = progress
        self._odd_days: dict[str, dict[str, object]] = {}

    def tenants(self, name: str | None) -> tuple[str, ...]:
        """The tenant of that name, or with None all tenants. Raises NoSuchTenant."""
        with self._moment() as session:
            names = tuple(row[0] for row in _TENANTS.rows(session, {"tenant": name}))
        if name is not None and not names:
            raise NoSuchTenant(name)
        return names

    def findings(self, tenant: str) -> Iterator[Finding]:
        """What each check found in each range of a tenant's keys."""
        for table, checks in (("accounts", BY_ACCOUNT), ("goals", BY_GOAL)):
            with self._moment() as session:
                ((total,),) = _COUNT[table].rows(session, {"tenant": tenant})
            self._progress(Progress(tenant, table, 0, total))
            after, done = "", 0
            while True:
                upto, found = self._range(tenant, table, checks, after)
                yield from found
                done += self._keys_at_once
                self._progress(Progress(tenant, table, min(done, total), total))
                if upto is None:
                    break
                after = upto

    def _range(self, tenant: str, table: str, checks: Sequence[Check], after: str) -> tuple[str | None, list[Finding]]:
        """The last key of the range that starts after `after`, and what was found in it.

        The last range of a table has no end, and its last key is None. So the ranges of a table cover every possible
        key, and rows whose account or goal does not exist are checked too.
        """
        with self._moment() as session:
            parameters = self._parameters(session, tenant)
            if parameters is None:
                return None, []
            range_of_keys = {"tenant": tenant, "after": after, "at_once": self._keys_at_once - 1}
            last = _NEXT[table].rows(session, range_of_keys)
            upto: str | None = last[0][0] if last else None
            parameters |= {"after": after, "upto": upto, "most": self._first}
            return upto, [_run(session, check, tenant, parameters) for check in checks]

    def _parameters(self, session: Session, tenant: str) -> dict[str, object] | None:
        """The parameters of every statement about a tenant; None if the tenant was deleted meanwhile."""
        found = _TENANT.rows(session, {"tenant": tenant})
        if not found:
            return None
        zone, closed_through = found[0]
        if zone not in self._odd_days:
            self._odd_days[zone] = _odd_days(session, zone, self._now)
        return self._odd_days[zone] | {
            "tenant": tenant,
            "zone": zone,
            "closed_through": closed_through or date.min,
            "messages_since": self._now - MESSAGES_KEPT,
        }

    @contextmanager
    def _moment(self) -> Iterator[Session]:
        """A session that reads one snapshot of the database."""
        with self._sessions.reading() as session:
            session.execute(_SETTINGS, prepare=False)
            yield session


def _odd_days(session: Session, zone: str, now: datetime) -> dict[str, object]:
    rows = _ODD_DAYS.rows(session, {"zone": zone, "now": now})
    return {
        "odd_days": [day.date() for day, _, _ in rows],
        "odd_starts": [starts_at for _, starts_at, _ in rows],
        "odd_plains": [plain_at for _, _, plain_at in rows],
    }


def _run(session: Session, check: Check, tenant: str, parameters: dict[str, object]) -> Finding:
    rows = check.question.rows(session, parameters)
    checked, wrong = rows[0][0], rows[0][1]
    violations = [_violation(check, tenant, row[2:]) for row in rows] if wrong else []
    return Finding(check.name, checked, wrong, tuple(violations))


def _violation(check: Check, tenant: str, row: Sequence[str | None]) -> Violation:
    key = {name: value for name, value in zip(check.key, row, strict=False) if value is not None}
    what, stored, expected = row[len(check.key) :]
    assert what is not None
    return Violation(tenant, check.name, key, what, stored, expected)


def _ignore(_: Progress) -> None:
    pass
