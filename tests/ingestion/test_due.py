"""Facts that are dated ahead are kept, and count by themselves once their time has come."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.goals.goal import GoalType, Tracking
from core.ingestion.due import apply_due
from core.jobs.due import DueCounted, run_due
from core.jobs.snapshot import run_snapshot
from core.services.inputs import MilestoneDraft
from core.services.milestones import add_milestone
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Session, Sql
from core.store.due import find_due
from core.verify.verify import verify
from tests.acts import DEFAULT, amount, event, goal, link, money
from tests.budget import examples
from tests.conftest import Apply
from tests.ingestion.oracle import OracleAccount, apply_fact

HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
# The fixture's present: noon.
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 11, tzinfo=UTC)
CREATED = NOON - 9 * DAY
_names = itertools.count(1)


def recorded(posted_at: object, minor: int = 500_00, time: datetime = NOON, name: str = "t", **more: Any) -> bytes:
    """A transaction of account `a`, stated at `time`."""
    data = {"account_id": "a", "transaction_id": name, "amount": money(minor), "currency": "USD"}
    data |= {"posted_at": posted_at.isoformat() if isinstance(posted_at, datetime) else posted_at} | more
    return event("transaction.recorded", time, f"{name} {next(_names)}", data)


def removed(time: datetime, name: str = "t") -> bytes:
    """Its removal."""
    return event("transaction.removed", time, f"r{next(_names)}", {"account_id": "a", "transaction_id": name})


def reported(as_of: object, minor: int, time: datetime = NOON) -> bytes:
    """A balance of account `a`."""
    text_of = as_of.isoformat() if isinstance(as_of, datetime) else as_of
    data = {"account_id": "a", "current": money(minor), "currency": "USD", "as_of": text_of}
    return event("balance.reported", time, f"b{next(_names)}", data)


@pytest.fixture
def saving(session_factory: Sessions) -> str:
    """A goal that counts the changes of account `a`."""
    goal_id = goal(session_factory, CREATED)
    link(session_factory, CREATED, goal_id, "a", "100")
    return goal_id


@pytest.fixture
def at(session_factory: Sessions, saving: str) -> Callable[[datetime], int]:
    """The goal's amount once the job has run at a moment; what is stored is then as the facts say."""

    def amount_at(moment: datetime) -> int:
        run_due(session_factory, moment)
        assert verify(session_factory, moment).first == ()
        return amount(session_factory, saving)

    return amount_at


@pytest.mark.parametrize(
    ("posted_at", "due_at"),
    [
        ("2026-03-11", MIDNIGHT),
        ("2026-03-12", MIDNIGHT + DAY),
        ("2026-06-30", datetime(2026, 6, 30, tzinfo=UTC)),
        (NOON + DAY + SECOND, NOON + SECOND),
        (NOON + 20 * DAY, NOON + 19 * DAY),
    ],
)
def test_a_transaction_that_is_dated_ahead_counts_when_it_is_due(
    apply: Apply, session_factory: Sessions, at: Callable[[datetime], int], posted_at: object, due_at: datetime
) -> None:
    """A date counts when its local day begins, an instant a day before: not a second earlier, and once."""
    applied = apply([recorded(posted_at)])
    assert (applied.dead_letters, applied.duplicates) == (0, 0)
    assert at(NOON) == 0
    assert at(due_at - SECOND) == 0
    assert at(due_at) == 500_00
    assert run_due(session_factory, due_at) == DueCounted()
    assert at(due_at + 30 * DAY) == 500_00


@pytest.mark.parametrize("posted_at", ["2026-03-10", NOON + DAY, NOON + 3 * HOUR])
def test_what_is_due_on_arrival_counts_at_once(
    apply: Apply, at: Callable[[datetime], int], session_factory: Sessions, posted_at: object
) -> None:
    """A date whose day has begun, and an instant at most a day ahead, wait for nothing."""
    apply([recorded(posted_at)])
    with session_factory() as session:
        assert Sql("SELECT due_at FROM transactions").value(session, {}) is None
    assert at(NOON) == 500_00


