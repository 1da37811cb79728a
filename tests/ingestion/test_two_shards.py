"""Two batches on two connections that move the same goals: each counts with what the other did."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from core.goals.goal import GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.verify import run_verify
from core.services.funding import unlink_account
from core.services.goals import get_goal
from core.store.database import Sessions
from core.store.driver import Session, Sql
from tests.acts import DEFAULT, amount, balance, event, goal, link, paid

ROUNDS = 25
TRACKINGS = (Tracking.CHANGE, Tracking.INFLOW, Tracking.BALANCE)


def applied(sessions: Sessions, bodies: Sequence[bytes], now: datetime) -> None:
    """Apply one batch."""
    with sessions.begin() as session:
        apply_events(session, [StreamEntry(0, f"1-{n}", now, "default", body) for n, body in enumerate(bodies)], now)


def at_once(*acts: Callable[[], None]) -> list[BaseException]:
    """Run acts on threads of their own, and return what they raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        try:
            barrier.wait(30)
            act()
        except BaseException as error:  # noqa: BLE001  # of a thread: the test looks at it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return errors


def is_free(session: Session, goal_id: str) -> bool:
    """Lock a goal, if nobody else has it locked."""
    lock = Sql("SELECT 1 FROM goals WHERE goal_id = :goal_id FOR NO KEY UPDATE SKIP LOCKED")
    return lock.first(session, {"goal_id": goal_id}) is not None


def assert_all_is_right(sessions: Sessions, now: datetime) -> None:
    """Every amount, ledger and mark is what the facts say."""
    assert run_verify(sessions, now).rows == ()


def shared_goals(sessions: Sessions, now: datetime, count: int) -> list[str]:
    """Goals of every tracking with three links each: of `a`, of `b`, and one of `a` that has ended."""
    began = now - timedelta(days=9)
    goals = [goal(sessions, began, tracking=TRACKINGS[n % 3], target_amount="90000") for n in range(count)]
    for goal_id in goals:
        link(sessions, began, goal_id, "a", "30")
        with sessions.begin() as session:
            unlink_account(session, DEFAULT, goal_id, "a", now - timedelta(days=5))
        link(sessions, now - timedelta(days=4), goal_id, "a", "50")
        link(sessions, now - timedelta(days=3), goal_id, "b", "40")
    return goals


def test_goals_of_two_accounts_moved_on_two_shards_are_right(session_factory: Sessions, now: datetime) -> None:
    """Facts in order, late ones, reports, edits and removals of each account, at once, and not a single deadlock."""
    shared_goals(session_factory, now, 9)

    def drain(account: str) -> None:
        chance = random.Random(account)
        for number in range(ROUNDS):
            bodies = []
            for n in range(4):
                at = now - timedelta(minutes=chance.randrange(12 * 1_440))
                what = chance.random()
                if what < 0.15:
                    bodies.append(balance(chance.randrange(90_000), at, account))
                elif what < 0.3:
                    name = f"{account}{chance.randrange(40)}"
                    data = {"account_id": account, "transaction_id": name}
                    bodies.append(event("transaction.removed", now, f"x{account}{number}-{n}", data))
                else:
                    name = f"{account}{chance.randrange(40)}"
                    bodies.append(paid(name, chance.randrange(-9_000, 9_900) or 1, at, account))
            applied(session_factory, bodies, now)

    assert at_once(lambda: drain("a"), lambda: drain("b")) == []
    assert_all_is_right(session_factory, now)


def test_one_account_reported_on_two_shards_is_right(session_factory: Sessions, now: datetime) -> None:
    """The same facts on both, in another order, and facts of each alone: each counts once."""
    goals = shared_goals(session_factory, now, 3)
    at = [now - timedelta(minutes=200 - n) for n in range(ROUNDS)]
    both = [paid(f"both{n}", 100, at[n], account) for n, account in itertools.product(range(ROUNDS), "ab")]

    def drain(name: str, shared: list[bytes]) -> None:
        for number in range(ROUNDS):
            own = paid(f"{name}{number}", 10, at[number], "a")
            applied(session_factory, [own, *shared[2 * number : 2 * number + 2]], now)

    assert at_once(lambda: drain("x", both), lambda: drain("y", both[::-1])) == []
    assert_all_is_right(session_factory, now)
    assert amount(session_factory, goals[0]) == (100 * ROUNDS + 20 * ROUNDS) // 2 + 40 * ROUNDS


