"""By how much accounts moved each local day: the view and the inputs of snapshots agree with the definitions."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.events.calendar import local_day
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.snapshots import AccountDays, DayRange, read_account_days
from tests.acts import paid
from tests.budget import examples
from tests.conftest import Apply
from tests.ingestion.oracle import OracleAccount, apply_fact
from tests.ingestion.test_any_order import START, as_event, facts, shuffled_and_split
from tests.snapshots.close_oracle import first_instant
from tests.verify.test_local_days import DAYS

ONE = timedelta(days=1)
_names = itertools.count(1)
# In Sao Paulo the fourth of November began at one; in St. John's the clock showed the 31st for a minute, and again an
# hour later.
PLACES = [
    ("UTC", date(2026, 3, 1)),
    ("America/Sao_Paulo", date(2018, 11, 1)),
    ("America/Sao_Paulo", date(2018, 2, 14)),
    ("America/St_Johns", date(2005, 10, 28)),
    ("America/Havana", date(2025, 10, 30)),
    ("Pacific/Apia", date(2011, 12, 27)),
]
LENGTH = 12
places = st.sampled_from(PLACES)
histories = st.lists(facts(), min_size=1, max_size=24)
minutes = st.sampled_from([0, 20, -1, -20, 75])
seeds = st.integers(0, 2**32)


class Example:
    """A tenant with two accounts, an example of facts about them, and what an oracle makes of these."""

    def __init__(self, sessions: Sessions, apply: Apply, place: tuple[str, date], made: list[dict[str, Any]]) -> None:
        self.zone, self.first = place
        self.tenant = f"days{next(_names)}"
        self.accounts = [f"a{next(_names)}", f"a{next(_names)}"]
        self.oracles = [OracleAccount(), OracleAccount()]
        with sessions.begin() as session:
            create_tenant(session, self.tenant, self.zone, datetime(2005, 1, 1, tzinfo=UTC))
        self._apply, self._made = apply, made

    def apply(self, shift: int, seed: int) -> None:
        """Apply the facts, moved to the place's days and by some minutes, in some order."""
        moved = [self._moved(fact, timedelta(minutes=shift)) for fact in self._made]
        for fact in moved:
            apply_fact(self.oracles[fact["account"]], fact)
        for batch in shuffled_and_split([as_event(fact, self.accounts) for fact in moved], seed):
            self._apply(batch, tenant=self.tenant, at=self.start(LENGTH))

    def start(self, number: int) -> datetime:
        """The first instant of a day of the example."""
        return first_instant(self.first + number * ONE, self.zone).astimezone(UTC)

    def moves(self, oracle: OracleAccount, number: int) -> tuple[int, int, int]:
        """By definition: the sum of an account's transactions on a day, of its residuals, and what came in."""
        since, until = self.start(number), self.start(number + 1)
        amounts = [amount for at, amount in oracle.counted() if since <= at < until]
        worth = oracle.worth(until, before=True) - oracle.worth(since, before=True)
        return sum(amounts), worth - sum(amounts), sum(amount for amount in amounts if amount > 0)

    def _moved(self, fact: dict[str, Any], shift: timedelta) -> dict[str, Any]:
        by = self.start(0) - START + shift
        moved = fact | {"time": fact["time"] + by}
        if fact["kind"] == "recorded":
            moved["body"] = fact["body"] | {"at": fact["body"]["at"] + by}
        if fact["kind"] == "reported":
            moved["key"] = fact["key"] + by
        return moved


@settings(max_examples=examples(40))
@given(places, histories, minutes, seeds)
def test_the_view_has_what_each_day_moved(
    session_factory: Sessions, apply: Apply, place: tuple[str, date], made: list[dict[str, Any]], shift: int, seed: int
) -> None:
    """Each day on which anything moved has its row, with the oracle's sums, and no other day has one."""
    example = Example(session_factory, apply, place, made)
    example.apply(shift, seed)
    expected = {
        (account, example.first + number * ONE): moves
        for account, oracle in zip(example.accounts, example.oracles, strict=True)
        for number in range(-2, LENGTH + 2)
        if any(moves := example.moves(oracle, number))
    }
    question = Sql(
        "SELECT account_id, day, moved_minor, residual_minor, inflow_minor FROM account_days WHERE tenant = :t"
    )
    with session_factory() as session:
        rows = question.rows(session, {"t": example.tenant})
    assert len(rows) == len(expected)
    assert {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows} == expected


