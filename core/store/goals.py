"""Rows of goals: inserted, locked in id order, read by page, and written back singly or thousands at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any, Protocol, TypeVar

from psycopg.errors import UniqueViolation

from core.errors import ExternalIdTaken
from core.goals.details import GoalDetails
from core.goals.goal import DebtForm, GoalStatus, GoalType, Span, Tracking, direction
from core.store import driver
from core.store.driver import Row, Session, Sql, dates, int8s, moments

# (tenant, goal_id)
GoalKey = tuple[str, str]
_FIXED = (
    "tenant",
    "goal_id",
    "user_id",
    "type",
    "currency",
    "start_date",
    "debt_form",
    "starts_at_balance",
    "created_at",
)
_TYPES = {member.value: member for member in GoalType}
_TRACKINGS = {member.value: member for member in Tracking}
_STATUSES = {member.value: member for member in GoalStatus}
_FORMS = {member.value: member for member in DebtForm}


@dataclass(slots=True)
class GoalRow:
    """A goal as stored. Mutable: it is recomputed under the row's lock and written back. Amounts are minor units."""

    tenant: str
    goal_id: str
    user_id: str
    name: str
    description: str | None
    type: GoalType
    tracking: Tracking
    tracking_by_default: bool
    currency: str
    debt_form: DebtForm | None
    target_minor: int
    start_minor: int | None
    starts_at_balance: bool
    finish_minor: int
    manual_minor: int
    manual_at: datetime | None
    amount_minor: int
    waiting_for: list[str]
    next_milestone_minor: int | None
    reached_at: datetime | None
    deadline_at: datetime | None
    deadline_day: date | None
    start_date: date
    dirty_from: date | None
    evaluated_from: datetime | None
    auto_complete: bool
    auto_completed: bool
    status: GoalStatus
    final_at: datetime | None
    acted_at: datetime
    entries: int
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def key(self) -> GoalKey:
        """(tenant, goal_id)."""
        return self.tenant, self.goal_id

    @property
    def span(self) -> Span:
        """Where the goal starts and where it should end."""
        return Span(self.start_minor, self.finish_minor, self.debt_form, self.starts_at_balance)

    @property
    def deadline(self) -> datetime | date | None:
        """The moment, or the local day, by whose end the goal should be reached."""
        return self.deadline_day if self.deadline_at is None else self.deadline_at

    def mark_dirty_from(self, day: date) -> None:
        """Note that the goal's snapshots from a day on have to be written, or written again."""
        self.dirty_from = day if self.dirty_from is None else min(self.dirty_from, day)

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""
        return direction(self.type)


class _Enumerations(Protocol):
    type: GoalType
    tracking: Tracking
    debt_form: DebtForm | None


_HasEnumerations = TypeVar("_HasEnumerations", bound=_Enumerations)
COLUMNS = tuple(f.name for f in fields(GoalRow))
_LIST = ", ".join(f"g.{column}" for column in COLUMNS)
# Between the accounts that a goal waits for, within what `driver.joined` joins.
_WITHIN = "\x1d"
_MOVED = {
    "start_minor": ":starts",
    "manual_minor": ":manuals",
    "amount_minor": ":amounts",
    "waiting_for": driver.split("waiting"),
    "next_milestone_minor": ":upcoming",
    "reached_at": ":reached",
    "dirty_from": ":dirty",
    "entries": ":entries",
    "version": ":versions",
    "updated_at": ":updated",
}

_INSERT = Sql(f"INSERT INTO goals ({', '.join(COLUMNS)}) VALUES ({', '.join(':' + column for column in COLUMNS)})")
_UPDATE = Sql(
    f"""UPDATE goals SET {", ".join(f"{c} = :{c}" for c in COLUMNS if c not in _FIXED)}
    WHERE tenant = :tenant AND goal_id = :goal_id"""
)
_WRITE_DETAILS = Sql(
    """UPDATE goals SET external_id = :external_id, metadata = :metadata, position = :position, image_url = :image_url
    WHERE tenant = :tenant AND goal_id = :goal_id"""
)
_READ = f"SELECT {_LIST} FROM goals g WHERE g.tenant = :tenant AND g.goal_id = :goal_id"
_READ_ONE = Sql(_READ)
_LOCK_ONE = Sql(f"{_READ} FOR NO KEY UPDATE")
_MANY = f"""SELECT {_LIST}
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN goals g USING (tenant, goal_id)
    ORDER BY g.goal_id, g.tenant"""
_READ_MANY = Sql(_MANY)
_LOCK_MANY = Sql(f"{_MANY} FOR NO KEY UPDATE OF g")
_WRITE_MOVED = Sql(
    f"""UPDATE goals g SET {", ".join(f"{c} = s.{c}" for c in _MOVED if c != "waiting_for")},
        waiting_for = coalesce(string_to_array(s.waiting_for, chr({ord(_WITHIN)})), '{{}}')
    FROM unnest({driver.split("tenants")}, {driver.split("goals")}, {", ".join(_MOVED.values())})
        AS s(tenant, goal_id, {", ".join(_MOVED)})
    WHERE g.tenant = s.tenant AND g.goal_id = s.goal_id"""
)
_FUNDED_BY = Sql(
    f"""SELECT {_LIST} FROM links l JOIN goals g USING (tenant, goal_id)
    WHERE l.tenant = :tenant AND l.account_id = :account_id AND l.until_at IS NULL AND l.goal_id > :after
    ORDER BY l.goal_id LIMIT :limit"""
)
_DELETE = Sql("DELETE FROM goals WHERE tenant = :tenant AND goal_id = :goal_id")
_DELETE_TRACES = [
    Sql(f"DELETE FROM {table} WHERE tenant = :tenant AND goal_id = :goal_id")
    for table in ("goal_entries", "goal_snapshots", "close_rewrites", "forecasts", "message_counts")
]
# Of a message that waits nobody could say any more whether it is still true.
_DELETE_WAITING = Sql(
    """DELETE FROM outbox
    WHERE tenant = :tenant AND goal_id = :goal_id AND position IS NULL AND threshold_minor IS NOT NULL"""
)
_ADD = Sql(
    """INSERT INTO manual_amounts (tenant, goal_id, manual_at, amount_minor)
    VALUES (:tenant, :goal_id, :manual_at, :amount_minor)"""
)


