"""The verification places rows with only a date as they are stored, and finds what was altered of them by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from milepost.embedded.postgres import EmbeddedPostgres
from tests.acts import balance, event, money
from tests.budget import examples
from tests.chaos.oracle.placement import Record
from tests.conftest import Apply, _named, _run
from tests.unit.events.test_placement import DAY_0, ZONES, histories
from tests.verify.conftest import sessions_on

NOW = DAY_0 + timedelta(days=9)
_names = itertools.count(1)

History = tuple[list[Record], dict[datetime, int]]


@st.composite
def lagging_banks(draw: st.DrawFn) -> History:
    """A pull every few hours, with balances that hold none, all or some of the rows that came with them or before."""
    records: list[Record] = []
    reports: dict[datetime, int] = {}
    at, true_worth = DAY_0 + timedelta(hours=draw(st.integers(0, 20))), 100
    names = itertools.count(1)
    late: list[int] = []
    for _ in range(draw(st.integers(2, 12))):
        fresh = draw(st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3]), max_size=3))
        for amount in fresh:
            reported = at + timedelta(minutes=draw(st.sampled_from([0, 0, 0, 3, 15, 16, 60])))
            day = (at + timedelta(days=draw(st.sampled_from([0, 0, 0, 0, -1, -2, -8, 1])))).date()
            name = f"r{next(names)}"
            records.append(Record(name, reported, name, amount, day))
        reports[at] = true_worth + draw(st.sampled_from([sum(late), sum(late), sum(late) + sum(fresh), sum(fresh[:1])]))
        true_worth, late = true_worth + sum(late), fresh
        at += timedelta(hours=draw(st.sampled_from([4, 9, 24])))
    return records, reports


def body_of(record: Record, account: str, **more: object) -> bytes:
    """The event of a record."""
    data: dict[str, Any] = {"account_id": account, "transaction_id": record.name}
    if record.is_removal:
        return event("transaction.removed", record.time, record.event_id, data, "s")
    posted_at = record.day if record.instant is None else record.instant
    assert posted_at is not None
    data |= {"amount": money(record.amount), "currency": "USD", "posted_at": posted_at.isoformat()}
    data |= {"pending": record.is_pending} | more
    return event("transaction.recorded", record.time, record.event_id, data, "s")


def tenant_of(session_factory: Sessions, zone: ZoneInfo) -> str:
    """A new tenant of a time zone."""
    name = f"t{next(_names)}"
    with session_factory.begin() as session:
        create_tenant(session, name, zone.key, DAY_0 - timedelta(days=9))
    return name


def booked(name: str, minor: int, day: int, at: datetime, account: str, **more: object) -> bytes:
    """A row that has only a date."""
    record = Record(name, at, f"{name} {at}", minor, (DAY_0 + timedelta(days=day)).date())
    return body_of(record, account, **more)


def bodies(account: str, history: History) -> list[bytes]:
    """The events of a history."""
    records, reports = history
    found = [body_of(record, account) for record in records]
    return found + [balance(worth, at, account) for at, worth in reports.items()]


@st.composite
def changes(draw: st.DrawFn, account: str) -> list[bytes]:
    """A row that takes the place of another, and the account's kind."""
    found = []
    at = DAY_0 + timedelta(hours=draw(st.integers(0, 99)))
    if draw(st.booleans()):
        found.append(booked("another", 2, draw(st.integers(-1, 4)), at, account, replaces="r1"))
    if draw(st.booleans()):
        data = {"account_id": account, "kind": draw(st.sampled_from(["asset", "liability"]))}
        found.append(event("account.changed", at, f"kind {at}", data))
    return found


@settings(max_examples=examples(25))
@given(
    made=st.lists(st.one_of(histories(), lagging_banks()), min_size=1, max_size=6),
    zone=st.sampled_from([*ZONES, ZoneInfo("America/Havana")]),
    data=st.data(),
)
def test_whatever_is_applied_is_right(
    session_factory: Sessions, apply: Apply, made: list[History], zone: ZoneInfo, data: st.DataObject
) -> None:
    """After some of the facts, and after all of them, in any order and parts, nothing is wrong."""
    tenant = tenant_of(session_factory, zone)
    events = []
    for number, history in enumerate(made):
        events += bodies(f"a{number}", history) + data.draw(changes(f"a{number}"))
    left = data.draw(st.permutations(events))
    half = data.draw(st.integers(0, len(left)))
    for part in (left[:half], left[half:]):
        while part:
            size = data.draw(st.integers(1, 9))
            apply(part[:size], tenant=tenant, at=NOW)
            part = part[size:]
        assert verify(session_factory, NOW, tenant=tenant).first == ()