@pytest.mark.parametrize(("zone", "begins_at"), [("Pacific/Auckland", -13), ("America/New_York", 4)])
def test_a_date_begins_with_the_day_of_its_tenant(
    apply: Apply, session_factory: Sessions, zone: str, begins_at: int
) -> None:
    """The eleventh begins earlier in the east, and later in the west."""
    with session_factory.begin() as session:
        create_tenant(session, "there", zone, CREATED)
    begins = MIDNIGHT + begins_at * HOUR

    def worth() -> int:
        with session_factory() as session:
            return Sql("SELECT worth_minor FROM accounts").one(session, {})[0]

    apply([recorded("2026-03-11", time=begins - 2 * DAY)], tenant="there", at=begins - SECOND)
    assert worth() == 0
    run_due(session_factory, begins - SECOND)
    assert worth() == 0
    run_due(session_factory, begins)
    assert worth() == 500_00


def test_a_report_that_is_dated_ahead_counts_a_day_before_its_time(
    apply: Apply, session_factory: Sessions, at: Callable[[datetime], int]
) -> None:
    """Until then it is no report of the account, for worth and for goals; the later statement about it wins."""
    apply([recorded("2026-03-09", 70_00), reported(NOON + 3 * DAY, 900_00)])
    apply([reported(NOON + 3 * DAY, 600_00, NOON - HOUR)])
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM reports").value(session, {}) == 0
        assert Sql("SELECT last_report_at FROM accounts").values(session, {}) == [None]
        assert Sql("SELECT current_minor FROM waiting_reports").values(session, {}) == [900_00]
    assert at(NOON + DAY) == 70_00
    apply([reported(NOON + 3 * DAY, 800_00, NOON + HOUR)], at=NOON + DAY)
    assert at(NOON + 2 * DAY) == 70_00
    with session_factory() as session:
        row = Sql("SELECT worth_minor, opening_minor, last_report_at FROM accounts").one(session, {})
        assert tuple(row) == (800_00, 730_00, NOON + 3 * DAY)
        assert Sql("SELECT count(*) FROM waiting_reports").value(session, {}) == 0


def test_milestones_days_and_messages_follow_when_it_is_due(
    apply: Apply, session_factory: Sessions, saving: str, at: Callable[[datetime], int]
) -> None:
    """As if it had arrived then: the milestone is reached and its message written, and no day before has the money."""
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, saving, MilestoneDraft("400"), CREATED)
    apply([recorded("2026-03-12")])
    reached = Sql("SELECT reached_at, (SELECT count(*) FROM outbox WHERE type = 'milestone.reached') FROM milestones")
    with session_factory() as session:
        assert reached.one(session, {}) == (None, 0)
    assert at(MIDNIGHT + DAY) == 500_00
    with session_factory() as session:
        assert reached.one(session, {}) == (MIDNIGHT + DAY, 1)
    run_snapshot(session_factory, MIDNIGHT + 2 * DAY)
    with session_factory() as session:
        days = Sql("SELECT day::text, amount_minor FROM goal_snapshots ORDER BY day DESC").rows(session, {})
    assert tuple(days[0]) == ("2026-03-12", 500_00)
    assert {minor for _, minor in days[1:]} == {0}
    assert verify(session_factory, MIDNIGHT + 2 * DAY).first == ()


def test_days_that_were_closed_before_it_was_counted_are_written_again(
    apply: Apply, session_factory: Sessions, at: Callable[[datetime], int]
) -> None:
    """If the job did not run for days, the closes are those of an installation where it did."""
    apply([recorded("2026-03-12")])
    run_snapshot(session_factory, MIDNIGHT + 4 * DAY)
    assert at(MIDNIGHT + 4 * DAY) == 500_00
    run_snapshot(session_factory, MIDNIGHT + 4 * DAY)
    with session_factory() as session:
        found = Sql("SELECT day::text FROM goal_snapshots WHERE amount_minor = 50000").rows(session, {})
    assert [day for (day,) in found] == ["2026-03-12"]
    assert verify(session_factory, MIDNIGHT + 4 * DAY).first == ()


