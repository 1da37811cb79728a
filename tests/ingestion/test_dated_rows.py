"""Rows that have only a date: what amounts and closes come out of the pulls of banks."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.services.goals import update_goal
from core.services.inputs import GoalChanges
from core.store.database import Sessions
from core.store.driver import Session, Sql
from tests.acts import DEFAULT, amount, balance, event, goal, link, money
from tests.conftest import Apply

D0 = date(2026, 3, 10)
MICROSECOND = timedelta(microseconds=1)


def at(day: int, clock: str = "00:00") -> datetime:
    """A moment of a day, counted from the tests' present day."""
    hour, minute = clock.split(":")
    return datetime(2026, 3, 10, int(hour), int(minute), tzinfo=UTC) + timedelta(days=day)


def booked(name: str, units: int, day: int, reported: datetime, account: str = "a") -> bytes:
    """A row that has only a date."""
    data = {
        "account_id": account,
        "transaction_id": name,
        "amount": money(units * 100),
        "currency": "USD",
        "posted_at": (D0 + timedelta(days=day)).isoformat(),
    }
    return event("transaction.recorded", reported, name, data)


@dataclass(frozen=True)
class Example:
    """Reports as (day, clock, units), rows as (units, day of the date, day and clock of the first report), and results.

    An account with a history also has 1000 dated twenty days ago, reported with its first balance.
    """

    name: str
    reports: list[tuple[int, str, int]]
    rows: list[tuple[int, int, int, str]]
    amount: int | None
    closes: dict[int, int]
    has_history: bool = True
    link_from: int | datetime = 0
    completed_at: datetime | None = None
    is_card: bool = False
    more: dict[str, object] = field(default_factory=dict)

    def events(self) -> list[tuple[datetime, bytes]]:
        """The events, each with its time."""
        kind = {"kind": "liability"} if self.is_card else {}
        found = [(at(day, clock), balance(units * 100, at(day, clock), **kind)) for day, clock, units in self.reports]
        rows = list(self.rows)
        if self.has_history:
            day, clock, _ = min(self.reports)
            rows.append((1000, -20, day, clock))
        for number, (units, dated, day, clock) in enumerate(rows):
            found.append((at(day, clock), booked(f"r{number}", units, dated, at(day, clock))))
        return sorted(found)


def day_by_day(units: int, first: int, last: int) -> dict[int, int]:
    """The same close for each of these days."""
    return dict.fromkeys(range(first, last + 1), units)


EXAMPLES = [
    Example(
        "a deposit between two balances of its day",
        [(0, "10:00", 1000), (0, "14:00", 1100)],
        [(100, 0, 0, "14:00")],
        100,
        {-1: 1000, 0: 1100},
    ),
    Example(
        "reported with the balance that includes it",
        [(0, "10:00", 1000), (1, "10:00", 1000)],
        [(100, 0, 0, "10:00")],
        100,
        {-1: 900, 0: 1000, 1: 1000},
    ),
    Example(
        "reported three minutes after the balance that includes it",
        [(0, "10:00", 1000), (1, "10:00", 1000)],
        [(100, 0, 0, "10:03")],
        100,
        {-1: 900, 0: 1000, 1: 1000},
    ),
    Example(
        "reported twenty minutes after, while no later balance is known",
        [(0, "10:00", 1000)],
        [(100, 0, 0, "10:20")],
        100,
        {-1: 1000, 0: 1100},
    ),
    Example(
        "the next balance shows that it was in the balance before",
        [(0, "10:00", 1000), (1, "10:00", 1000)],
        [(100, 0, 0, "10:20")],
        100,
        {-1: 900, 0: 1000, 1: 1000},
    ),
    Example(
        "the next balance shows that it was not in the balance of its pull",
        [(0, "10:00", 1000), (1, "10:00", 1100)],
        [(100, 0, 0, "10:00")],
        100,
        {-1: 1000, 0: 1100, 1: 1100},
    ),
    Example(
        "a first balance of the morning, a deposit later that day",
        [(-3, "10:00", 1000), (-2, "10:00", 3000)],
        [(2000, -3, -2, "10:00")],
        None,
        day_by_day(1000, -6, -4) | day_by_day(3000, -3, -1),
        has_history=False,
    ),
    Example(
        "dated before the balance that it was not in yet",
        [(0, "10:00", 1000), (1, "10:00", 1100)],
        [(100, -2, 1, "10:00")],
        100,
        {-1: 1000, 0: 1100},
        link_from=-5,
    ),
    Example(
        "dated before the balance that includes it",
        [(0, "10:00", 1000), (1, "10:00", 1000)],
        [(100, -1, 1, "10:00")],
        100,
        {-2: 900, -1: 1000, 0: 1000},
        link_from=-5,
    ),
    Example(
        "spent in the evening of the day on which the goal was completed",
        [(-2, "10:00", 5000), (-1, "08:00", 5000), (1, "10:00", 0)],
        [(5000, -5, -5, "00:00"), (-5000, 0, 0, "19:00")],
        5000,
        {-1: 5000, 0: 0},
        has_history=False,
        link_from=-9,
        completed_at=at(0, "12:00"),
    ),
    Example(
        "deposited after the link was made that day",
        [(-2, "10:00", 1000), (-1, "10:00", 1000), (1, "10:00", 1100)],
        [(100, 0, 0, "15:00")],
        100,
        {-1: 1000, 0: 1100, 1: 1100},
        link_from=at(0, "12:00"),
    ),
    Example(
        "a card that is paid off between two balances",
        [(0, "10:00", 500), (0, "14:00", 400)],
        [(-500, -20, 0, "10:00"), (100, 0, 0, "14:00")],
        400,
        {-1: -500, 0: -400},
        has_history=False,
        is_card=True,
    ),
    Example(
        "one of two rows of a day was in the balance before",
        [(0, "10:00", 1000), (0, "18:00", 1040)],
        [(60, 0, 0, "13:00"), (40, 0, 0, "13:00")],
        100,
        {-1: 940, 0: 1040},
    ),
    Example(
        "a deposit of the day of the second balance",
        [(-4, "10:00", 1000), (-3, "10:00", 1000), (-2, "10:00", 3000)],
        [(2000, -3, -2, "10:00")],
        None,
        day_by_day(1000, -5, -4) | day_by_day(3000, -3, -1),
        has_history=False,
    ),
]


