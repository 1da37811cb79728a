"""Ending links: what they counted stays."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.orm import Session

from core.store.goals import GoalRow
from core.store.links import FundingRow, LinkRow, end_link
from core.store.measures import measures_before


def end_open_link(
    session: Session, goal: GoalRow, sources: Iterable[FundingRow], account_id: str, at: datetime
) -> LinkRow | None:
    """End the open link of one account, if there is one; returns it. Account and goal must be locked."""
    rows = [s.row for s in sources if s.row.link.is_open and s.row.link.account_id == account_id]
    end_links(session, goal, rows, at)
    return rows[0] if rows else None


def end_links(session: Session, goal: GoalRow, rows: Iterable[LinkRow], at: datetime) -> None:
    """End links at a moment, which itself is no longer in the period; accounts and goal must be locked.

    One that began only after that moment has an empty period then.
    """
    by_end: dict[datetime, list[LinkRow]] = {}
    for row in rows:
        by_end.setdefault(max(at, row.link.from_at), []).append(row)
    for until_at, ending in by_end.items():
        measures = measures_before(session, goal.tenant, (row.link.account_id for row in ending), until_at)
        for row in ending:
            end_link(session, row, until_at, measures[row.link.account_id].of(row.measure))
