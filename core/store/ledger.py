"""The ledger's entries, which say how a commit changed goals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.store import driver
from core.store.driver import HIGHEST, Session, Sql
from core.store.goals import GoalKey

_ENTRY = {
    "tenant": driver.TEXT,
    "goal_id": driver.TEXT,
    "entry": driver.INT8,
    "recorded_at": driver.TIMESTAMPTZ,
    "before_minor": driver.INT8,
    "after_minor": driver.INT8,
    "cause": driver.TEXT,
    "account_ids": driver.TEXTS,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a goal's ledger; `before_minor` is None for the first line."""

    tenant: str
    goal_id: str
    entry: int
    recorded_at: datetime
    before_minor: int | None
    after_minor: int
    cause: str
    account_ids: list[str]


_READ_PAGE = Sql(
    f"""SELECT {", ".join(_ENTRY)} FROM goal_entries
    WHERE tenant = :tenant AND goal_id = :goal_id AND entry < least(:below, CASE
        WHEN CAST(:at AS timestamptz) IS NOT NULL THEN (
            SELECT entry FROM goal_entries
            WHERE tenant = :tenant AND goal_id = :goal_id AND recorded_at > :at ORDER BY entry LIMIT 1) END)
    ORDER BY entry DESC LIMIT :limit"""
)


def write_entries(session: Session, entries: Sequence[Entry]) -> None:
    """Add lines to the ledgers of locked goals."""
    if entries:
        rows = (
            (
                entry.tenant,
                entry.goal_id,
                entry.entry,
                entry.recorded_at,
                entry.before_minor,
                entry.after_minor,
                entry.cause,
                driver.texts(entry.account_ids),
            )
            for entry in entries
        )
        driver.copy_rows(session, "goal_entries", _ENTRY, rows)


def entries_of_goal(
    session: Session, key: GoalKey, *, below: int | None, limit: int, at: datetime | None = None
) -> list[Entry]:
    """At most `limit` lines of a goal's ledger, newest first; with `below`, only those with a lower number.

    With `at`, the ledger as it was at that moment: the first line that was recorded later is left out, and so are all
    lines after it.
    """
    last = HIGHEST if below is None else below
    parameters = {"tenant": key[0], "goal_id": key[1], "below": last, "limit": limit, "at": at}
    return [Entry(*row) for row in _READ_PAGE.rows(session, parameters)]
