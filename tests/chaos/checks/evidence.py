"""The evidence: the rows in the database after a run, read once, after the load has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

Row = Mapping[str, Any]

_QUERIES = {
    "tenants": "SELECT tenant, closed_through FROM tenants ORDER BY tenant",
    "transactions": """SELECT tenant, account_id, transaction_id, amount_minor, posted_at, pending, removed, replaces,
        due_at, missing, lent_at, event_time, event_id FROM transactions""",
    "reports": "SELECT tenant, account_id, as_of, current_minor, has_moved, event_time, event_id FROM reports",
    "waiting_reports": "SELECT tenant, account_id, as_of, current_minor, event_id FROM waiting_reports",
    "windows": "SELECT tenant, account_id, source, event_time, from_day, through_day FROM windows",
    "accounts": """SELECT tenant, account_id, currency, user_id, user_id_rank, kind, kind_rank, name, name_rank, closed,
        closed_rank, replaced_by, replaced_by_rank, replaced_from, replaced_from_rank, opened, opened_rank, connection,
        connection_rank, connection_reason, connection_reason_rank, joined_as, worth_minor,
        inflow_minor, dirty_from, late_from FROM accounts""",
    "dead_letters": "SELECT tenant, shard, entry_id, code, event FROM dead_letters ORDER BY tenant, shard, entry_id",
    "goals": """SELECT tenant, goal_id, name, amount_minor, waiting_for, status, final_at, reached_at, entries,
        target_minor, start_date, dirty_from, created_at FROM goals ORDER BY tenant, created_at""",
    "links": """SELECT tenant, goal_id, account_id, linked_at, from_at, until_at, ppm FROM links
        ORDER BY tenant, goal_id, linked_at""",
    "manual_amounts": "SELECT tenant, goal_id, manual_at, amount_minor FROM manual_amounts ORDER BY 1, 2, 3",
    "milestones": "SELECT tenant, goal_id, amount_minor, reached_at, created_at FROM milestones ORDER BY 1, 2, 3",
    "goal_entries": """SELECT tenant, goal_id, entry, before_minor, after_minor FROM goal_entries
        ORDER BY tenant, goal_id, entry""",
    "goal_snapshots": "SELECT tenant, goal_id, day, amount_minor FROM goal_snapshots ORDER BY tenant, goal_id, day",
    "close_rewrites": "SELECT tenant, goal_id, before_minor FROM close_rewrites WHERE before_minor IS NOT NULL",
    "outbox": """SELECT tenant, message_id, type, payload, created_at, historical, position FROM outbox
        ORDER BY tenant, message_id""",
    "deliveries": "SELECT tenant, endpoint_id, message_id, status FROM deliveries",
}
_OF_GOALS = ("links", "manual_amounts", "milestones", "goal_entries", "goal_snapshots", "close_rewrites")
# What is dated further ahead than this cannot count when it is sent.
_AHEAD = timedelta(days=1)
# The separator in a rank, which consists of the time, the source and the id of the event that stated the attribute.
_IN_RANK = "\x1f"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rows of every table that is checked, by table, as they were at one moment."""

    rows: Mapping[str, Sequence[Row]]
    read_at: datetime
    _by_goal: dict[tuple[str, str, str], list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table in _OF_GOALS:
            for row in self.rows[table]:
                self._by_goal.setdefault((table, row["tenant"], row["goal_id"]), []).append(row)

    @classmethod
    def of(cls, engine: Engine) -> Evidence:
        """Read all tables in one snapshot of the database."""
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            read_at = connection.execute(text("SELECT now()")).scalar_one()
            found = {table: list(connection.execute(text(query)).mappings()) for table, query in _QUERIES.items()}
        return cls({table: [dict(row) for row in rows] for table, rows in found.items()}, read_at)

    def __getitem__(self, table: str) -> Sequence[Row]:
        return self.rows[table]

    def of_goal(self, table: str, tenant: str, goal_id: str) -> list[Row]:
        """The rows of one goal, in their order."""
        return self._by_goal.get((table, tenant, goal_id), [])

    def standing(self) -> set[str]:
        """The ids of all events that a stored fact names as its source."""
        tables = ("transactions", "reports", "waiting_reports")
        found = {row["event_id"] for table in tables for row in self.rows[table]}
        ranks = (value for row in self.rows["accounts"] for name, value in row.items() if name.endswith("_rank"))
        return found | {event_of(rank) for rank in ranks if rank is not None}

    def counts(self) -> dict[str, int]:
        """The facts of the kinds that a run has to have among the others, or it would not test them."""
        transactions, reports = self.rows["transactions"], self.rows["reports"]
        posted = [row for row in transactions if not row["pending"] and not row["removed"]]
        waiting = [row for row in posted if row["due_at"] is not None]
        ahead = [row["posted_at"] - row["event_time"] for row in posted if row["due_at"] is None]
        ahead += [row["as_of"] - row["event_time"] for row in reports]
        return {
            "standing": len(self.standing()),
            "dead": len(self.rows["dead_letters"]),
            "windows": len(self.rows["windows"]),
            "missing in windows": sum(row["missing"] is not None for row in transactions),
            "in the place of an old id": sum(row["lent_at"] is not None for row in posted),
            "joined accounts": sum(row["joined_as"] is not None for row in self.rows["accounts"]),
            "balances that moved rows": sum(row["has_moved"] for row in reports),
            "dated ahead and waiting": len(waiting) + len(self.rows["waiting_reports"]),
            "dated ahead and counted": sum(distance > _AHEAD for distance in ahead),
        }


def event_of(rank: str) -> str:
    """The id of the event that an attribute's rank names."""
    return rank.rpartition(_IN_RANK)[2]
