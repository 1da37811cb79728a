"""Goals whose amount came to a milestone or to the target."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from core.goals.goal import DebtForm, GoalType, Span, Tracking, direction
from core.store import driver
from core.store.driver import Row, Session, Sql, int8s, moments
from core.store.goals import GoalKey, read_enumerations


class CrossedGoal(Struct):
    """A locked goal: what marking reads of its row, and what it changes: the last two columns."""

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
    created_at: datetime
    next_milestone_minor: int | None
    reached_at: datetime | None

    @property
    def key(self) -> GoalKey:
        """(tenant, goal_id)."""
        return self.tenant, self.goal_id

    @property
    def span(self) -> Span:
        """Where the goal starts and where it should end."""
        return Span(self.start_minor, self.finish_minor, self.debt_form)

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""
        return direction(self.type)


_WRITE = Sql(
    f"""UPDATE goals g SET next_milestone_minor = s.next_milestone_minor, reached_at = s.reached_at
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, :upcoming, :reached)
        AS s(tenant, goal_id, next_milestone_minor, reached_at)
    WHERE g.tenant = s.tenant AND g.goal_id = s.goal_id"""
)


def crossed_goal(row: Row) -> CrossedGoal:
    """A goal from its columns, in the order of the fields."""
    return read_enumerations(CrossedGoal(*row))


def write_crossed(session: Session, goals: Sequence[CrossedGoal]) -> None:
    """Write back the next milestone, and when the target was reached."""
    if not goals:
        return
    columns: dict[str, object] = {
        "upcoming": int8s([goal.next_milestone_minor for goal in goals]),
        "reached": moments([goal.reached_at for goal in goals]),
    }
    _WRITE.run(session, driver.key_columns("goals", [goal.key for goal in goals]) | columns)
