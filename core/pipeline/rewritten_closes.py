"""Rewritten closes: which of the rows that a transaction writes change what was known of days closed before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from core.pipeline.close_goals import CloseJob
from core.store.closes import StoredCloses
from core.store.goals import GoalKey


@dataclass(slots=True)
class RewrittenCloses:
    """What rows of closes were before the transaction, and what they are after it; None stands for no row.

    `closed` is the day through which the tenant was closed before: what is written after it is no rewriting. Of a goal
    that is closed for the first time, though its first day was closed for others already, one row tells all: that day
    always has a row of its own, so before it had one the goal was not closed at all.
    """

    closed: date | None
    _new: set[GoalKey] = field(default_factory=set)
    _was: dict[tuple[str, str, date], int | None] = field(default_factory=dict)
    _is: dict[tuple[str, str, date], int | None] = field(default_factory=dict)

    @property
    def before(self) -> dict[tuple[str, str, date], int | None]:
        """By tenant, goal and day what was there before, where it is something else now."""
        return {row: was for row, was in self._was.items() if was != self._is[row]}

    def add(self, job: CloseJob, rows: Mapping[date, int], stored: StoredCloses) -> None:
        """Note how the rows that a job's range is to have differ from those that are stored."""
        key = job.goal.key
        if self.closed is None or key in self._new:
            return
        if stored.before_minor is None and not stored.rows and job.first == job.goal.start_date:
            self._new.add(key)
            if job.first <= self.closed:
                self._note((*key, job.first), None, rows[job.first])
            return
        for day in rows.keys() | stored.rows.keys():
            if day <= self.closed and rows.get(day) != stored.rows.get(day):
                self._note((*key, day), stored.rows.get(day), rows.get(day))

    def _note(self, row: tuple[str, str, date], was: int | None, now_is: int | None) -> None:
        self._was.setdefault(row, was)
        self._is[row] = now_is