WHILE_IT_WAITS: list[tuple[str, bytes, int, int]] = [
    ("the same once more", recorded("2026-03-12"), 0, 500_00),
    ("pulled again, at a later time", recorded("2026-03-12", time=NOON + HOUR), 0, 500_00),
    ("another amount", recorded("2026-03-12", 300_00, NOON + HOUR), 0, 300_00),
    ("another amount, stated before", recorded("2026-03-12", 300_00, NOON - HOUR), 0, 500_00),
    ("removed", removed(NOON + HOUR), 0, 0),
    ("removed at the same time", removed(NOON), 0, 0),
    ("removed before it was stated", removed(NOON - HOUR), 0, 500_00),
    ("pending after all", recorded("2026-03-12", time=NOON + HOUR, pending=True), 0, 0),
    ("dated today after all", recorded("2026-03-10", time=NOON + HOUR), 500_00, 500_00),
    ("dated later", recorded("2026-04-12", time=NOON + HOUR), 0, 0),
    ("dated today, stated before", recorded("2026-03-10", time=NOON - HOUR), 0, 500_00),
    ("replaced by one that counts", recorded("2026-03-10", 40_00, NOON, "u", replaces="t"), 40_00, 40_00),
]


@pytest.mark.parametrize("is_swapped", [False, True])
@pytest.mark.parametrize(("_what", "other", "now", "then"), WHILE_IT_WAITS, ids=[each[0] for each in WHILE_IT_WAITS])
def test_the_later_statement_wins_while_it_waits(
    apply: Apply,
    session_factory: Sessions,
    at: Callable[[datetime], int],
    _what: str,
    other: bytes,
    now: int,
    then: int,
    is_swapped: bool,
) -> None:
    """Removed, corrected, dated otherwise: the time decides as always, in either order, and there is one row a key."""
    waits = recorded("2026-03-12")
    for each in (other, waits) if is_swapped else (waits, other):
        apply([each], at=NOON + HOUR)
    assert at(NOON + HOUR) == now
    assert at(MIDNIGHT + DAY) == then
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM transactions WHERE transaction_id = 't'").value(session, {}) == 1
        assert Sql("SELECT count(*) FROM dead_letters").value(session, {}) == 0


@pytest.mark.parametrize("meanwhile", [recorded("2026-04-12", time=NOON + HOUR), removed(NOON + HOUR)])
def test_what_changed_before_the_lock_was_taken_does_not_count(
    apply: Apply, session_factory: Sessions, at: Callable[[datetime], int], meanwhile: bytes
) -> None:
    """The job found it to be due; then it was dated later, or removed, and only then the job got the account's lock."""
    apply([recorded("2026-03-12")])
    with session_factory() as session:
        found = find_due(session, MIDNIGHT + DAY, 10)
    apply([meanwhile], at=NOON + HOUR)
    with session_factory.begin() as session:
        assert (len(found), apply_due(session, found, MIDNIGHT + DAY)) == (1, 0)
    assert at(MIDNIGHT + DAY) == 0


def test_a_booking_whose_date_is_moved_ahead_stops_counting(apply: Apply, at: Callable[[datetime], int]) -> None:
    """It is the later statement, so the earlier one counts no more; the money is back on its day."""
    apply([recorded("2026-03-09", time=NOON - DAY)])
    assert at(NOON) == 500_00
    apply([recorded("2026-03-13")])
    assert at(NOON) == 0
    assert at(MIDNIGHT + 2 * DAY) == 500_00


def test_one_that_replaces_another_does_so_when_it_is_due(apply: Apply, at: Callable[[datetime], int]) -> None:
    """Until then the other counts: the money is never counted twice, and never missing."""
    apply([recorded("2026-03-09", 480_00, name="old"), recorded("2026-03-12", replaces="old")])
    assert at(NOON) == 480_00
    assert at(MIDNIGHT + DAY) == 500_00


def test_a_user_and_a_kind_that_it_states_count_at_once(apply: Apply, session_factory: Sessions) -> None:
    """They are true at the event's time, whatever the transaction is dated; so is the account's currency."""
    apply([recorded("2026-03-12", user_id="u", kind="liability")])
    with session_factory() as session:
        row = Sql("SELECT user_id, kind, currency, worth_minor FROM accounts").one(session, {})
        assert tuple(row) == ("u", "liability", "USD", 0)


