"""Goals that a batch moved past something where they lie, with all that their marks follow from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.goals.goal import DebtForm, GoalType, Span, Tracking, direction
from core.goals.links import Link
from core.store import bulk
from core.store.accounts import AccountKey
from core.store.arrays import int8s, moments, split_told, told
from core.store.goals import GoalKey
from core.store.milestones import Unreached


@dataclass(slots=True)
class PassedGoal:
    """An active goal of one link, which counts, beside the present measure of its account in minor units."""

    tenant: str
    goal_id: str
    user_id: str
    name: str
    currency: str
    type: GoalType
    tracking: Tracking
    debt_form: DebtForm | None
    target_minor: int
    start_minor: int
    finish_minor: int
    amount_minor: int
    next_milestone_minor: int | None
    reached_at: datetime | None
    measure: str
    measure_minor: int
    first_report_at: datetime | None
    link: Link

    @property
    def key(self) -> GoalKey:
        """(tenant, goal_id)."""
        return self.tenant, self.goal_id

    @property
    def account_key(self) -> AccountKey:
        """(tenant, account_id)."""
        return self.tenant, self.link.account_id

    @property
    def span(self) -> Span:
        """Where the goal starts and where it should end."""
        return Span(self.start_minor, self.finish_minor, self.debt_form)

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""
        return direction(self.type)


_READ = text(
    f"""SELECT g.tenant, g.goal_id, g.user_id, g.name, g.currency, g.type, g.tracking, g.debt_form,
        g.target_minor, g.start_minor, g.finish_minor, g.amount_minor, g.next_milestone_minor, g.reached_at,
        l.measure, CASE l.measure WHEN 'inflow' THEN a.inflow_minor ELSE a.worth_minor END, a.first_report_at,
        l.account_id, l.ppm, l.from_at, l.until_at, l.begin_at, l.base_minor, l.end_minor,
        u.amounts, u.descriptions
    FROM {bulk.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN goals g USING (tenant, goal_id)
    JOIN links l USING (tenant, goal_id)
    JOIN accounts a ON a.tenant = k.tenant AND a.account_id = l.account_id
    CROSS JOIN LATERAL (
        SELECT {told("CAST(m.amount_minor AS text)")} AS amounts, {told("m.description")} AS descriptions
        FROM milestones m
        WHERE m.tenant = k.tenant AND m.goal_id = k.goal_id AND m.reached_at IS NULL) u"""
)
_WRITE = text(
    f"""UPDATE goals g SET next_milestone_minor = s.next_milestone_minor, reached_at = s.reached_at
    FROM unnest({bulk.split("tenants")}, {bulk.split("goals")}, :upcoming, :reached)
        AS s(tenant, goal_id, next_milestone_minor, reached_at)
    WHERE (g.tenant, g.goal_id) = (s.tenant, s.goal_id)"""
)
_LINK_AT, _UNREACHED_AT = 17, 24


def read_passed(session: Session, keys: Iterable[GoalKey]) -> list[tuple[PassedGoal, list[Unreached]]]:
    """Goals whose rows, and whose one account, this transaction has moved; each with what it has not reached."""
    found = session.execute(_READ, bulk.key_columns("goals", list(keys))).all()
    return [(_passed(row), _unreached(row)) for row in found]


def write_passed(session: Session, goals: Sequence[PassedGoal]) -> None:
    """Write back what marking changed of goals; their versions were raised when they were moved."""
    columns = {
        "upcoming": int8s([goal.next_milestone_minor for goal in goals]),
        "reached": moments([goal.reached_at for goal in goals]),
    }
    session.execute(_WRITE, bulk.key_columns("goals", [goal.key for goal in goals]) | columns)


def _passed(row: Any) -> PassedGoal:
    columns = [*row[:_LINK_AT], Link(*row[_LINK_AT:_UNREACHED_AT])]
    goal = PassedGoal(*columns)
    goal.type, goal.tracking = GoalType(goal.type), Tracking(goal.tracking)
    goal.debt_form = None if goal.debt_form is None else DebtForm(goal.debt_form)
    return goal


def _unreached(row: Any) -> list[Unreached]:
    tenant, goal_id, amounts, descriptions = row[0], row[1], row[_UNREACHED_AT], row[_UNREACHED_AT + 1]
    return [
        Unreached(tenant, goal_id, int(amount), description)
        for amount, description in zip(split_told(amounts), split_told(descriptions), strict=True)
        if amount is not None
    ]
