"""Rows of milestones: added by callers, and marked as reached once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from psycopg.errors import UniqueViolation

from core.errors import InvalidField
from core.store import driver
from core.store.driver import LOWEST, Session, Sql, bools, int8s, moments
from core.store.goals import GoalKey


class MilestoneRow(NamedTuple):
    """A milestone as stored. `reached_at` is the effective time of what reached it, `marked_at` when it was marked."""

    tenant: str
    goal_id: str
    milestone_id: str
    amount_minor: int
    description: str | None
    target_at: datetime | None
    target_day: date | None
    reached_at: datetime | None
    marked_at: datetime | None
    created_at: datetime

    @property
    def goal_key(self) -> GoalKey:
        """(tenant, goal_id)."""
        return self.tenant, self.goal_id

    @property
    def target_date(self) -> datetime | date | None:
        """The moment, or the local day, by whose end it should be reached."""
        return self.target_day if self.target_at is None else self.target_at


class Reached(NamedTuple):
    """A milestone that was marked just now: its goal, amount and description, and when it was reached."""

    goal_key: GoalKey
    amount_minor: int
    description: str | None
    reached_at: datetime


_COLUMNS = ", ".join(MilestoneRow._fields)
_INSERT = Sql(
    f"INSERT INTO milestones ({_COLUMNS}) VALUES ({', '.join(':' + column for column in MilestoneRow._fields)})"
)
_WHICH = "tenant = :tenant AND goal_id = :goal_id AND milestone_id = :milestone_id"
_UPDATE = Sql(
    f"""UPDATE milestones SET amount_minor = :amount_minor, description = :description, target_at = :target_at,
        target_day = :target_day, reached_at = :reached_at, marked_at = :marked_at,
        checked_at = CASE WHEN CAST(:reached_at AS timestamptz) IS NOT NULL THEN checked_at END
    WHERE {_WHICH}"""
)
_DELETE = Sql(f"DELETE FROM milestones WHERE {_WHICH}")
_COUNT = Sql("SELECT count(*) FROM milestones WHERE tenant = :tenant AND goal_id = :goal_id")
_READ_ONE = Sql(f"SELECT {_COLUMNS} FROM milestones WHERE {_WHICH}")
_UNREACHED = Sql(
    f"""SELECT m.tenant, m.goal_id, m.amount_minor
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN milestones m USING (tenant, goal_id)
    WHERE m.reached_at IS NULL"""
)
_OPEN = Sql(
    f"""SELECT k.number, m.amount_minor, m.reached_at
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, :sinces, :with_unreached)
        WITH ORDINALITY AS k(tenant, goal_id, since, with_unreached, number)
    JOIN milestones m ON m.tenant = k.tenant AND m.goal_id = k.goal_id
        AND (m.reached_at >= k.since OR (m.reached_at IS NULL AND k.with_unreached))"""
)
_WITHDRAW = Sql(
    f"""UPDATE milestones m SET reached_at = NULL, marked_at = NULL, checked_at = NULL
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, :amounts) AS s(tenant, goal_id, amount_minor)
    WHERE (m.tenant, m.goal_id, m.amount_minor) = (s.tenant, s.goal_id, s.amount_minor)"""
)
_DATE = Sql(
    f"""UPDATE milestones m SET reached_at = s.reached_at
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, :amounts, :reached)
        AS s(tenant, goal_id, amount_minor, reached_at)
    WHERE (m.tenant, m.goal_id, m.amount_minor) = (s.tenant, s.goal_id, s.amount_minor)"""
)
_READ_PAGE = Sql(
    f"""SELECT {_COLUMNS} FROM milestones
    WHERE tenant = :tenant AND goal_id = :goal_id AND amount_minor > :above
    ORDER BY amount_minor LIMIT :limit"""
)
_MARK = Sql(
    f"""UPDATE milestones m SET reached_at = s.reached_at, marked_at = :now
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, :amounts, :reached)
        AS s(tenant, goal_id, amount_minor, reached_at)
    WHERE (m.tenant, m.goal_id, m.amount_minor) = (s.tenant, s.goal_id, s.amount_minor)
      AND m.reached_at IS NULL
    RETURNING m.tenant, m.goal_id, m.amount_minor, m.description, m.reached_at"""
)
_CHECK = Sql(
    f"""UPDATE milestones SET checked_at = :now
    WHERE tenant = :tenant AND goal_id = :goal_id AND reached_at IS NOT NULL AND checked_at IS NULL
    RETURNING {_COLUMNS}"""
)


def count_milestones(session: Session, key: GoalKey) -> int:
    """How many milestones a goal has."""
    return int(_COUNT.value(session, {"tenant": key[0], "goal_id": key[1]}))


def insert_milestone(session: Session, row: MilestoneRow) -> None:
    """Add a milestone; raises InvalidField if the goal has one at this amount."""
    _write(session, _INSERT, row)


def read_milestone(session: Session, key: GoalKey, milestone_id: str) -> MilestoneRow | None:
    """One milestone of a goal."""
    row = _READ_ONE.first(session, {"tenant": key[0], "goal_id": key[1], "milestone_id": milestone_id})
    return None if row is None else MilestoneRow(*row)


def write_milestone(session: Session, row: MilestoneRow) -> None:
    """Write back what can change of a milestone of a locked goal; one that is not reached is not checked either.

    Raises InvalidField if the goal has another one at this amount.
    """
    _write(session, _UPDATE, row)


def delete_milestone(session: Session, row: MilestoneRow) -> None:
    """Remove a milestone of a locked goal."""
    _DELETE.run(session, row._asdict())


def unreached_of_goals(session: Session, keys: Iterable[GoalKey]) -> dict[GoalKey, list[int]]:
    """The amounts of the unreached milestones of locked goals, in no order."""
    found: dict[GoalKey, list[int]] = {key: [] for key in keys}
    if found:
        for tenant, goal_id, amount_minor in _UNREACHED.rows(session, driver.key_columns("goals", list(found))):
            found[tenant, goal_id].append(amount_minor)
    return found


def milestones_since(
    session: Session, sinces: Mapping[GoalKey, tuple[datetime, bool]]
) -> dict[GoalKey, list[tuple[int, datetime | None]]]:
    """(amount, reached_at) of the milestones of locked goals that were reached at a moment or later.

    The moment of each goal is given, and whether its unreached milestones are wanted too.
    """
    keys, wanted = list(sinces), list(sinces.values())
    found: dict[GoalKey, list[tuple[int, datetime | None]]] = {key: [] for key in keys}
    if keys:
        columns: dict[str, object] = {**driver.key_columns("goals", keys)}
        columns |= {"sinces": moments([since for since, _ in wanted])}
        columns |= {"with_unreached": bools([with_unreached for _, with_unreached in wanted])}
        for number, amount_minor, reached_at in _OPEN.rows(session, columns):
            found[keys[number - 1]].append((amount_minor, reached_at))
    return found


def milestones_of_goal(session: Session, key: GoalKey, *, above_minor: int | None, limit: int) -> list[MilestoneRow]:
    """At most `limit` milestones of one goal, ascending by amount; with `above_minor`, only those above it."""
    above = LOWEST if above_minor is None else above_minor
    parameters = {"tenant": key[0], "goal_id": key[1], "above": above, "limit": limit}
    return [MilestoneRow(*row) for row in _READ_PAGE.rows(session, parameters)]


def check_reached(session: Session, key: GoalKey, now: datetime) -> list[MilestoneRow]:
    """The milestones of a locked goal that are reached and that no earlier call returned, in no order."""
    parameters = {"tenant": key[0], "goal_id": key[1], "now": now}
    return [MilestoneRow(*row) for row in _CHECK.rows(session, parameters)]


def mark_milestones(session: Session, reached: Sequence[tuple[GoalKey, int, datetime]], now: datetime) -> list[Reached]:
    """Mark milestones of locked goals, by their amounts, as reached at the given effective times; in no order."""
    if not reached:
        return []
    columns = {"reached": moments([reached_at for _, _, reached_at in reached]), "now": now}
    rows = _MARK.rows(session, _amounts_of([each[:2] for each in reached]) | columns)
    return [Reached((row[0], row[1]), *row[2:]) for row in rows]


def date_milestones(session: Session, reached: Sequence[tuple[GoalKey, int, datetime]]) -> None:
    """Give milestones of locked goals, by their amounts, that are marked already other effective times."""
    if reached:
        columns = _amounts_of([each[:2] for each in reached])
        _DATE.run(session, columns | {"reached": moments([reached_at for _, _, reached_at in reached])})


def withdraw_milestones(session: Session, withdrawn: Sequence[tuple[GoalKey, int]]) -> None:
    """Let milestones of locked goals, by their amounts, be unreached again."""
    if withdrawn:
        _WITHDRAW.run(session, _amounts_of(withdrawn))


def _amounts_of(milestones: Sequence[tuple[GoalKey, int]]) -> dict[str, object]:
    amounts: dict[str, object] = {"amounts": int8s([amount_minor for _, amount_minor in milestones])}
    return amounts | driver.key_columns("goals", [key for key, _ in milestones])


def _write(session: Session, statement: Sql, row: MilestoneRow) -> None:
    try:
        statement.run(session, row._asdict())
    except UniqueViolation:
        raise InvalidField("amount", "the goal has a milestone at this amount already") from None