@pytest.fixture
def beside(
    session_factory: Sessions, until_waiting: Callable[[int], None], now: datetime
) -> Callable[[bytes, bytes], None]:
    """Applies one event in a batch that begins while the batch of another one is done and not committed."""

    def run(first: bytes, second: bytes) -> None:
        thread = threading.Thread(target=applied, args=(session_factory, [second], now))
        with session_factory.begin() as session:
            apply_events(session, [StreamEntry(0, "1-0", now, "default", first)], now)
            thread.start()
            until_waiting(1)
        thread.join()

    return run


def owned(account: str, user: str, now: datetime) -> bytes:
    """An event that says whose an account is."""
    return event("account.changed", now, f"{account}-{user}", {"account_id": account, "user_id": user})


@pytest.mark.parametrize("is_first", [True, False])
def test_a_first_report_beside_the_other_account_of_a_goal(
    session_factory: Sessions, beside: Callable[[bytes, bytes], None], now: datetime, is_first: bool
) -> None:
    """A goal that waits for both accounts gets a first amount from one, while the other one moves."""
    goal_id = goal(session_factory, now - timedelta(days=1), tracking=Tracking.BALANCE, current_amount="7")
    applied(session_factory, [paid("before", 5_00, now - timedelta(hours=2), "b")], now)
    for account in "ab":
        link(session_factory, now - timedelta(hours=1), goal_id, account, "50")
    acts = [balance(100_00, now, "a"), paid("b", 10_00, now, "b")]
    beside(*(acts if is_first else acts[::-1]))
    assert_all_is_right(session_factory, now)
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
    assert (view.amount_minor, view.waiting_for) == (50_00 + 7_50, ("b",))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_kind_that_changes_beside_the_other_account_of_a_goal(
    session_factory: Sessions, beside: Callable[[bytes, bytes], None], now: datetime, is_first: bool
) -> None:
    """A debt that follows balances drops an account that turns out to be an asset, while the other one moves."""
    began = now - timedelta(days=1)
    debt = {"tracking": Tracking.BALANCE, "target_amount": "0", "current_amount": "1000"}
    goal_id = goal(session_factory, began, GoalType.DEBT, **debt)
    for account in "ab":
        applied(session_factory, [balance(200_00, began, account, kind="liability")], now)
        link(session_factory, began, goal_id, account, "50")
    acts = [event("account.changed", now, "k", {"account_id": "a", "kind": "asset"}), paid("b", 20_00, now, "b")]
    beside(*(acts if is_first else acts[::-1]))
    assert_all_is_right(session_factory, now)
    assert amount(session_factory, goal_id) == 90_00


@pytest.mark.parametrize("is_first", [True, False])
def test_an_account_that_changes_hands_beside_another_of_the_net_worth(
    session_factory: Sessions, beside: Callable[[bytes, bytes], None], now: datetime, is_first: bool
) -> None:
    """The account leaves the net worth while another one moves it."""
    began = now - timedelta(days=1)
    applied(session_factory, [balance(n * 100_00, began, account, user_id="u") for n, account in enumerate("abc")], now)
    goal_id = goal(session_factory, began, GoalType.NET_WORTH, tracking=Tracking.NET_WORTH)
    assert amount(session_factory, goal_id) == 300_00
    acts = [owned("c", "v", now), paid("b", 20_00, now, "b")]
    beside(*(acts if is_first else acts[::-1]))
    assert_all_is_right(session_factory, now)
    assert amount(session_factory, goal_id) == 120_00


def test_goals_to_recompute_are_locked_in_id_order_among_the_others(
    session_factory: Sessions, until_waiting: Callable[[int], None], now: datetime
) -> None:
    """A batch that waits for its first goal, which it will recompute, has not locked the second one, which it moves."""
    first, second = goal(session_factory, now - timedelta(days=2)), goal(session_factory, now - timedelta(days=1))
    began = now - timedelta(hours=9)
    link(session_factory, began, first, "a", "50")
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, first, "a", now - timedelta(hours=5))
    link(session_factory, began, second, "a", "50")
    assert first < second
    # Late for the first goal, whose link has ended, and in order for the second.
    body = paid("late", 10_00, now - timedelta(hours=7), "a")
    thread = threading.Thread(target=applied, args=(session_factory, [body], now))
    with session_factory.begin() as holding:
        assert is_free(holding, first)
        thread.start()
        until_waiting(1)
        with session_factory.begin() as other:
            assert is_free(other, second)
    thread.join()
    assert (amount(session_factory, first), amount(session_factory, second)) == (5_00, 5_00)
    assert_all_is_right(session_factory, now)