def moment(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment of a day, counted from the first."""
    return DAY_0 + timedelta(days=day, hours=hour, minutes=minute)


@pytest.fixture(scope="module")
def placed_template(postgres: EmbeddedPostgres, template: str) -> str:
    """A database of accounts with rows that moved for each reason, a row with a new id, and rows that do not count."""
    name = f"placed_template_{next(_names)}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    sessions = sessions_on(_named(postgres, name))

    def apply(events: list[bytes]) -> None:
        with sessions.begin() as session:
            apply_events(session, [StreamEntry(0, f"1-{next(_names)}", NOW, "default", body) for body in events], NOW)

    ten, next_ten = moment(0, 10), moment(1, 10)
    for account, worth in (("of balance", 1100), ("own day", 1000), ("earlier", 1100)):
        apply([balance(1000, ten, account), balance(worth, next_ten, account)])
        apply([booked("history", 1000, -20, ten, account)])
    apply([booked("r", 100, 0, ten, "of balance")])
    apply([booked("r", 100, 0, moment(0, 10, 20), "own day")])
    apply([booked("r", 100, -2, next_ten, "earlier")])
    apply([booked("old", 50, 0, moment(0, 9), "lent"), booked("new", 50, 0, moment(0, 12), "lent")])
    apply([body_of(Record("old", moment(0, 12), "removal"), "lent")])
    apply([booked("back", 7, 0, moment(0, 9), "lent"), booked("back", 7, 1, moment(0, 8), "lent")])
    apply([booked("back", 8, 0, moment(1, 9), "lent", pending=True)])
    apply([booked("again", 9, 0, moment(0, 9), "lent"), booked("again", 9, 0, moment(0, 11), "lent")])
    apply([booked("ahead", 9, 30, moment(0, 9), "lent")])
    sessions.close()
    return name


@pytest.fixture
def placed(postgres: EmbeddedPostgres, placed_template: str) -> Iterator[Sessions]:
    """A copy of that database."""
    name = f"placed_{next(_names)}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {placed_template} STRATEGY FILE_COPY")
    with sessions_on(_named(postgres, name)) as sessions:
        yield sessions
    _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def wrong_after(sessions: Sessions, statement: str) -> set[tuple[str, str, str | None, str]]:
    """What is wrong after one row was changed by hand, as (check, account, row, column)."""
    with sessions.begin() as session:
        done = Sql(statement).run(session, {})
        assert done == 1
    found = verify(sessions, NOW).first
    return {(each.check, each.key["account_id"], each.key.get("transaction_id"), each.what) for each in found}


def test_rows_moved_for_every_reason_are_right(placed: Sessions) -> None:
    """The rows are placed where balances show them, and nothing is wrong."""
    with placed() as session:
        found = Sql(
            "SELECT account_id, posted_at FROM transactions WHERE transaction_id = 'r' ORDER BY account_id"
        ).rows(session, {})
        moved = Sql("SELECT account_id FROM reports WHERE has_moved ORDER BY account_id").values(session, {})
    after = moment(0, 10) + timedelta(microseconds=1)
    last = moment(1, 0) - timedelta(microseconds=1)
    assert found == [("earlier", last), ("of balance", after), ("own day", moment(0, 10))]
    assert moved == ["earlier", "of balance", "own day"]
    assert verify(placed, NOW).first == ()


@pytest.mark.parametrize("account", ["of balance", "own day", "earlier"])
@pytest.mark.parametrize("name", ["r", "history"])
def test_an_altered_place_is_found(placed: Sessions, account: str, name: str) -> None:
    """Of rows that moved, and of others."""
    where = f"WHERE account_id = '{account}' AND transaction_id = '{name}'"
    wrong = wrong_after(placed, f"UPDATE transactions SET posted_at = posted_at + interval '1 second' {where}")
    assert {each for each in wrong if each[0] == "places"} == {("places", account, name, "posted_at")}


@pytest.mark.parametrize("name", ["ahead", "back"])
def test_an_altered_place_of_a_row_that_does_not_count_is_found(placed: Sessions, name: str) -> None:
    """A row that waits, and one that is pending, are placed within their days too."""
    where = f"WHERE account_id = 'lent' AND transaction_id = '{name}'"
    wrong = wrong_after(placed, f"UPDATE transactions SET posted_at = posted_at + interval '1 second' {where}")
    assert wrong == {("places", "lent", name, "posted_at")}


@pytest.mark.parametrize("change", ["gap_minor = gap_minor + 1", "has_moved = NOT has_moved"])
@pytest.mark.parametrize("account", ["of balance", "own day", "earlier"])
@pytest.mark.parametrize("which", ["min", "max"])
def test_an_altered_interval_is_found(placed: Sessions, change: str, account: str, which: str) -> None:
    """What is kept with a balance of the time since the one before; with the first one nothing is."""
    where = f"account_id = '{account}' AND as_of = (SELECT {which}(as_of) FROM reports WHERE account_id = '{account}')"
    wrong = wrong_after(placed, f"UPDATE reports SET {change} WHERE {where}")
    assert wrong == {("places", account, None, change.split()[0])}


# By statement about one row: the columns in which something is wrong.
ALTERED = [
    ("new", "lent_at = NULL", {"lent_at", "posted_at"}),
    ("new", "lent_at = lent_at - interval '1 hour'", {"lent_at", "posted_at"}),
    ("again", "lent_at = event_time - interval '5 hours'", {"lent_at", "posted_at"}),
    ("again", "first_reported = event_time", {"first_reported", "posted_at"}),
    ("again", "first_reported = event_time + interval '1 hour'", {"first_reported", "posted_at"}),
    ("again", "booked_rank = '2026-03-27T09:00:00.000000'", {"booked_rank"}),
    ("again", "booked_minor = 9", {"booked_minor"}),
    ("again", "booked_on = '2026-03-27'", {"booked_on"}),
    ("again", "dated = '2026-03-28'", {"posted_at"}),
    ("back", "first_reported = NULL", {"first_reported", "posted_at", "first_recorded_at"}),
    ("back", "first_reported = event_time", {"first_reported", "posted_at", "first_recorded_at", "last_recorded_at"}),
    ("back", "booked_rank = NULL", {"first_reported", "booked_rank", "booked_minor", "booked_on"}),
    ("back", "booked_rank = '2026-03-29T09:00:00.000000'", {"booked_rank"}),
    ("back", "booked_minor = NULL", {"booked_minor", "booked_rank"}),
    ("old", "booked_on = '2026-03-26'", {"lent_at"}),
    ("old", "booked_minor = 51", {"lent_at"}),
    ("old", "first_reported = first_reported - interval '2 hours'", {"lent_at", "first_recorded_at"}),
]


@pytest.mark.parametrize(("name", "change", "columns"), ALTERED)
def test_altered_first_reports_are_found(placed: Sessions, name: str, change: str, columns: set[str]) -> None:
    """What is kept of records that no longer count, and what is lent, fits together, and rows are placed by it."""
    where = f"account_id = 'lent' AND transaction_id = '{name}'"
    wrong = wrong_after(placed, f"UPDATE transactions SET {change} WHERE {where}")
    assert {(account, column) for _, account, _, column in wrong} >= {("lent", column) for column in columns}
    assert {column for check, _, _, column in wrong if check in {"first_reports", "places"}} <= columns


@pytest.mark.parametrize(
    "change",
    [
        "first_recorded_at = first_recorded_at + interval '1 second'",
        "first_recorded_at = NULL",
        "last_recorded_at = last_recorded_at - interval '1 second'",
        "last_recorded_at = NULL",
        "lends = false",
        "has_dates = false",
    ],
)
def test_altered_times_of_an_account_are_found(placed: Sessions, change: str) -> None:
    """Whether its rows lend, whether any has only a date, and the first and the last of all first reports."""
    wrong = wrong_after(placed, f"UPDATE accounts SET {change} WHERE account_id = 'lent'")
    assert wrong == {("accounts", "lent", None, change.split()[0])}


def test_what_is_kept_of_intervals_begins_with_the_first_date(session_factory: Sessions, apply: Apply) -> None:
    """Instants alone leave nothing; with the first date, balances and late rows before it are those that come after."""

    def instant(name: str, minor: int, at: datetime, reported: datetime, account: str) -> bytes:
        return body_of(Record(name, reported, f"{name} {reported}", minor, None, at), account)

    def gaps(account: str) -> list[int]:
        with session_factory() as session:
            read = Sql("SELECT gap_minor FROM reports WHERE account_id = :account ORDER BY as_of")
            return list(read.values(session, {"account": account}))

    def before(account: str) -> list[bytes]:
        found = [balance(worth, moment(day, 10), account) for day, worth in enumerate((1000, 1300, 1400))]
        found.append(instant("in time", 200, moment(0, 12), moment(0, 13), account))
        return [*found, instant("late", 30, moment(0, 12), moment(4, 12), account)]

    def first_date(account: str) -> list[bytes]:
        # Another late row comes in the same batch.
        late = instant("late too", 7, moment(1, 12), moment(4, 12), account)
        return [booked("r", 100, 1, moment(1, 10), account), late]

    apply(before("instants first"), at=NOW)
    assert gaps("instants first") == [0, 0, 0]
    assert verify(session_factory, NOW).first == ()
    apply(first_date("instants first"), at=NOW)
    apply([*first_date("date first"), *before("date first")], at=NOW)
    # The second balance was reported beyond 200; the third one shows that the row of its pull was not in the second.
    assert gaps("instants first") == gaps("date first") == [0, 100, 100]
    assert verify(session_factory, NOW).first == ()


@pytest.mark.parametrize("days", [2, 3, 7])
def test_one_gap_may_move_rows_of_many_intervals(session_factory: Sessions, apply: Apply, days: int) -> None:
    """Each balance includes the row that came with it, until the last one shows that none included its own."""
    apply([balance(1000 + day, moment(day, 10), "a") for day in range(days)], at=NOW)
    apply([booked(f"r{day}", 1, day, moment(day, 10), "a") for day in range(days)], at=NOW)
    apply([booked("history", 1000, -20, moment(0, 9), "a")], at=NOW)
    assert verify(session_factory, NOW).first == ()
    apply([balance(1000 + days, moment(days, 10), "a")], at=NOW)
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM reports WHERE has_moved").value(session, {}) == days
    assert verify(session_factory, NOW).first == ()
