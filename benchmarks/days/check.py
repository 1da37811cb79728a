"""Checks that the snapshots are those of the formula, and that nothing is left to close.

Shares no code with core: worths and shares are computed here again, from transactions and reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from sqlalchemy import Connection, Engine, text

from benchmarks.check import WrongResult
from benchmarks.workload import account_id
from core.store.tenants import DEFAULT

# Here no amount is set by hand, every link lasts from its account's opening at 0.00 on, and days are those of UTC.
_WRONG = text(
    """WITH
    days AS (
        SELECT account_id, CAST(posted_at AS date) AS day FROM transactions
        WHERE tenant = :tenant AND account_id = ANY(:accounts)
        UNION SELECT account_id, CAST(as_of AS date) FROM reports
        WHERE tenant = :tenant AND account_id = ANY(:accounts)),
    worths AS (
        SELECT d.account_id, d.day, r.current_minor + (
            SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
            WHERE t.tenant = :tenant AND t.account_id = d.account_id AND t.counts
              AND t.posted_at > r.as_of AND t.posted_at < d.day + 1) AS worth_minor
        FROM days d CROSS JOIN LATERAL (
            SELECT as_of, current_minor FROM reports
            WHERE tenant = :tenant AND account_id = d.account_id AND as_of < d.day + 1
            ORDER BY as_of DESC LIMIT 1) r
        WHERE d.day <= :through),
    amounts AS (
        SELECT l.goal_id, w.day, trunc(w.worth_minor * l.ppm / 1000000.0) AS amount_minor,
            lag(trunc(w.worth_minor * l.ppm / 1000000.0)) OVER (PARTITION BY l.goal_id ORDER BY w.day) AS before_minor
        FROM worths w JOIN links l ON l.tenant = :tenant AND l.account_id = w.account_id),
    wanted AS (SELECT goal_id, day, amount_minor FROM amounts WHERE amount_minor IS DISTINCT FROM before_minor),
    found AS (
        SELECT s.goal_id, s.day, s.amount_minor FROM links l
        JOIN goal_snapshots s ON s.tenant = l.tenant AND s.goal_id = l.goal_id
        WHERE l.tenant = :tenant AND l.account_id = ANY(:accounts))
    SELECT goal_id, day, f.amount_minor, w.amount_minor FROM wanted w FULL JOIN found f USING (goal_id, day)
    WHERE f.amount_minor IS DISTINCT FROM w.amount_minor ORDER BY 1, 2"""
)
_DIRTY = text(
    """SELECT (SELECT count(*) FROM accounts WHERE tenant = :tenant AND coalesce(dirty_from, late_from) IS NOT NULL)
        + (SELECT count(*) FROM goals WHERE tenant = :tenant AND dirty_from IS NOT NULL)"""
)
_CLOSED = text("SELECT closed_through FROM tenants WHERE tenant = :tenant")


def check_closes(engine: Engine, numbers: Sequence[int], through: date) -> int:
    """Compare the snapshots of the goals of some accounts with the formula; returns how many accounts it checked.

    Raises WrongResult.
    """
    with engine.connect() as connection:
        faults = list(_faults(connection, numbers, through))
    if faults:
        raise WrongResult("bench-days", faults)
    return len(numbers)


def _faults(connection: Connection, numbers: Sequence[int], through: date) -> Iterator[str]:
    tenant = {"tenant": DEFAULT}
    if (closed := connection.scalar(_CLOSED, tenant)) != through:
        yield f"the tenant is closed through {closed}, not {through}"
    if dirty := connection.scalar(_DIRTY, tenant):
        yield f"{dirty} accounts and goals still have days to close"
    accounts = [account_id(number) for number in numbers]
    for row in connection.execute(_WRONG, tenant | {"accounts": accounts, "through": through}):
        yield f"the snapshot of goal {row[0]} on {row[1]} is {row[2]}, not {row[3]}"
