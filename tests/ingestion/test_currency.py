"""In which currency an account is: what was stated for it, else its first report, else its first booked row."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from core.goals.goal import Tracking
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import amount, event, goal, link
from tests.conftest import Apply

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATEST = START + timedelta(days=30)
# An event of an account.
Make = Callable[[str], bytes]


def at(day: int) -> datetime:
    return START + timedelta(days=day)


def row(name: str, day: int, units: int, currency: str, **more: Any) -> Make:
    """A transaction that is stated on a day, of that day."""
    data = {"transaction_id": name, "amount": units, "currency": currency, "posted_at": at(day).date().isoformat()}
    return lambda account: event("transaction.recorded", at(day), name, data | {"account_id": account} | more)


def removed(name: str, day: int) -> Make:
    data = {"transaction_id": name}
    return lambda account: event("transaction.removed", at(day), f"no {name}", data | {"account_id": account})


def report(day: int, units: int, currency: str, of: int | None = None) -> Make:
    """A balance that is stated on a day, as of that day or of another one."""
    as_of = at(day if of is None else of)
    data = {"current": units, "currency": currency, "as_of": as_of.isoformat()}
    return lambda account: event("balance.reported", at(day), f"{currency} {day}", data | {"account_id": account})


def stated(day: int, currency: str | None) -> Make:
    return lambda account: event(
        "account.changed", at(day), f"is {currency}", {"account_id": account, "currency": currency}
    )


def window(day: int) -> Make:
    """A pull that has no row of the first three days."""
    days = {"from": at(0).date().isoformat(), "through": at(2).date().isoformat()}
    return lambda account: event("window.reported", at(day), "window", days | {"account_id": account})


ABROAD, PAY, RENT = row("abroad", 1, -7, "USD"), row("pay", 2, 900, "EUR"), row("rent", 3, -400, "EUR")
# What is stated, and what follows from it: the currency, what says it, the worth, and what came in.
CASES: dict[str, tuple[list[Make], tuple[str | None, str | None, int, int]]] = {
    "the first row": ([ABROAD, PAY, RENT], ("USD", "transaction", -7, 0)),
    "a pending row says nothing": (
        [row("abroad", 1, -7, "USD", pending=True), PAY, RENT],
        ("EUR", "transaction", 500, 900),
    ),
    "the first row is removed": ([ABROAD, PAY, RENT, removed("abroad", 5)], ("EUR", "transaction", 500, 900)),
    "it is missing from a whole pull": (
        [ABROAD, row("pay", 3, 900, "EUR"), window(4)],
        ("EUR", "transaction", 900, 900),
    ),
    "it turns out to be pending": (
        [ABROAD, PAY, row("abroad", 5, -7, "USD", pending=True)],
        ("EUR", "transaction", 900, 900),
    ),
    "it is stated again, later": ([ABROAD, PAY, row("abroad", 5, -7, "USD")], ("EUR", "transaction", 900, 900)),
    "it is stated again, in euros": ([ABROAD, PAY, row("abroad", 5, -6, "EUR")], ("EUR", "transaction", 894, 900)),
    "all rows are removed": ([ABROAD, removed("abroad", 5)], (None, None, 0, 0)),
    "an earlier row of the same currency comes": (
        [row("tip", 0, 5, "EUR"), ABROAD, PAY, RENT],
        ("EUR", "transaction", 505, 905),
    ),
    "a row that replaces the first one": (
        [ABROAD, PAY, row("settled", 4, -6, "EUR", replaces="abroad")],
        ("USD", "transaction", 0, 0),
    ),
    "a report": ([ABROAD, PAY, RENT, report(6, 450, "EUR")], ("EUR", "report", 450, 900)),
    "the first of two reports": (
        [ABROAD, PAY, RENT, report(6, 450, "EUR"), report(5, 80, "USD"), report(7, 460, "EUR"), report(8, 70, "USD")],
        ("USD", "report", 70, 0),
    ),
    "the first report is stated again, later": (
        [ABROAD, PAY, report(4, 80, "USD"), report(6, 450, "EUR"), report(7, 470, "EUR"), report(9, 80, "USD", of=4)],
        ("EUR", "report", 470, 900),
    ),
    "what is stated": (
        [ABROAD, PAY, RENT, report(5, 80, "USD"), report(6, 90, "USD"), report(7, 450, "EUR"), stated(0, "EUR")],
        ("EUR", "statement", 450, 900),
    ),
    "the latest statement": ([PAY, ABROAD, stated(0, "EUR"), stated(9, "USD")], ("USD", "statement", -7, 0)),
    "a withdrawn statement": (
        [ABROAD, report(5, 80, "USD"), report(6, 90, "USD"), PAY, stated(0, "EUR"), stated(9, None)],
        ("USD", "report", 90, 0),
    ),
    "a currency that ISO withdrew": (
        [row("abroad", 1, -7, "EUR"), row("pay", 2, 900, "HRK"), report(5, 900, "HRK")],
        ("HRK", "report", 900, 900),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_who_says_the_currency(session_factory: Sessions, apply: Apply, case: str) -> None:
    """In any order, one by one or at once, the same: worth, inflow and what goals in either currency count."""
    made, expected = CASES[case]
    goals = {}
    orders = [made, made[::-1], random.Random(case).sample(made, len(made)), made]
    for number in range(len(orders)):
        for tracking in (Tracking.CHANGE, Tracking.INFLOW):
            for currency in ("USD", "EUR", "HRK"):
                goal_id = goal(session_factory, START, tracking=tracking, currency=currency)
                link(session_factory, START, goal_id, f"a{number}", "100", date(2026, 2, 1))
                goals[number, tracking, currency] = goal_id
    for number, order in enumerate(orders):
        events = [make(f"a{number}") for make in order]
        for batch in [events] if number == len(orders) - 1 else [[each] for each in events]:
            apply(batch, at=LATEST)
        with session_factory() as session:
            found = Sql(
                "SELECT currency, currency_from, worth_minor, inflow_minor FROM accounts WHERE account_id = :a"
            ).one(session, {"a": f"a{number}"})
        own, said_by, worth, inflow = expected
        assert tuple(found) == (own, said_by, worth * 100, inflow * 100), number
        assert verify(session_factory, LATEST).first == ()
        for (of, tracking, currency), goal_id in goals.items():
            if of == number and (currency != own or tracking is Tracking.INFLOW):
                counted = inflow * 100 if currency == own else 0
                assert amount(session_factory, goal_id) == counted, (number, tracking, currency)


def test_a_batch_that_adds_rows_in_the_currency_that_it_ends(session_factory: Sessions, apply: Apply) -> None:
    """The first row is stated again, later, together with a new row: that one, written as it came, does not count."""
    goal_id = goal(session_factory, START, currency="EUR")
    link(session_factory, START, goal_id, "a", "100", date(2026, 2, 1))
    apply([ABROAD("a"), PAY("a")], at=LATEST)
    apply([row("abroad", 5, -7, "USD")("a"), row("hotel", 6, -80, "USD")("a")], at=LATEST)
    with session_factory() as session:
        found = Sql("SELECT currency, worth_minor, inflow_minor FROM accounts").one(session, {})
    assert tuple(found) == ("EUR", 900_00, 900_00)
    assert amount(session_factory, goal_id) == 900_00
    assert verify(session_factory, LATEST).first == ()
