"""Goals that a batch moved past something where they lie, with all that their marks follow from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy.orm import Session

from core.goals.goal import DebtForm, GoalType, Span, Tracking, direction
from core.goals.links import Link
from core.store import bulk
from core.store.accounts import AccountKey
from core.store.arrays import int8s, moments
from core.store.direct import Direct, Row
from core.store.goals import GoalKey

_LINK_AT = -len(Link._fields)
_TYPES = {each.value: each for each in GoalType}
_TRACKINGS = {each.value: each for each in Tracking}
_DEBT_FORMS = {None: None} | {each.value: each for each in DebtForm}


class PassedGoal(Struct):
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


_MEASURED = ("measure", "measure_minor", "first_report_at")
OF_GOAL = tuple(name for name in PassedGoal.__struct_fields__ if name not in (*_MEASURED, "link"))
OF_LINK = (*_MEASURED, *Link._fields)
_WRITE = Direct(
    f"""UPDATE goals g SET next_milestone_minor = s.next_milestone_minor, reached_at = s.reached_at
    FROM unnest({bulk.split("tenants")}, {bulk.split("goals")}, :upcoming, :reached)
        AS s(tenant, goal_id, next_milestone_minor, reached_at)
    WHERE (g.tenant, g.goal_id) = (s.tenant, s.goal_id)"""
)


def passed_goal(row: Row) -> PassedGoal:
    """A goal from the columns of OF_GOAL and then OF_LINK."""
    columns = [*row[:_LINK_AT], Link(*row[_LINK_AT:])]
    goal = PassedGoal(*columns)
    goal.type, goal.tracking = _TYPES[goal.type], _TRACKINGS[goal.tracking]
    goal.debt_form = _DEBT_FORMS[goal.debt_form]
    return goal


def write_passed(session: Session, goals: Sequence[PassedGoal]) -> None:
    """Write back what marking changed of goals; their versions were raised when they were moved."""
    columns: dict[str, object] = {
        "upcoming": int8s([goal.next_milestone_minor for goal in goals]),
        "reached": moments([goal.reached_at for goal in goals]),
    }
    _WRITE.run(session, bulk.key_columns("goals", [goal.key for goal in goals]) | columns)
