"""What lies in a system's database, as values that can be compared."""

from __future__ import annotations

from typing import Any

from core.store.tables import BUSINESS_TABLES
from tests.berka.oracle_days import Line
from tests.berka.system import System

Dump = dict[str, list[str]]

FACTS = ["accounts", "reports", "transactions", "account_days"]


def dump_business_tables(system: System) -> Dump:
    """Every row of every business table, in order."""
    with system.connect() as connection:
        return {
            table.name: _column(connection, f'SELECT t::text FROM "{table.name}" t ORDER BY 1')
            for table in BUSINESS_TABLES
        }


def dump_facts(system: System) -> Dump:
    """What follows from the facts alone, in whatever order they came, once all days are closed."""
    with system.connect() as connection:
        return {table: _column(connection, f'SELECT t::text FROM "{table}" t ORDER BY 1') for table in FACTS}


def worths(system: System) -> dict[str, int]:
    """The worth of each account in hellers."""
    with system.connect() as connection:
        return dict(connection.execute("SELECT account_id, worth_minor FROM accounts").fetchall())


def stored_closes(system: System) -> dict[tuple[str, str], Line]:
    """(account, tracking) -> the rows of goal_snapshots of that goal, in order of day."""
    with system.connect() as connection:
        closes: dict[tuple[str, str], Line] = {}
        for name, day, amount in connection.execute(_CLOSES).fetchall():
            tracking, _, account = name.partition(" of ")
            closes.setdefault((account, tracking), []).append((day, amount))
        return closes


def worths_at_closes(system: System) -> dict[str, tuple[int, Line]]:
    """Each account's worth before all facts, and at the close of the days that moved it, summed up from these days."""
    with system.connect() as connection:
        openings = connection.execute("SELECT account_id, opening_minor FROM accounts").fetchall()
        found: dict[str, tuple[int, Line]] = {account: (opening, []) for account, opening in openings}
        for account, day, worth in connection.execute(_WORTHS_AT_CLOSES).fetchall():
            found[account][1].append((day, int(worth)))
        return found


def marks(connection: Any) -> int:
    """How many accounts and goals are marked up to yesterday, and tenants not closed through it."""
    (count,) = connection.execute(_MARKS).fetchone()
    return int(count)


def count_closes(connection: Any) -> int:
    """How many rows goal_snapshots has."""
    (count,) = connection.execute("SELECT count(*) FROM goal_snapshots").fetchone()
    return int(count)


def dead_letters(system: System) -> list[str]:
    """Why events went there."""
    with system.connect() as connection:
        return _column(connection, "SELECT reason || ': ' || convert_from(event, 'UTF8') FROM dead_letters ORDER BY 1")


def ledger_gaps(system: System) -> list[str]:
    """Goals whose entries do not lead, each from where the one before ended, to the present amount."""
    with system.connect() as connection:
        return _column(connection, _LEDGER_GAPS)


def count_transactions(connection: Any) -> int:
    """How many transactions are applied."""
    (count,) = connection.execute("SELECT count(*) FROM transactions").fetchone()
    return int(count)


_CLOSES = """
SELECT g.name, s.day::text, s.amount_minor FROM goal_snapshots s JOIN goals g USING (tenant, goal_id) ORDER BY 1, 2
"""
_WORTHS_AT_CLOSES = """
SELECT a.account_id, d.day::text,
    a.opening_minor + sum(d.moved_minor + d.residual_minor) OVER (PARTITION BY d.tenant, d.account_id ORDER BY d.day)
FROM account_days d JOIN accounts a USING (tenant, account_id) ORDER BY 1, 2
"""
# The tenant's days are those of UTC; what is marked from today on is closed when today is over.
_MARKS = """
WITH closed AS (SELECT (now() AT TIME ZONE 'UTC')::date - 1 AS through)
SELECT (SELECT count(*) FROM accounts, closed WHERE least(dirty_from, late_from) <= through)
    + (SELECT count(*) FROM goals, closed WHERE dirty_from <= through)
    + (SELECT count(*) FROM tenants, closed WHERE closed_through IS DISTINCT FROM through)
"""
_LEDGER_GAPS = """
SELECT g.name || ': entry ' || coalesce(e.entry::text, 'none') FROM goals g LEFT JOIN (
    SELECT *, lag(after_minor) OVER goal AS last_minor, row_number() OVER goal AS place,
           lead(entry) OVER goal AS next_entry
    FROM goal_entries WINDOW goal AS (PARTITION BY tenant, goal_id ORDER BY entry)
) e USING (tenant, goal_id)
WHERE e.entry IS NULL OR e.entry <> e.place OR e.before_minor IS DISTINCT FROM e.last_minor
   OR (e.next_entry IS NULL AND e.after_minor <> g.amount_minor)
ORDER BY 1
"""


def _column(connection: Any, query: str) -> list[str]:
    return [row[0] for row in connection.execute(query).fetchall()]