@settings(max_examples=examples(40))
@given(places, histories, minutes, seeds, st.integers(0, LENGTH - 2), st.integers(0, 4))
def test_a_range_that_ends_depends_on_nothing_after_the_next_report(
    session_factory: Sessions,
    apply: Apply,
    place: tuple[str, date],
    made: list[dict[str, Any]],
    shift: int,
    seed: int,
    first: int,
    length: int,
) -> None:
    """The days of a range and the worth at its end are the oracle's, even if all later facts are lost."""
    example = Example(session_factory, apply, place, made)
    example.apply(shift, seed)
    last = min(first + length, LENGTH - 2)
    asked = DayRange(example.first + first * ONE, example.first + last * ONE)
    before = _read(session_factory, example, asked)
    for account, oracle in zip(example.accounts, example.oracles, strict=True):
        if account not in before:
            continue
        close = example.start(last + 1)
        days = [(example.first + n * ONE, example.moves(oracle, n)) for n in range(first, last + 1)]
        moved = [(day, worth + residual, inflow) for day, (worth, residual, inflow) in days]
        assert before[account] == AccountDays(
            [each for each in moved if any(each[1:])], oracle.worth(close, before=True)
        )
        reported = oracle.reported()
        if reported:
            follows = min((as_of for as_of in reported if as_of >= close), default=close)
            _lose(session_factory, example.tenant, account, follows)
    assert _read(session_factory, example, asked) == before


def _read(sessions: Sessions, example: Example, asked: DayRange) -> dict[str, AccountDays]:
    with sessions() as session:
        known = Sql("SELECT account_id FROM accounts WHERE tenant = :t")
        wanted = {(example.tenant, row[0]): asked for row in known.rows(session, {"t": example.tenant})}
        found = read_account_days(session, wanted, example.first + LENGTH * ONE, ZoneInfo(example.zone))
    return {account: days for (_, account), days in found.items()}


def _lose(sessions: Sessions, tenant: str, account: str, after: datetime) -> None:
    """Drop an account's facts after a moment, and what it is worth now."""
    about = {"t": tenant, "a": account, "after": after}
    with sessions.begin() as session:
        for statement in (
            "DELETE FROM transactions WHERE tenant = :t AND account_id = :a AND posted_at > :after",
            "DELETE FROM reports WHERE tenant = :t AND account_id = :a AND as_of > :after",
            "UPDATE accounts SET worth_minor = 12345 WHERE tenant = :t AND account_id = :a",
        ):
            Sql(statement).run(session, about)


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_days_begin_where_core_says(session_factory: Sessions, apply: Apply, zone: str, day: date) -> None:
    """When clocks change, every half hour is of the day that core says, in the view and in the inputs of snapshots."""
    place = zone, day
    example = Example(session_factory, apply, place, [])
    moments = [example.start(0) + timedelta(minutes=30 * n) for n in range(-96, 96)]
    moments += [example.start(n) - timedelta(microseconds=1) for n in range(-1, 3)]
    account = example.accounts[0]
    apply([paid(f"t{n}", 1, at, account) for n, at in enumerate(moments)], tenant=example.tenant, at=max(moments))
    expected = Counter(local_day(moment, ZoneInfo(zone)) for moment in moments)
    with session_factory() as session:
        rows = Sql("SELECT day, moved_minor FROM account_days WHERE tenant = :t").rows(session, {"t": example.tenant})
        assert {row[0]: row[1] for row in rows} == expected
        key, through = (example.tenant, account), max(expected)
        days = read_account_days(session, {key: DayRange(min(expected), None)}, through, ZoneInfo(zone))[key].days
        assert days == [(each, count, count) for each, count in sorted(expected.items())]
        # Everything after the last day that is asked for comes as one sum.
        soon = read_account_days(session, {key: DayRange(day, None)}, day, ZoneInfo(zone))[key].days
    later = sum(count for each, count in expected.items() if each > day)
    own = [(day, expected[day], expected[day])] if expected[day] else []
    assert soon == [*own, (day + ONE, later, later)]


def test_a_day_may_move_more_than_a_bigint_holds(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """The sum of tens of thousands of the largest amounts in a day is exact, though it fits no column."""
    most, today = 9_000_000_000_000_000_000, now.date()
    apply([paid(name, -1, now - timedelta(hours=1)) for name in ("1", "2", "3")])
    with session_factory.begin() as session:
        Sql("UPDATE transactions SET amount_minor = :minor").run(session, {"minor": -most})
        assert Sql("SELECT moved_minor FROM account_days").value(session, {}) == -3 * most
        wanted = {("default", "a"): DayRange(today, None)}
        found = read_account_days(session, wanted, today, ZoneInfo("UTC"))
    assert found["default", "a"] == AccountDays([(today, -3 * most, 0)], None)
