"""Pulls that hold all booked rows of their days: what they do not have any more counts as removed."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.goals.goal import GoalType
from core.jobs.due import run_due
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import amount, event, goal, link, money
from tests.budget import examples
from tests.conftest import Apply
from tests.dumping import rows_by_table
from tests.ingestion.oracle import OracleAccount, apply_fact
from tests.ingestion.test_any_order import shuffled_and_split

START = datetime(2026, 3, 1, tzinfo=UTC)
LATEST = datetime(2026, 3, 12, tzinfo=UTC)
SOURCES = ("bank", "other")
_names = itertools.count(1)


def at(day: int, hour: int = 9) -> datetime:
    """An hour of a day of March."""
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def row(name: str, minor: int, day: int, time: datetime, source: str = "bank", **more: object) -> bytes:
    """A booked row that has only a date."""
    data = {
        "account_id": "a",
        "transaction_id": name,
        "amount": money(minor),
        "currency": "USD",
        "posted_at": f"2026-03-{day:02}",
    }
    return event("transaction.recorded", time, f"{name}-{time:%d%H}", data | more, source)


def window(first: int, last: int, time: datetime, source: str = "bank") -> bytes:
    """A pull of all booked rows of some days of March."""
    data = {"account_id": "a", "from": f"2026-03-{first:02}", "through": f"2026-03-{last:02}"}
    return event("window.reported", time, f"w-{first}-{last}-{time:%d%H}", data, source)


def removed(session_factory: Sessions) -> list[str]:
    """The rows that count as removed."""
    with session_factory() as session:
        return Sql("SELECT transaction_id FROM transactions WHERE removed ORDER BY 1").values(session, {})


moments = st.integers(0, 40).map(lambda step: START + timedelta(hours=6 * step))
days = st.integers(0, 10).map(lambda step: START + timedelta(days=step))
times = st.integers(0, 12).map(lambda step: START + timedelta(hours=18 * step))
currencies = st.sampled_from(["USD"] * 4 + ["EUR"])
amounts = st.sampled_from([100_00, 100_00, -40_00, 250_00])


@st.composite
def facts(draw: st.DrawFn) -> dict[str, Any]:
    """One event of the account, in the oracle's shape; few ids, days, times and amounts, so that facts meet."""
    kind = draw(st.sampled_from(["recorded"] * 7 + ["window"] * 3 + ["reported"] * 2 + ["removed"]))
    made: dict[str, Any] = {
        "kind": kind,
        "time": draw(times),
        "source": draw(st.sampled_from(SOURCES)),
        "id": f"e{next(_names)}",
    }
    name = draw(st.sampled_from(["t1", "t2", "t3", "t4", "t5"]))
    if kind == "recorded":
        is_date = draw(st.integers(0, 2)) > 0
        replaces = draw(st.sampled_from([None, None, None, "t1", "t2"]))
        body = {
            "amount": draw(amounts),
            "at": draw(days if is_date else moments),
            "is_date": is_date,
            "pending": draw(st.integers(0, 6)) == 0,
            "replaces": None if replaces == name else replaces,
            "currency": draw(currencies),
        }
        return made | {"key": name, "body": body}
    if kind == "removed":
        return made | {"key": name, "body": None}
    if kind == "reported":
        return made | {
            "key": draw(moments),
            "body": {"current": draw(st.integers(-3, 9)) * 100_00, "currency": draw(currencies)},
        }
    first, last = sorted([draw(days).date(), draw(days).date()])
    return made | {"key": None, "body": (first, last)}


def as_event(made: dict[str, Any], account: str) -> bytes:
    """The event that states an oracle's fact."""
    data: dict[str, Any] = {"account_id": account}
    body, kind = made["body"], made["kind"]
    if kind == "recorded":
        data |= {"transaction_id": made["key"], "amount": money(body["amount"]), "currency": body["currency"]}
        data |= {"pending": body["pending"], "replaces": body["replaces"]}
        data["posted_at"] = body["at"].date().isoformat() if body["is_date"] else body["at"].isoformat()
        type = "transaction.recorded"
    elif kind == "removed":
        data["transaction_id"] = made["key"]
        type = "transaction.removed"
    elif kind == "reported":
        data |= {"current": money(body["current"]), "currency": body["currency"], "as_of": made["key"].isoformat()}
        type = "balance.reported"
    else:
        data |= {"from": body[0].isoformat(), "through": body[1].isoformat()}
        type = "window.reported"
    return event(type, made["time"], made["id"], data, made["source"])


