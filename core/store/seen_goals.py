"""Goals with what readers see beside them, in one statement: their milestones, and the accounts that they leave out."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import NamedTuple

from core.goals.details import GoalDetails
from core.store import driver
from core.store.driver import Row, Session, Sql
from core.store.goals import COLUMNS, GoalKey, GoalRow, goal_of
from core.store.milestones import MilestoneRow


class SeenGoal(NamedTuple):
    """A goal with its milestones, ascending by amount, and what an application keeps with it.

    `left_out` are the accounts of a net worth that are not in its currency, each as (account_id, currency); None is no
    currency yet.
    """

    goal: GoalRow
    details: GoalDetails
    milestones: list[MilestoneRow]
    left_out: list[tuple[str, str | None]]


_OF_DETAILS = tuple(field.name for field in fields(GoalDetails))
_OF_MILESTONE = MilestoneRow._fields[2:]
_OF_GOAL = (*COLUMNS, *_OF_DETAILS)
_SEEN = f"""{", ".join(f"g.{column}" for column in _OF_GOAL)}, {", ".join(f"m.{column}" for column in _OF_MILESTONE)},
    o.account_ids, o.currencies"""
# A goal has few milestones, and many columns: an array for each column costs less than a row for each milestone.
_BESIDE = f"""LEFT JOIN LATERAL (
        SELECT {", ".join(f"array_agg(s.{column}) AS {column}" for column in _OF_MILESTONE)}
        FROM (SELECT * FROM milestones x WHERE x.tenant = g.tenant AND x.goal_id = g.goal_id ORDER BY x.amount_minor) s
    ) AS m ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(a.account_id) AS account_ids, array_agg(a.currency) AS currencies
        FROM links l JOIN accounts a USING (tenant, account_id)
        WHERE l.tenant = g.tenant AND l.goal_id = g.goal_id AND a.currency IS DISTINCT FROM g.currency
    ) AS o ON g.tracking = 'net_worth'"""
_READ = Sql(
    f"""SELECT {_SEEN}
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN goals g USING (tenant, goal_id)
    {_BESIDE}"""
)


def read_seen_goals(session: Session, keys: Iterable[GoalKey]) -> dict[GoalKey, SeenGoal]:
    """Goals by key, not locked; one that does not exist is left out."""
    rows = _READ.rows(session, driver.key_columns("goals", list(keys)))
    found = [_seen(row) for row in rows]
    return {each.goal.key: each for each in found}


def list_seen_goals(
    session: Session, tenant: str, filters: Mapping[str, str], *, limit: int, after: str | None
) -> list[SeenGoal]:
    """A page of goals in order of id, which is the order of creation; `after` is the last id of the page before.

    `filters` are columns of goals and the values that they must have: user_id, type, status.
    """
    conditions = ["g.tenant = :tenant", *(f"g.{name} = :{name}" for name in filters)]
    if after is not None:
        conditions.append("g.goal_id > :after")
    page = f"SELECT * FROM goals g WHERE {' AND '.join(conditions)} ORDER BY g.goal_id LIMIT :limit"
    statement = Sql(f"SELECT {_SEEN} FROM ({page}) AS g {_BESIDE} ORDER BY g.goal_id")
    return [
        _seen(row) for row in statement.rows(session, {**filters, "tenant": tenant, "after": after, "limit": limit})
    ]


def _seen(row: Row) -> SeenGoal:
    goal = goal_of(row[: len(COLUMNS)])
    details = GoalDetails(*row[len(COLUMNS) : len(_OF_GOAL)])
    *milestones, account_ids, currencies = row[len(_OF_GOAL) :]
    rows = [] if milestones[0] is None else zip(*milestones, strict=True)
    left_out = [] if account_ids is None else list(zip(account_ids, currencies, strict=True))
    return SeenGoal(goal, details, [MilestoneRow(goal.tenant, goal.goal_id, *each) for each in rows], left_out)
