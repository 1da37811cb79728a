"""What lies in a system's database, as values that can be compared."""

from __future__ import annotations

from typing import Any

from core.store.tables import BUSINESS_TABLES
from tests.berka.system import System

Dump = dict[str, list[str]]

# What an account remembers of its past rather than of its facts: from which day late facts touched it, and how often
# it was linked. The order of arrival decides these, and nothing else follows from them.
OF_THE_PAST = ["dirty_from", "link_version"]
FACTS = ["accounts", "reports", "transactions", "account_days"]


def dump_business_tables(system: System) -> Dump:
    """Every row of every business table, in order."""
    with system.connect() as connection:
        return {
            table.name: _column(connection, f'SELECT t::text FROM "{table.name}" t ORDER BY 1')
            for table in BUSINESS_TABLES
        }


def dump_facts(system: System) -> Dump:
    """What follows from the facts alone, in whatever order they came."""
    past = " ".join(f"- '{name}'" for name in OF_THE_PAST)
    with system.connect() as connection:
        return {
            table: _column(connection, f'SELECT (to_jsonb(t) {past})::text FROM "{table}" t ORDER BY 1')
            for table in FACTS
        }


def worths(system: System) -> dict[str, int]:
    """The worth of each account in hellers."""
    with system.connect() as connection:
        return dict(connection.execute("SELECT account_id, worth_minor FROM accounts").fetchall())


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