@settings(max_examples=examples(150))
@given(st.lists(facts(), min_size=1, max_size=16), st.integers(0, 2**32))
def test_in_any_order_and_parts_rows_and_windows_leave_what_is_said_of_them(
    session_factory: Sessions, apply: Apply, made: list[dict[str, Any]], seed: int
) -> None:
    """Also repeated, with removals, replacements, two sources and balances: worths of each day, and the second way."""
    account, oracle = f"a{next(_names)}", OracleAccount()
    for fact in made:
        apply_fact(oracle, fact)
    for batch in shuffled_and_split([as_event(fact, account) for fact in made], seed):
        apply(batch, at=LATEST)
    with session_factory() as session:
        missing = Sql("SELECT transaction_id FROM transactions WHERE account_id = :a AND missing").values(
            session, {"a": account}
        )
        assert set(missing) == oracle.missing()
        opening, worth, inflow = Sql(
            "SELECT opening_minor, worth_minor, inflow_minor FROM accounts WHERE account_id = :a"
        ).one(session, {"a": account})
        assert (worth, inflow) == (oracle.worth(LATEST), oracle.inflow(LATEST))
        moved = Sql("SELECT day, moved_minor + residual_minor FROM account_days WHERE account_id = :a").rows(
            session, {"a": account}
        )
        for number in range(-1, 12):
            close = START + timedelta(days=number + 1) - timedelta(microseconds=1)
            assert opening + sum(minor for day, minor in moved if day <= close.date()) == oracle.worth(close)
    if seed % 8 == 0:
        assert verify(session_factory, LATEST).first == ()


def test_new_ids_of_the_same_rows_count_once(session_factory: Sessions, apply: Apply) -> None:
    """A bank that gives its rows new ids: for what came in, and for how a balance moved, nothing is doubled.

    The row of the new id counts from where the one of the old id did, though the link was made in between.
    """
    earned = goal(session_factory, at(9, 10), GoalType.INCOME)
    saved = goal(session_factory, at(9, 10))
    for goal_id in (earned, saved):
        link(session_factory, at(9, 10), goal_id, "a", "100", date(2026, 3, 1))
    since = goal(session_factory, at(9, 10))
    link(session_factory, at(9, 10), since, "a", "100", at(9, 10))
    apply([row("a1", 469_64, 9, at(9)), window(1, 9, at(9))])
    assert [amount(session_factory, each) for each in (earned, saved, since)] == [469_64, 469_64, 0]
    apply([row("b2", 469_64, 9, at(10)), window(1, 10, at(10))])
    assert removed(session_factory) == ["a1"]
    assert [amount(session_factory, each) for each in (earned, saved, since)] == [469_64, 469_64, 0]


CASES: list[tuple[str, list[bytes], list[str]]] = [
    ("an older row of its days", [row("t", 1, 5, at(5)), window(4, 6, at(6))], ["t"]),
    ("a row of its first day", [row("t", 1, 4, at(5)), window(4, 6, at(6))], ["t"]),
    ("a row of its last day", [row("t", 1, 6, at(5)), window(4, 6, at(6))], ["t"]),
    ("a row of the day before", [row("t", 1, 3, at(5)), window(4, 6, at(6))], []),
    ("a row of the day after", [row("t", 1, 7, at(5)), window(4, 6, at(6))], []),
    ("a row of the same pull", [row("t", 1, 5, at(6)), window(4, 6, at(6))], []),
    ("a row of a later pull", [row("t", 1, 5, at(7)), window(4, 6, at(6))], []),
    ("a row of another source", [row("t", 1, 5, at(5), "other"), window(4, 6, at(6))], []),
    ("a pending row", [row("t", 1, 5, at(5), pending=True), window(4, 6, at(6))], []),
    ("an instant of its days", [row("t", 1, 5, at(5), posted_at="2026-03-06T23:59:59Z"), window(4, 6, at(6))], ["t"]),
    ("an instant after them", [row("t", 1, 5, at(5), posted_at="2026-03-07T00:00:00Z"), window(4, 6, at(6))], []),
    ("a row that a pull brings back", [row("t", 1, 5, at(5)), window(4, 6, at(6)), row("t", 1, 5, at(8))], []),
    (
        "a row that is missing again",
        [row("t", 1, 5, at(5)), window(4, 6, at(6)), row("t", 1, 5, at(7)), window(4, 6, at(8))],
        ["t"],
    ),
    (
        "a row that a pull put on a day before the window",
        [row("t", 1, 5, at(5)), row("t", 1, 2, at(6)), window(4, 6, at(7))],
        [],
    ),
    (
        "a row whose standing statement is of another source",
        [row("t", 1, 5, at(5)), row("t", 2, 5, at(6), "other"), window(4, 6, at(7))],
        [],
    ),
    (
        "a row that was removed before, and comes back",
        [
            row("t", 1, 5, at(5)),
            event("transaction.removed", at(6), "r", {"account_id": "a", "transaction_id": "t"}, "bank"),
            window(4, 6, at(7)),
            row("t", 1, 5, at(8)),
        ],
        [],
    ),
    (
        "a replaced row, and the one that replaces it",
        [row("t", 1, 5, at(5)), row("u", 1, 5, at(5), replaces="t"), window(4, 6, at(6))],
        ["t", "u"],
    ),
    (
        "a replaced row, but not the one that replaces it",
        [row("t", 1, 5, at(5)), row("u", 1, 5, at(6), replaces="t"), window(4, 6, at(6))],
        ["t"],
    ),
]


