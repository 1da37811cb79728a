"""Goals that are moved by the difference of their shares get the amounts that recomputing them gives."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MilepostError
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.goals.money import WHOLE_PPM, share
from core.ingestion import update_goals
from core.ingestion.recompute import recompute_goals
from core.services.funding import unlink_account
from core.services.goals import update_goal
from core.services.inputs import GoalChanges
from core.store.database import Sessions
from core.store.driver import Session, Sql, bools, dates, int8s, joined_or_null, moments, split_or_null
from core.store.goals import lock_goals
from core.store.moves import SHARE, AccountsMissed, write_accounts
from tests import acts
from tests.acts import DEFAULT
from tests.budget import examples
from tests.conftest import Apply

START = datetime(2026, 3, 1, tzinfo=UTC)
_names = itertools.count(1)

# Some are each other's opposites, so that shares cancel out.
minors = st.one_of(st.sampled_from([-200_00, -100_00, 100_00, 200_00]), st.integers(-9_000_00, 9_000_00))
hours = st.integers(0, 200).map(lambda hour: START + timedelta(hours=hour))
steps = st.one_of(
    st.tuples(st.just("paid"), st.integers(0, 2), minors, hours),
    st.tuples(st.just("paid"), st.integers(0, 2), minors, hours),
    st.tuples(st.just("edited"), st.integers(0, 2), minors, hours),
    st.tuples(st.just("removed"), st.integers(0, 2), st.integers(0, 2), hours),
    st.tuples(st.just("reported"), st.integers(0, 2), minors, hours),
    st.tuples(st.just("owner"), st.integers(0, 2), st.sampled_from(["", "-other"]), hours),
    st.tuples(st.just("kind"), st.integers(0, 2), st.sampled_from(["asset", "liability"]), hours),
    st.tuples(st.just("link"), st.integers(0, 2), st.integers(1, 33), st.integers(0, 3)),
    st.tuples(st.just("unlink"), st.integers(0, 2), st.just(0), st.integers(0, 3)),
    st.tuples(st.just("type"), st.just(0), st.integers(0, 500), st.integers(0, 3)),
    st.tuples(st.just("pause"), st.just(0), st.just(0), st.integers(0, 3)),
)


def goals_of(sessions: Sessions, user: str) -> list[str]:
    """Goals of a user, one of each kind that a batch distinguishes; the first four take links."""
    kinds: list[tuple[GoalType, dict[str, Any]]] = [
        (GoalType.SAVINGS, {"tracking": Tracking.CHANGE, "current_amount": "100"}),
        (GoalType.SAVINGS, {"tracking": Tracking.BALANCE}),
        (GoalType.DEBT, {"tracking": Tracking.BALANCE, "target_amount": "8500"}),
        (GoalType.INCOME, {"tracking": Tracking.INFLOW}),
        (GoalType.NET_WORTH, {"tracking": Tracking.NET_WORTH}),
    ]
    return [acts.goal(sessions, START, kind, user_id=user, currency="USD", **more) for kind, more in kinds]


@settings(max_examples=examples(30))
@given(st.lists(st.lists(steps, min_size=1, max_size=5), min_size=1, max_size=8))
def test_recomputing_changes_nothing(session_factory: Sessions, apply: Apply, batches: list[list[Any]]) -> None:
    """After every batch, every goal already has the amount that core.goals.amounts computes, with the same ledger."""
    user = f"u{next(_names)}"
    accounts = [f"{user}-{n}" for n in range(3)]
    goals = goals_of(session_factory, user)
    now = START + timedelta(days=9)
    for batch in batches:
        events = []
        for what, account, value, at in batch:
            now += timedelta(seconds=1)
            name = f"{what}-{next(_names)}"
            if what == "paid":
                events.append(acts.paid(name, value, at, accounts[account]))
            elif what == "edited":
                events.append(acts.paid(f"known-{value % 3}", value, at, accounts[account]))
            elif what == "removed":
                data = {"account_id": accounts[account], "transaction_id": f"known-{value}"}
                events.append(acts.event("transaction.removed", at, name, data))
            elif what == "owner":
                data = {"account_id": accounts[account], "user_id": f"{user}{value}"}
                events.append(acts.event("account.changed", at, name, data))
            elif what == "reported":
                events.append(acts.balance(value, at, accounts[account], user_id=user))
            elif what == "kind":
                events.append(acts.event("account.changed", at, name, {"account_id": accounts[account], "kind": value}))
            else:
                _operation(session_factory, what, accounts[account], value, goals[at], now)
        if events:
            apply(events, at=now)
        with session_factory.begin() as session:
            rows = lock_goals(session, [("default", goal_id) for goal_id in goals])
            before = {row.goal_id: row.amount_minor for row in rows}
            recomputed = recompute_goals(session, rows, now, cause="events")
            assert {key[1]: row.amount_minor for key, row in recomputed.goals.items()} == {
                key[1]: before[key[1]] for key in recomputed.goals
            }
            session.rollback()


def _operation(sessions: Sessions, what: str, account: str, value: Any, goal_id: str, now: datetime) -> None:
    """An operation of a caller, if the goal accepts it."""
    try:
        if what == "link":
            acts.link(sessions, now, goal_id, account, str(value))
            return
        if what == "unlink":
            with sessions.begin() as session:
                unlink_account(session, DEFAULT, goal_id, account, now)
            return
        changes = GoalChanges(current_amount=value) if what == "type" else GoalChanges(status=GoalStatus.PAUSED)
        with sessions.begin() as session:
            update_goal(session, DEFAULT, goal_id, changes, now)
    except MilepostError:
        return


def test_a_transfer_between_two_accounts_of_a_debt_moves_it_by_the_liability_alone(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """An asset counts nothing for a debt that follows balances, also when both shares would cancel each other out."""
    began = now - timedelta(days=1)
    debt: dict[str, Any] = {"tracking": Tracking.BALANCE, "target_amount": "0", "current_amount": "1000"}
    goal_id = acts.goal(session_factory, began, GoalType.DEBT, **debt)
    for account in ("card", "checking"):
        acts.link(session_factory, began, goal_id, account, "50")
    at = began + timedelta(hours=1)
    apply([acts.balance(800_00, at, "card", kind="liability"), acts.balance(500_00, at, "checking", kind="asset")])
    assert acts.amount(session_factory, goal_id) == 400_00
    apply([acts.paid("out", -100_00, now, "checking"), acts.paid("in", 100_00, now, "card")])
    assert acts.amount(session_factory, goal_id) == 350_00


def test_an_account_that_is_not_at_its_place_stops_the_batch(
    session_factory: Sessions, apply: Apply, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the batch is stored, rather than a transaction without its worth."""

    def moving(session: Session, *arguments: Any) -> Any:
        Sql("UPDATE accounts SET name = 'moved'").run(session, {})
        return write_accounts(session, *arguments)

    apply([acts.paid("first", 10_00, now)])
    monkeypatch.setattr(update_goals, "write_accounts", moving)
    with pytest.raises(AccountsMissed):
        apply([acts.paid("second", 5_00, now)])
    with session_factory() as session:
        assert Sql("SELECT transaction_id FROM transactions").values(session, {}) == ["first"]


