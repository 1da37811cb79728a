"""One history for each condition by which rows with only a date are placed: what is stored of it is right.

The histories stand right at the limits: with any one condition of `core/verify/placement_checks.py` changed, something
is found to be wrong here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import balance, event
from tests.chaos.oracle.placement import Record
from tests.conftest import Apply
from tests.verify.test_placed_rows import NOW, body_of, booked, moment

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
INSTANT, QUARTER = timedelta(microseconds=1), timedelta(minutes=15)
# Three balances, a day apart.
BEFORE, P, Q = moment(-1, 10), moment(0, 10), moment(1, 10)
NOON = moment(0, 12)
LAST_INSTANT, ALMOST_MIDNIGHT = moment(1, 0) - INSTANT, moment(0, 23, 55)

# A row with a date: id, amount, day, first report. With an instant: the instant in place of the day.
Row = tuple[str, int, int | datetime, datetime]


def stated_of(account: str, worths: dict[datetime, int], *rows: Row) -> list[bytes]:
    """The events of an account."""
    found = [balance(worth, at, account) for at, worth in worths.items()]
    for name, minor, when, reported in rows:
        if isinstance(when, datetime):
            found.append(body_of(Record(name, reported, f"{name} {reported}", minor, None, when), account))
        else:
            found.append(booked(name, minor, when, reported, account))
    return found


def worths(last: int, p: datetime = P) -> dict[datetime, int]:
    """Nothing moves until the second balance; the third one is given."""
    return {p - DAY: 1000, p: 1000, p + DAY: last}


# The rows that came before all balances, long ago.
OLD: Row = ("0", 1000, -20, moment(-9, 9))

# By name: the worths, the rows, and which of them the balances move away from where they would be by first reports.
MOVED: dict[str, tuple[dict[datetime, int], list[Row], str]] = {
    "with the balance": (worths(1100), [("r", 100, 0, P)], "r"),
    "15 minutes after, included": (worths(1000), [("r", 100, 0, P + QUARTER)], ""),
    "later than that, not included": (worths(1100), [("r", 100, 0, P + QUARTER + INSTANT)], ""),
    "later than that, included": (worths(1000), [("r", 100, 0, P + QUARTER + INSTANT)], "r"),
    "with the next balance": (worths(1000), [("r", 100, 0, Q)], "r"),
    "a day before, not included": (worths(1100), [("r", 100, -1, Q)], "r"),
    "a week before, not included": (worths(1100), [("r", 100, -7, Q)], "r"),
    "more than a week before": (worths(1100), [("r", 100, -8, Q)], ""),
    "of its own day, not twice": (worths(1200), [("r", 100, 0, NOON)], ""),
    "of the week before, reported with it": (worths(1100), [("r", 100, -2, P + MINUTE)], ""),
    "of the next day, reported with it": (
        worths(1200, ALMOST_MIDNIGHT),
        [("r", 100, 1, ALMOST_MIDNIGHT + 10 * MINUTE)],
        "",
    ),
    "reported with it, after midnight": (
        worths(1100, ALMOST_MIDNIGHT),
        [("r", 100, 0, ALMOST_MIDNIGHT + 10 * MINUTE)],
        "r",
    ),
    "placed at the last instant, which is the balance's": (
        worths(900, LAST_INSTANT),
        [("r", 100, 0, moment(1, 9))],
        "",
    ),
    "all with it before all of the week": (worths(1100), [("b", 100, -2, Q), ("t", 100, 0, P)], "t"),
    "all of the week before all of the day": (worths(1000), [("a", -100, 0, NOON), ("b", 100, -2, Q)], "b"),
    "all of the week before one with it": (worths(1100), [("b", 100, -2, Q), ("t", 100, 0, P), ("u", 30, 0, P)], "b"),
    "all of the day before one with it": (
        worths(1000),
        [("a", -60, 0, NOON), ("b", -40, 0, NOON), ("t", 100, 0, P), ("u", 30, 0, P)],
        "ab",
    ),
    "one with it before one of the day": (
        worths(1005),
        [("a", -100, 0, NOON), ("b", 5, 0, NOON), ("t", 100, 0, P), ("u", 30, 0, P)],
        "t",
    ),
    "one of the day before one of the week": (
        worths(1005),
        [("a", -100, 0, NOON), ("b", 100, -2, NOON), ("c", 7, -2, NOON), ("d", 5, 0, NOON)],
        "a",
    ),
    "one of the week": (worths(1100), [("b", 100, -2, NOON), ("c", 7, -2, NOON)], "b"),
    "of equal ones with it the least id": (worths(1100), [("a", 100, 0, P), ("B", 100, 0, P), ("c", 30, 0, P)], "B"),
    "of equal ones of the day the least id": (
        worths(1100),
        [("a", 100, 0, NOON), ("B", 100, 0, NOON), ("c", 30, 0, NOON + HOUR), ("d", -30, 0, NOON)],
        "B",
    ),
    "of equal ones of the week the least id": (
        worths(1100),
        [("a", 100, -2, NOON), ("B", 100, -2, NOON), ("c", 30, -2, NOON)],
        "B",
    ),
    "stated again, not included": (worths(1100), [("r", 100, 0, P), ("r", 100, 0, NOON)], "r"),
    # In the last interval there is a gap, or nobody would look.
    "together nothing": (worths(1000) | {Q + DAY: 1300}, [("r", 50, 0, P), ("s", -50, 0, P)], ""),
    "of the week together nothing": (worths(1000), [("r", 50, -2, NOON), ("s", -50, -2, NOON)], ""),
    "of the day together nothing": (worths(1000), [("r", 50, 0, NOON), ("s", -50, 0, NOON)], ""),
    "only one of a sum": (worths(1050), [("r", 50, 0, P), ("s", 20, 0, P)], "r"),
    "no part in the interval before": (
        {P - HOUR: 1000, P: 1000, Q: 1100},
        [("a", 60, 0, P - 40 * MINUTE), ("b", 25, 0, P - 40 * MINUTE), ("r", 100, 0, P)],
        "abr",
    ),
    "one with each balance, from the latest on": (
        {BEFORE: 1000, P: 1040, Q: 1140},
        [("t", 40, -1, BEFORE), ("u", 7, -1, BEFORE), ("r", 100, 0, P)],
        "tr",
    ),
    "one with each balance of a day": (
        {P - HOUR: 1000, P: 900, Q: 1000},
        [("t", -100, 0, P - HOUR), ("u", 7, 0, P - HOUR), ("r", 100, 0, P)],
        "tr",
    ),
    "reported after the next balance": ({BEFORE: 1000, P: 1100, Q: 1100}, [("r", 100, P - HOUR, P + 5 * MINUTE)], ""),
    "an instant reported at the next balance": ({BEFORE: 1000, P: 1100, Q: 1100}, [("r", 100, P - HOUR, P)], ""),
    "an instant at the balance": ({BEFORE: 1000, P: 1100, Q: 1100}, [("r", 100, P, P - HOUR)], ""),
    "an instant with it is not of it": (worths(1100), [("r", 100, P - HOUR, P + MINUTE)], ""),
}
# Without old rows: the first row is reported at noon, and what comes within 15 minutes of it is history.
FIRST: Row = ("first", 5, NOON + HOUR, NOON)
HISTORY: dict[str, tuple[dict[datetime, int], list[Row], str]] = {
    "history": (worths(1105), [FIRST, ("r", 100, -2, NOON + QUARTER)], ""),
    "no history any more": (worths(1105), [FIRST, ("r", 100, -2, NOON + QUARTER + INSTANT)], "r"),
    "history of the day of the balance": (worths(1005), [FIRST, ("r", 100, 0, NOON + MINUTE)], "r"),
}


def test_rows_at_the_limits_are_placed_right(session_factory: Sessions, apply: Apply) -> None:
    """Balances move rows where they should, and the verification finds nothing wrong."""
    for table, rows_before in ((MOVED, [OLD]), (HISTORY, [])):
        for account, (reports, rows, _) in table.items():
            apply(stated_of(account, reports, *rows_before, *rows), at=NOW)
    # What is owed is less worth.
    apply([balance(owed, at, "a debt", kind="liability") for at, owed in worths(900).items()], at=NOW)
    apply(stated_of("a debt", {}, ("r", 100, 0, P)), at=NOW)
    # One that is removed, one that is pending, and one that another replaces count in no interval.
    others = [OLD, ("removed", 40, 0, NOON), ("replaced", 50, 0, P)]
    apply(stated_of("others do not count", worths(1170), ("r", 100, 0, P), ("new", 70, NOON, NOON), *others), at=NOW)
    apply([body_of(Record("removed", NOON + HOUR, "removal"), "others do not count")], at=NOW)
    apply([booked("pending", 30, 0, NOON, "others do not count", pending=True)], at=NOW)
    replacing = Record("new", NOON + HOUR, "replacing", 70, None, NOON)
    apply([body_of(replacing, "others do not count", replaces="replaced")], at=NOW)
    assert verify(session_factory, NOW).first == ()
    with session_factory() as session:
        moved = set(Sql("SELECT account_id FROM reports WHERE has_moved").values(session, {}))
        placed = Sql("SELECT account_id, transaction_id, posted_at FROM transactions").rows(session, {})
    histories = MOVED | HISTORY
    assert moved == {account for account, (_, _, names) in histories.items() if names} | {
        "a debt",
        "others do not count",
    }
    # What moves is placed at a balance, or after it by its first report, its day or the next instant.
    at = {(account, name): posted_at for account, name, posted_at in placed}
    for account, (reports, rows, names) in histories.items():
        for name, _, when, _ in rows:
            if not isinstance(when, datetime):
                reported = min(each[3] for each in rows if each[0] == name)
                usual = max([as_of for as_of in reports if as_of <= reported <= as_of + QUARTER], default=reported)
                day = (moment(when, 0), moment(when + 1, 0) - INSTANT)
                is_usual = at[account, name] == min(max(usual, day[0]), day[1])
                assert is_usual == (name not in names), (account, name)


# Rows of one day and amount, by id: when each was first reported, and when it was removed.
LENT: dict[str, tuple[dict[str, tuple[datetime, datetime | None]], dict[str, datetime]]] = {
    "one to the next": ({"x": (moment(0, 9), NOON), "y": (moment(0, 11), None)}, {"y": moment(0, 9)}),
    "none to one of the same time": ({"x": (moment(0, 9), NOON), "y": (moment(0, 9), None)}, {}),
    "none to one before": ({"x": (moment(0, 9), NOON), "y": (moment(0, 8), None)}, {}),
    "two to two": (
        {"a": (moment(0, 8), NOON), "b": (moment(0, 9), NOON), "y": (moment(0, 10), None), "z": (moment(0, 11), None)},
        {"y": moment(0, 8), "z": moment(0, 9)},
    ),
    "in turn": (
        {"a": (moment(0, 8), NOON), "y": (moment(0, 9), None), "b": (moment(0, 10), NOON), "z": (moment(0, 11), None)},
        {"y": moment(0, 8), "z": moment(0, 10)},
    ),
    "not past one that came before": (
        {
            "x": (moment(0, 7), None),
            "a": (moment(0, 8), NOON),
            "b": (moment(0, 8, 30), NOON),
            "y": (moment(0, 9), None),
        },
        {"y": moment(0, 8)},
    ),
    "of one time to the least id": (
        {"x": (moment(0, 9), NOON), "a": (moment(0, 11), None), "B": (moment(0, 11), None)},
        {"B": moment(0, 9)},
    ),
    "by time and not by id": (
        {"z": (moment(0, 8), NOON), "a": (moment(0, 9), NOON), "b": (moment(0, 10), None), "y": (moment(0, 11), None)},
        {"b": moment(0, 8), "y": moment(0, 9)},
    ),
    "by the order of ids at one time": (
        {"a": (moment(0, 9), NOON), "B": (moment(0, 9), NOON), "y": (moment(0, 11), None), "z": (moment(0, 11), None)},
        {"y": moment(0, 9), "z": moment(0, 9)},
    ),
    "removed when it was booked": (
        {"x": (moment(0, 9), moment(0, 9)), "y": (moment(0, 11), None)},
        {"y": moment(0, 9)},
    ),
}


def test_old_ids_lend_their_places_right(session_factory: Sessions, apply: Apply) -> None:
    """To rows of the same day and amount alone, each once; what is kept of removed and pending rows is right."""
    expected = set()
    for account, (rows, lent) in LENT.items():
        for name, (reported, removed_at) in rows.items():
            apply([booked(name, 50, 0, reported, account)], at=NOW)
            if removed_at is not None:
                apply([body_of(Record(name, removed_at, f"{name} removed"), account)], at=NOW)
        # Rows of the next day, and of another amount, have an old id of their own.
        for day, minor, hour in ((1, 50, 13), (0, 51, 14)):
            names = [f"{day} {minor} {each}" for each in ("old", "new")]
            at = [moment(0, hour), moment(0, 15)]
            apply([booked(n, minor, day, t, account) for n, t in zip(names, at, strict=True)], at=NOW)
            apply([body_of(Record(names[0], moment(0, 16), f"{names[0]} removed"), account)], at=NOW)
            expected.add((account, names[1], at[0]))
        expected |= {(account, name, at) for name, at in lent.items()}
    # A row that another one replaces does not count, so it is lent nothing; one that is pending again lends nothing.
    apply([booked("x", 50, 0, moment(0, 9), "replaced"), booked("y", 50, 0, moment(0, 11), "replaced")], at=NOW)
    apply([body_of(Record("x", NOON, "x removed"), "replaced")], at=NOW)
    apply([booked("z", 70, 0, NOON, "replaced", replaces="y")], at=NOW)
    apply([booked("x", 50, 0, moment(0, 9), "pending"), booked("y", 50, 0, moment(0, 11), "pending")], at=NOW)
    apply([booked("x", 50, 0, NOON, "pending", pending=True)], at=NOW)
    # A row that was stated again stands since its first report.
    apply([booked("x", 50, 0, moment(0, 9), "again"), booked("y", 50, 0, moment(0, 8), "again")], at=NOW)
    apply([booked("y", 50, 0, moment(0, 11), "again"), body_of(Record("x", NOON, "x removed"), "again")], at=NOW)
    # A pull of the day has two rows in the place of two, one of which was stated twice.
    apply([booked(name, 50, 0, moment(0, 9), "pulled") for name in "xy"], at=NOW)
    apply([booked("x", 50, 0, moment(0, 8), "pulled")], at=NOW)
    days = {"account_id": "pulled", "from": "2026-03-01", "through": "2026-03-31"}
    apply([event("window.reported", NOON, "window", days, "s")], at=NOW)
    apply([booked(name, 50, 0, NOON, "pulled") for name in "uv"], at=NOW)
    expected |= {("pulled", "u", moment(0, 8)), ("pulled", "v", moment(0, 9))}
    with session_factory() as session:
        question = Sql("SELECT account_id, transaction_id, lent_at FROM transactions WHERE lent_at IS NOT NULL")
        assert set(question.rows(session, {})) == expected
    assert verify(session_factory, NOW).first == ()