@pytest.mark.parametrize("body", [recorded("2027-04-14"), recorded(NOON + 400 * DAY), reported("2027-04-14", 5)])
def test_what_is_dated_at_most_400_days_ahead_is_kept(apply: Apply, body: bytes) -> None:
    """Counted from the event's own time, so that it does not matter when it arrives."""
    assert apply([body]).dead_letters == 0
    assert apply([body], at=NOON + 300 * DAY).dead_letters == 0


@pytest.mark.parametrize(
    "body", [recorded("2027-04-15"), recorded(NOON + 400 * DAY + SECOND), reported("2027-04-15", 5)]
)
def test_what_is_dated_further_ahead_is_a_dead_letter(apply: Apply, session_factory: Sessions, body: bytes) -> None:
    """Even if it arrives when its day is there: else an account would depend on when its events came."""
    assert [apply([body]).dead_letters, apply([body], at=NOON + 500 * DAY).dead_letters] == [1, 1]
    with session_factory() as session:
        assert set(Sql("SELECT code FROM dead_letters").values(session, {})) == {"far_future"}


def test_an_account_that_cannot_take_its_money_holds_up_no_other(apply: Apply, session_factory: Sessions) -> None:
    """Its worth would not fit the column; the others' count, and it is tried again each time."""
    big = 10**15
    for number in range(9_300 // 100):
        apply([recorded("2026-03-09", big, name=f"big {number} {each}") for each in range(99)])
    ahead = {"transaction_id": "t", "amount": "1.00", "currency": "USD", "posted_at": "2026-03-12"}
    others = [event("transaction.recorded", NOON, f"o{n}", ahead | {"account_id": f"b{n}"}) for n in range(9)]
    apply([recorded("2026-03-12", big, name=f"ahead {number}") for number in range(20)])
    apply(others)
    for _ in range(2):
        counted = run_due(session_factory, MIDNIGHT + DAY)
        assert counted.accounts_failed == 1
    with session_factory() as session:
        worths = Sql("SELECT worth_minor FROM accounts WHERE account_id LIKE 'b%'").values(session, {})
    assert worths == [100] * 9


# Few keys and moments, so that facts meet. Steps are half days.
_steps = st.integers(0, 28)
_currencies = st.sampled_from(["USD"] * 4 + ["EUR"])
_times = st.integers(0, 6).map(lambda day: CREATED + day * DAY)


@st.composite
def facts(draw: st.DrawFn) -> dict[str, Any]:
    """One fact in the oracle's shape, dated up to two weeks after it is stated."""
    kind = draw(st.sampled_from(["recorded"] * 6 + ["reported"] * 2 + ["removed"]))
    made: dict[str, Any] = {"kind": kind, "time": draw(_times), "source": "test", "id": f"e{next(_names)}"}
    at = CREATED.replace(hour=0) + 12 * HOUR * draw(_steps)
    if kind == "reported":
        return made | {"key": at, "body": {"current": draw(st.integers(0, 900_00)), "currency": draw(_currencies)}}
    made["key"] = draw(st.sampled_from(["t1", "t2", "t3", "t4"]))
    if kind == "removed":
        return made | {"body": None}
    is_date = draw(st.booleans())
    replaces = draw(st.sampled_from([None, None, None, "t1", "t2"]))
    body = {
        "amount": draw(st.integers(-500_00, 500_00)),
        "at": at.replace(hour=0) if is_date else at,
        "is_date": is_date,
        "pending": draw(st.integers(0, 5)) == 0,
        "replaces": None if replaces == made["key"] else replaces,
        "currency": draw(_currencies),
    }
    return made | {"body": body}


def as_event(made: dict[str, Any], account: str) -> bytes:
    """The event that states it."""
    data: dict[str, Any] = {"account_id": account}
    body = made["body"]
    if made["kind"] == "reported":
        data |= {"current": money(body["current"]), "currency": body["currency"], "as_of": made["key"].isoformat()}
        return event("balance.reported", made["time"], made["id"], data)
    data["transaction_id"] = made["key"]
    if body is None:
        return event("transaction.removed", made["time"], made["id"], data)
    at = body["at"]
    data |= {"amount": money(body["amount"]), "currency": body["currency"], "pending": body["pending"]}
    data |= {"replaces": body["replaces"], "posted_at": at.date().isoformat() if body["is_date"] else at.isoformat()}
    return event("transaction.recorded", made["time"], made["id"], data)


def due_at(made: dict[str, Any]) -> datetime:
    """From when on the oracle lets it count."""
    if made["kind"] == "reported":
        return made["key"] - DAY
    body = made["body"]
    return body["at"] if body["is_date"] else body["at"] - DAY


def expected(made: list[dict[str, Any]], now: datetime) -> OracleAccount:
    """What counts at a moment: what is not due yet says only in which currency it is."""
    oracle = OracleAccount()
    for fact in made:
        is_early = fact["kind"] != "removed" and due_at(fact) > now
        apply_fact(oracle, fact | {"body": fact["body"] | {"pending": True, "waits": True}} if is_early else fact)
    return oracle


@settings(max_examples=examples(40))
@given(st.lists(facts(), min_size=1, max_size=16), st.integers(0, 2**32), st.integers(14, 40))
def test_what_counts_depends_on_the_facts_and_the_moment_alone(
    session_factory: Sessions, apply: Apply, made: list[dict[str, Any]], seed: int, halves: int
) -> None:
    """Applied as they are stated, or all at once later, in any order and often: at one moment the rows are the same."""
    now = CREATED.replace(hour=0) + 12 * HOUR * halves + HOUR
    chance = random.Random(seed)
    dumps = []
    for lived in (True, False):
        account = f"a{next(_names)}"
        goals = [
            goal(session_factory, CREATED - DAY, GoalType.SAVINGS, tracking=tracking)
            for tracking in (Tracking.CHANGE, Tracking.INFLOW, Tracking.BALANCE)
        ]
        for goal_id in goals:
            link(session_factory, CREATED, goal_id, account, "33.3333", CREATED.date() - DAY)
        events = [(fact["time"], as_event(fact, account)) for fact in made]
        if lived:
            for time, body in sorted(events, key=lambda each: each[0]):
                apply([body], at=time)
                if chance.random() < 0.5:
                    run_due(session_factory, time)
        else:
            events += [each for each in events if chance.random() < 0.4]
            chance.shuffle(events)
            for _, body in events:
                apply([body], at=now if chance.random() < 0.5 else CREATED + 6 * DAY)
        run_due(session_factory, now)
        with session_factory() as session:
            dumps.append(_rows_of(session, account, goals))
            row = Sql("SELECT worth_minor, inflow_minor FROM accounts WHERE account_id = :a").first(
                session, {"a": account}
            )
        oracle = expected(made, now)
        for_ever = now + 400 * DAY
        assert row is not None
        assert tuple(row) == (oracle.worth(for_ever), oracle.inflow(for_ever))
    assert dumps[0] == dumps[1]
    assert verify(session_factory, now).first == ()


_SAME = {
    "accounts": """account_id, currency, currency_from, currency_event_id, kind, opening_minor, worth_minor,
        inflow_minor, first_report_at, last_report_at""",
    "transactions": """account_id, transaction_id, amount_minor, posted_at, pending, removed, counts, replaces,
        event_time, event_id, due_at""",
    "reports": "account_id, as_of, currency, current_minor, residual_minor, event_time, event_id",
    "waiting_reports": "account_id, as_of, currency, current_minor, event_time, event_id, due_at",
    "account_days": "account_id, day, moved_minor, residual_minor, inflow_minor",
}


def _rows_of(session: Session, account: str, goals: list[str]) -> list[str]:
    """The rows of an account's facts and of what follows from them, and the amounts of its goals."""
    found = []
    for table, columns in _SAME.items():
        rows = Sql(f"SELECT {columns} FROM {table} WHERE account_id = :a").rows(session, {"a": account})
        found += sorted(f"{table} {row[1:]}" for row in rows)
    amounts = Sql("SELECT amount_minor, waiting_for <> '{}' FROM goals WHERE goal_id = :g")
    return [*found, *(str(amounts.one(session, {"g": goal_id})) for goal_id in goals)]