@pytest.mark.parametrize("shuffled", [None, 1, 2, 3])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_amounts_and_closes_are_those_of_the_bank(
    session_factory: Sessions, apply: Apply, example: Example, shuffled: int | None
) -> None:
    """Whether the facts come one by one in order, or one by one in any other order."""
    goal_type = GoalType.DEBT if example.is_card else GoalType.SAVINGS
    start = {"current_amount": "500", "target_amount": "0"} if example.is_card else {}
    made_at = example.link_from if isinstance(example.link_from, datetime) else at(0, "00:01")
    goal_id = goal(session_factory, made_at, goal_type, tracking=Tracking.CHANGE, **start)
    link_from = example.link_from if isinstance(example.link_from, datetime) else D0 + timedelta(days=example.link_from)
    link(session_factory, made_at, goal_id, "a", "100", link_from)
    if example.completed_at is not None:
        with session_factory.begin() as session:
            changes = GoalChanges(status=GoalStatus.COMPLETED)
            update_goal(session, DEFAULT, goal_id, changes, example.completed_at)
    events = example.events()
    if shuffled is not None:
        random.Random(shuffled).shuffle(events)
    for time, body in events:
        apply([body], at=time if shuffled is None else at(2))
    if example.amount is not None:
        assert amount(session_factory, goal_id) == example.amount * 100
    with session_factory() as session:
        found = {day: close(session, "a", day) for day in example.closes}
        stored = Sql("SELECT worth_minor FROM accounts WHERE account_id = 'a'").value(session, {})
        assert stored == worth_at(session, "a", at(9))
    assert found == {day: units * 100 for day, units in example.closes.items()}


def removed(name: str, time: datetime) -> bytes:
    """A removal."""
    return event("transaction.removed", time, f"{name}-removed", {"account_id": "a", "transaction_id": name})


@pytest.mark.parametrize("is_balance_known", [True, False])
@pytest.mark.parametrize("parts", [[[0], [1], [2]], [[0, 1, 2]], [[2], [0, 1]], [[0, 2], [1]]])
def test_a_new_id_counts_from_where_the_removed_one_did(
    session_factory: Sessions, apply: Apply, is_balance_known: bool, parts: list[list[int]]
) -> None:
    """Also if the removal comes first, and the old row and the new one are in one page."""
    opening = balance(900, at(0, "12:00")) if is_balance_known else booked("first", 1, -9, at(-9))
    apply([opening, removed("old", at(0, "20:00"))], at=at(2))
    page = [
        booked("old", 3, 0, at(0, "12:10")),
        booked("new", 3, 0, at(0, "15:00")),
        booked("more", 1, 0, at(0, "16:00")),
    ]
    for part in parts:
        apply([page[number] for number in part], at=at(2))
    with session_factory() as session:
        placed = Sql("SELECT posted_at FROM transactions WHERE transaction_id = 'new'").value(session, {})
        stored = Sql("SELECT worth_minor FROM accounts WHERE account_id = 'a'").value(session, {})
        assert placed == at(0, "12:00" if is_balance_known else "12:10")
        assert stored == worth_at(session, "a", at(9)) == (1000 if is_balance_known else 500)


def close(session: Session, account: str, day: int) -> int:
    """The worth of an account at the end of a day."""
    return worth_at(session, account, at(day + 1) - MICROSECOND)


def worth_at(session: Session, account: str, moment: datetime) -> int:
    """The worth of an account by its reports and by where its rows are placed."""
    key = {"account": account}
    reports = Sql("""SELECT as_of, current_minor * CASE kind WHEN 'asset' THEN 1 ELSE -1 END
            FROM reports JOIN accounts USING (tenant, account_id) WHERE account_id = :account ORDER BY as_of""").rows(
        session, key
    )
    rows = Sql("SELECT posted_at, amount_minor FROM transactions WHERE account_id = :account AND counts").rows(
        session, key
    )
    before = [report for report in reports if report[0] <= moment]
    if before:
        as_of, worth = before[-1]
        return int(worth + sum(row[1] for row in rows if as_of < row[0] <= moment))
    if reports:
        as_of, worth = reports[0]
        return int(worth - sum(row[1] for row in rows if moment < row[0] <= as_of))
    return int(sum(row[1] for row in rows if row[0] <= moment))