def at_or_day(given: datetime | date | None) -> tuple[datetime | None, date | None]:
    """The two columns for what is a moment or a whole day: at most one of them is not None."""
    return (given, None) if isinstance(given, datetime) else (None, given)


def insert_goal(session: Session, row: GoalRow) -> None:
    """Add a new goal."""
    _INSERT.run(session, _columns_of(row))


def read_goal(session: Session, key: GoalKey) -> GoalRow | None:
    """One goal, not locked."""
    return _one(session, _READ_ONE, key)


def lock_goal(session: Session, key: GoalKey) -> GoalRow | None:
    """One goal, locked. If its accounts are needed, they must be locked before it."""
    return _one(session, _LOCK_ONE, key)


def lock_goals(session: Session, keys: Iterable[GoalKey]) -> list[GoalRow]:
    """Lock goals in id order; a goal that was deleted meanwhile is left out."""
    return _many(session, _LOCK_MANY, keys)


def read_goals(session: Session, keys: Iterable[GoalKey]) -> list[GoalRow]:
    """Goals in id order, not locked; a goal that does not exist is left out."""
    return _many(session, _READ_MANY, keys)


def write_goal(session: Session, row: GoalRow) -> None:
    """Write back all columns of one locked goal that can change."""
    _UPDATE.run(session, _columns_of(row))


def write_moved_goals(session: Session, rows: Sequence[GoalRow]) -> None:
    """Write back the columns that events change, for many locked goals."""
    if not rows:
        return
    columns: dict[str, object] = {
        "starts": int8s([row.start_minor for row in rows]),
        "manuals": int8s([row.manual_minor for row in rows]),
        "amounts": int8s([row.amount_minor for row in rows]),
        "waiting": driver.joined([_WITHIN.join(row.waiting_for) for row in rows]),
        "upcoming": int8s([row.next_milestone_minor for row in rows]),
        "reached": moments([row.reached_at for row in rows]),
        "dirty": dates([row.dirty_from for row in rows]),
        "entries": int8s([row.entries for row in rows]),
        "versions": int8s([row.version for row in rows]),
        "updated": moments([row.updated_at for row in rows]),
    }
    _WRITE_MOVED.run(session, driver.key_columns("goals", [row.key for row in rows]) | columns)


def write_details(session: Session, key: GoalKey, details: GoalDetails) -> None:
    """Write what an application keeps with a locked goal; raises ExternalIdTaken."""
    try:
        _WRITE_DETAILS.run(session, {"tenant": key[0], "goal_id": key[1], **asdict(details)})
    except UniqueViolation:
        raise ExternalIdTaken from None


def delete_goal(session: Session, key: GoalKey) -> None:
    """Delete a locked goal with all rows that depend on it; messages that it has caused stay in the outbox."""
    parameters = {"tenant": key[0], "goal_id": key[1]}
    for statement in [*_DELETE_TRACES, _DELETE_WAITING, _DELETE]:
        statement.run(session, parameters)


def goals_funded_by(session: Session, account: tuple[str, str], *, after: str | None, limit: int) -> list[GoalRow]:
    """Goals with an open link of the account (tenant, account_id), by id; `after` is the last of the page before."""
    parameters = {"tenant": account[0], "account_id": account[1], "after": after or "", "limit": limit}
    return [goal_of(row) for row in _FUNDED_BY.rows(session, parameters)]


def add_manual_amount(session: Session, key: GoalKey, manual_at: datetime, amount_minor: int) -> None:
    """Store a manual amount of a locked goal."""
    _ADD.run(session, {"tenant": key[0], "goal_id": key[1], "manual_at": manual_at, "amount_minor": amount_minor})


def _many(session: Session, statement: Sql, keys: Iterable[GoalKey]) -> list[GoalRow]:
    wanted = list(set(keys))
    return [goal_of(row) for row in statement.rows(session, driver.key_columns("goals", wanted))] if wanted else []


def _one(session: Session, statement: Any, key: GoalKey) -> GoalRow | None:
    row = statement.first(session, {"tenant": key[0], "goal_id": key[1]})
    return None if row is None else goal_of(row)


def _columns_of(row: GoalRow) -> dict[str, object]:
    # Not asdict(), which copies every value, and takes longer than the statement.
    return {column: getattr(row, column) for column in COLUMNS}


def goal_of(row: Row) -> GoalRow:
    """The goal in a row of COLUMNS."""
    goal = GoalRow(*row)
    goal.status = _STATUSES[goal.status]
    return read_enumerations(goal)


def read_enumerations(goal: _HasEnumerations) -> _HasEnumerations:
    """The same goal, with members of the enumerations in the place of the texts that are stored for them."""
    goal.type = _TYPES[goal.type]
    goal.tracking = _TRACKINGS[goal.tracking]
    if goal.debt_form is not None:
        goal.debt_form = _FORMS[goal.debt_form]
    return goal
