"""What the business tables hold, so that what was refused or repeated can be seen to have changed nothing."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine, select

from core.store.driver import Session, Sql
from core.store.tables import BUSINESS_TABLES

# Those of goals and of the facts that they follow from.
FACTS_AND_GOALS = (
    "accounts",
    "transactions",
    "reports",
    "waiting_reports",
    "account_days",
    "goals",
    "milestones",
    "links",
    "manual_amounts",
    "goal_entries",
    "goal_snapshots",
    "outbox",
    "dead_letters",
)


def dump(engine: Engine) -> str:
    """All rows in order, a line each."""
    lines = []
    with engine.connect() as connection:
        for table in BUSINESS_TABLES:
            rows = connection.execute(select(table).order_by(*table.primary_key.columns))
            lines += [f"{table.name} {tuple(row)!r}" for row in rows]
    return "\n".join(lines)


def rows_by_table(session: Session, tables: Iterable[str] = FACTS_AND_GOALS) -> dict[str, list[str]]:
    """The rows of tables as ordered text, as the transaction of a session sees them."""
    return {
        table: [row[0] for row in Sql(f"SELECT t::text FROM {table} t ORDER BY 1").rows(session, {})]
        for table in tables
    }