def test_a_ledger_goes_on_when_a_goal_is_moved(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Each entry continues the one before, and the goal has the last one's amount."""
    goal_id = acts.goal(session_factory, now, current_amount="100", currency="USD")
    acts.link(session_factory, now, goal_id, "a", "60")
    apply([acts.paid("first", 10_00, now + timedelta(hours=1))])
    apply([acts.paid("second", 5_00, now + timedelta(hours=2))], at=now + timedelta(hours=3))
    with session_factory() as session:
        row = Sql("SELECT amount_minor, entries FROM goals WHERE goal_id = :g").one(session, {"g": goal_id})
        lines = Sql("SELECT entry, before_minor, after_minor FROM goal_entries WHERE goal_id = :g ORDER BY 1").rows(
            session, {"g": goal_id}
        )
    assert tuple(row) == (109_00, 3)
    assert lines == [(1, None, 100_00), (2, 100_00, 106_00), (3, 106_00, 109_00)]


@pytest.mark.parametrize("measured", [0, 1, -1, 999_999, -999_999, 10**6, 25, -26, 4 * 10**15 + 7, -(4 * 10**15) - 7])
@pytest.mark.parametrize("ppm", [1, 333_333, 600_000, WHOLE_PPM])
def test_shares_are_cut_as_in_python(session_factory: Sessions, measured: int, ppm: int) -> None:
    """The two parts of a share come to the whole, cut towards zero."""
    with session_factory() as session:
        found = Sql(f"SELECT {SHARE} FROM (SELECT CAST(:m AS bigint) AS measured, CAST(:p AS int) AS ppm) AS l").value(
            session, {"m": measured, "p": ppm}
        )
    assert found == share(measured, ppm)


@settings(max_examples=examples(25))
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            st.one_of(
                st.none(), st.integers(-(6 * 10**16), 2 * 10**17).map(lambda us: START + timedelta(microseconds=us))
            ),
            st.one_of(st.none(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
            st.booleans(),
            st.one_of(st.none(), st.text("ab ü{}\\\",'", min_size=1, max_size=5)),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_packed_arrays_arrive_as_they_were(session_factory: Sessions, rows: list[tuple[Any, ...]]) -> None:
    """Every value, and every missing one, comes out of Postgres as it went in."""
    numbers, times, days, claims, names = zip(*rows, strict=True)
    with session_factory() as session:
        found = Sql(f"SELECT * FROM unnest(:numbers, :times, :days, :claims, {split_or_null('names')})").rows(
            session,
            {
                "numbers": int8s(numbers),
                "times": moments(times),
                "days": dates(days),
                "claims": bools(claims),
                "names": joined_or_null(names),
            },
        )
    assert found == rows


def test_a_number_beyond_its_column_is_said_so() -> None:
    """A number that no BIGINT holds is refused before it is sent, whatever else is missing."""
    for values in ([2**63], [None, -(2**63) - 1]):
        with pytest.raises(OverflowError, match="out of the range"):
            int8s(values)