@pytest.mark.parametrize(("events", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_which_rows_count_as_removed(
    session_factory: Sessions, apply: Apply, events: list[bytes], expected: list[str]
) -> None:
    """In every order of the events, each in a batch of its own, and all in one."""
    for order in itertools.permutations(events):
        with session_factory.begin() as session:
            Sql("TRUNCATE accounts, transactions, windows").run(session, {})
        for body in order:
            apply([body])
        assert removed(session_factory) == expected, order
    with session_factory.begin() as session:
        Sql("TRUNCATE accounts, transactions, windows").run(session, {})
    apply(events)
    assert removed(session_factory) == expected
    assert verify(session_factory, LATEST).first == ()


BAD = [
    ({"from": "2026-03-05", "through": "2026-03-04"}, "self_contradicting", "through 2026-03-04 is before from"),
    ({"from": "2026-03-05"}, "missing_field", "through is missing"),
    ({"through": "2026-03-05"}, "missing_field", "from is missing"),
    ({"from": None, "through": "2026-03-05"}, "missing_field", "from is missing"),
    ({"from": "2026-03-04T00:00:00Z", "through": "2026-03-05"}, "bad_value", "from must be a date"),
    ({"from": "2026-03-04", "through": 5}, "bad_value", "through must be a date"),
    ({"from": "2026-02-30", "through": "2026-03-05"}, "bad_value", "from"),
    ({"from": "1899-12-31", "through": "2026-03-05"}, "bad_value", "before 1900"),
    ({"from": "2026-03-05", "through": "9999-12-31"}, "far_future", "more than 400 days"),
    ({"from": "2026-03-05", "through": "2026-03-05", "account_id": None}, "missing_field", "account_id is missing"),
    ({"from": "2026-03-05", "through": "2026-03-05", "account_id": ""}, "bad_value", "account_id"),
]


@pytest.mark.parametrize(("data", "code", "reason"), BAD)
def test_a_window_that_cannot_be_is_a_dead_letter(
    session_factory: Sessions, apply: Apply, data: dict[str, Any], code: str, reason: str
) -> None:
    """With the reason, whole, and no row is touched."""
    apply([row("t", 1, 5, at(5))])
    body = event("window.reported", at(6), "w", {"account_id": "a"} | data, "bank")
    assert apply([body]).dead_letters == 1
    with session_factory() as session:
        found, stated, kept = Sql("SELECT code, reason, event FROM dead_letters").one(session, {})
    assert (found, kept) == (code, body)
    assert reason in stated
    assert removed(session_factory) == []


def test_a_window_of_an_account_without_facts_is_kept(session_factory: Sessions, apply: Apply) -> None:
    """What it says of its days holds for the rows that come later, and a repetition of it changes nothing."""
    assert apply([window(4, 6, at(6))]).duplicates == 0
    with session_factory() as session:
        before = rows_by_table(session, ["accounts", "windows"])
    assert apply([window(4, 6, at(6))]).duplicates == 1
    with session_factory() as session:
        assert rows_by_table(session, ["accounts", "windows"]) == before
    apply([row("t", 1, 5, at(5)), row("u", 1, 7, at(5)), row("v", 1, 5, at(6))])
    assert removed(session_factory) == ["t"]
    apply([row("x", 1, 6, at(5))])
    assert removed(session_factory) == ["t", "x"]
    assert verify(session_factory, LATEST).first == ()


def test_a_window_writes_no_row_that_it_does_not_remove(session_factory: Sessions, apply: Apply) -> None:
    """Nor does a row of the pull of the last window have to be compared: it is written as new ones are."""
    apply(
        [row(f"t{n}", 100 + n, 1 + n % 9, at(9)) for n in range(200)] + [row("gone", 1, 5, at(8)), window(1, 9, at(9))]
    )
    assert removed(session_factory) == ["gone"]
    places = Sql("SELECT transaction_id, ctid::text, xmin::text FROM transactions ORDER BY 1")
    with session_factory() as session:
        before = places.rows(session, {})
    apply([window(1, 9, at(9, 8)), window(1, 8, at(9)), window(1, 10, at(9))])
    with session_factory() as session:
        assert places.rows(session, {}) == before


def test_a_row_that_is_not_due_yet_can_be_missing(session_factory: Sessions, apply: Apply) -> None:
    """It counts neither before its day nor when that begins."""
    apply([row("t", 1, 8, at(5)), window(4, 9, at(6))], at=at(6))
    assert verify(session_factory, at(6)).first == ()
    run_due(session_factory, at(9))
    assert removed(session_factory) == ["t"]
    assert verify(session_factory, at(9)).first == ()
