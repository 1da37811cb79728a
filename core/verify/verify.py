"""The act verify: every check over every tenant, in one snapshot of the database and without writing to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, sessionmaker

from core.errors import MilepostError
from core.verify.check import Check
from core.verify.checks import BY_ACCOUNT, BY_GOAL, all_checks
from core.verify.findings import Finding, Verified, Violation
from core.verify.fragments import ODD_DAYS

FIRST = 20
KEYS_AT_ONCE = 2_000
# Delivered messages are dropped some time after; those that were written since this long ago must be there.
MESSAGES_KEPT = timedelta(days=90)

_ONE_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
# The plans must not hang on statistics that may not be there yet: see core.verify.fragments.
_SETTINGS = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = '10min'",
    "SET LOCAL enable_nestloop = off",
    "SET LOCAL jit = off",
    "SET LOCAL plan_cache_mode = force_custom_plan",
    "SET LOCAL timezone = 'UTC'",
)
_TENANTS = text(
    """SELECT tenant, time_zone, closed_through FROM tenants
    WHERE CAST(:tenant AS text) IS NULL OR tenant = :tenant ORDER BY tenant"""
)
_ODD_DAYS = text(ODD_DAYS)
_COUNT = {table: text(f"SELECT count(*) FROM {table} WHERE tenant = :tenant") for table in ("accounts", "goals")}
_NEXT = {
    table: text(
        f"""SELECT {key} FROM {table} WHERE tenant = :tenant AND {key} > :after
        ORDER BY {key} OFFSET :at_once LIMIT 1"""
    )
    for table, key in (("accounts", "account_id"), ("goals", "goal_id"))
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is: `done` of `total` rows of a tenant's table, accounts first, then goals."""

    tenant: str
    table: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Tenant:
    """What every statement about a tenant is told."""

    name: str
    parameters: dict[str, object]


class NoSuchTenant(MilepostError):
    """A tenant that is not there was to be verified."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no tenant {name}; `milepost tenants list` shows those there are")


def verify(
    sessions: sessionmaker[Session],
    now: datetime,
    *,
    tenant: str | None = None,
    first: int = FIRST,
    keys_at_once: int = KEYS_AT_ONCE,
    progress: Callable[[Progress], None] | None = None,
) -> Verified:
    """Hold what is stored against the facts, of one tenant or of all; shows the `first` violations of each check.

    Reads one snapshot, tenant by tenant, `keys_at_once` accounts or goals at a time, so neither side's memory grows
    with the database. Live work goes on beside it. Raises NoSuchTenant.
    """
    began = time.monotonic()
    findings = {check.name: Finding(check.name) for check in all_checks()}
    with sessions() as session:
        connection = session.connection(execution_options=_ONE_SNAPSHOT)
        for setting in _SETTINGS:
            connection.exec_driver_sql(setting)
        tenants = _tenants(connection, tenant, now)
        for each in tenants:
            for finding in _findings(connection, each, first, keys_at_once, progress or _ignore):
                findings[finding.check] = findings[finding.check].plus(finding, first)
    return Verified(tuple(t.name for t in tenants), tuple(findings.values()), time.monotonic() - began)


def _tenants(connection: Connection, name: str | None, now: datetime) -> list[_Tenant]:
    since = now - MESSAGES_KEPT
    odd_days: dict[str, dict[str, object]] = {}
    tenants = []
    for tenant, zone, closed_through in connection.execute(_TENANTS, {"tenant": name}).all():
        if zone not in odd_days:
            odd_days[zone] = _odd_days(connection, zone, now)
        about = {"tenant": tenant, "zone": zone, "closed_through": closed_through or date.min, "messages_since": since}
        tenants.append(_Tenant(tenant, about | odd_days[zone]))
    if name is not None and not tenants:
        raise NoSuchTenant(name)
    return tenants


def _odd_days(connection: Connection, zone: str, now: datetime) -> dict[str, object]:
    rows = connection.execute(_ODD_DAYS, {"zone": zone, "now": now}).all()
    return {
        "odd_days": [row.day.date() for row in rows],
        "odd_starts": [row.starts_at for row in rows],
        "odd_plains": [row.plain_at for row in rows],
    }


def _findings(
    connection: Connection, tenant: _Tenant, first: int, keys_at_once: int, progress: Callable[[Progress], None]
) -> Iterator[Finding]:
    for table, checks in (("accounts", BY_ACCOUNT), ("goals", BY_GOAL)):
        total = connection.execute(_COUNT[table], tenant.parameters).scalar_one()
        progress(Progress(tenant.name, table, 0, total))
        for number, (after, upto) in enumerate(_ranges(connection, table, tenant, keys_at_once), start=1):
            asked = tenant.parameters | {"after": after, "upto": upto, "most": first}
            yield from (_ask(connection, check, tenant.name, asked) for check in checks)
            progress(Progress(tenant.name, table, min(number * keys_at_once, total), total))


def _ranges(connection: Connection, table: str, tenant: _Tenant, at_once: int) -> Iterator[tuple[str, str | None]]:
    """(after, up to and including) of keys, which together hold every text: the last range has no end.

    So rows without an account are looked at too.
    """
    after = ""
    while True:
        asked = tenant.parameters | {"after": after, "at_once": at_once - 1}
        upto: str | None = connection.execute(_NEXT[table], asked).scalar()
        yield after, upto
        if upto is None:
            return
        after = upto


def _ask(connection: Connection, check: Check, tenant: str, asked: dict[str, object]) -> Finding:
    rows = connection.execute(check.question, asked).all()
    checked, wrong = rows[0][0], rows[0][1]
    violations = [_violation(check, tenant, row[2:]) for row in rows] if wrong else []
    return Finding(check.name, checked, wrong, tuple(violations))


def _violation(check: Check, tenant: str, row: Sequence[str | None]) -> Violation:
    key = {name: value for name, value in zip(check.key, row, strict=False) if value is not None}
    what, stored, expected = row[len(check.key) :]
    assert what is not None
    return Violation(tenant, check.name, key, what, stored, expected)


def _ignore(_progress: Progress) -> None:
    pass
