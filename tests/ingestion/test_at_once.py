"""Several connections at once: batches and requests on one goal lose nothing and do not deadlock."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from core.errors import AllocationExceeded
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.services.funding import list_funding, unlink_account
from core.services.goals import delete_goal, update_goal
from core.services.inputs import GoalChanges
from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import DEFAULT, amount, goal, link, paid


def test_two_shards_that_move_one_goal_do_not_overwrite_each_other(session_factory: Sessions, now: datetime) -> None:
    """Batches of two accounts on two connections, many times at once, leave the goal with both sums."""
    goal_id = goal(session_factory, now)
    link(session_factory, now, goal_id, "a", "50")
    link(session_factory, now, goal_id, "b", "50")
    rounds = 30
    errors: list[BaseException] = []

    def drain(account: str) -> None:
        try:
            for number in range(rounds):
                body = paid(f"{account}{number}", 200, now + timedelta(minutes=1), account)
                with session_factory.begin() as session:
                    apply_events(session, [StreamEntry(0, f"1-{number}", now, "default", body)], now)
        except BaseException as error:
            errors.append(error)
            raise

    _at_once([lambda: drain("a"), lambda: drain("b")])
    assert errors == []
    assert amount(session_factory, goal_id) == 2 * rounds * 100


def test_requests_and_batches_at_once_lose_nothing(session_factory: Sessions, now: datetime) -> None:
    """While events come, links begin, change and end and amounts are set: no deadlock, and a ledger without gaps."""
    goal_id = goal(session_factory, now)
    accounts = ["a", "b", "c", "d"]
    stop = threading.Event()
    errors: list[BaseException] = []

    def guarded(act: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                act()
            except BaseException as error:
                errors.append(error)
                raise

        return run

    def drain() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            bodies = [paid(f"{a}{number}", 100, now + timedelta(seconds=number), a) for a in accounts]
            entries = [StreamEntry(0, f"{number}-{n}", now, "default", body) for n, body in enumerate(bodies)]
            with session_factory.begin() as session:
                apply_events(session, entries, now)

    def request() -> None:
        for number in range(15):
            for account in accounts:
                link(session_factory, datetime.now(UTC), goal_id, account, "25")
            with session_factory.begin() as session:
                update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=number), datetime.now(UTC))
            for account in accounts:
                with session_factory.begin() as session:
                    unlink_account(session, DEFAULT, goal_id, account, datetime.now(UTC))
        stop.set()

    _at_once([guarded(drain), guarded(request)])
    assert errors == []
    with session_factory() as session:
        rows = Sql("SELECT entry, before_minor, after_minor FROM goal_entries ORDER BY entry").rows(session, {})
        assert [entry for entry, _, _ in rows] == list(range(1, len(rows) + 1))
        assert all(before == after for (_, _, after), (_, before, _) in itertools.pairwise(rows))
        assert rows[-1][2] == amount(session_factory, goal_id)


def test_shares_given_out_at_once_never_exceed_the_whole(session_factory: Sessions, now: datetime) -> None:
    """Of ten links of 30% made at the same moment three succeed, and the others are refused."""
    goal_id = goal(session_factory, now)
    outcomes: list[str] = []

    def take(account: str) -> None:
        try:
            link(session_factory, now, goal_id, account, "30")
            outcomes.append("linked")
        except AllocationExceeded:
            outcomes.append("refused")

    _at_once([lambda a=f"a{n}": take(a) for n in range(10)])  # type: ignore[misc]
    assert sorted(outcomes) == ["linked"] * 3 + ["refused"] * 7
    with session_factory() as session:
        assert len(list_funding(session, DEFAULT, goal_id).items) == 3
        assert Sql("SELECT count(*) FROM accounts").value(session, {}) == 3


def test_typing_amounts_beside_late_facts_of_ended_links_does_not_deadlock(
    session_factory: Sessions, now: datetime
) -> None:
    """Late facts inside links that have ended, amounts set and goals deleted, all at once: no deadlock."""
    goals = [goal(session_factory, now - timedelta(days=9)) for _ in range(3)]
    for goal_id in goals:
        link(session_factory, now - timedelta(days=9), goal_id, "a", "50")
        link(session_factory, now - timedelta(days=8), goal_id, "b", "50")
        with session_factory.begin() as session:
            unlink_account(session, DEFAULT, goal_id, "a", now - timedelta(days=1))
    errors: list[BaseException] = []

    def guarded(act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)
            raise

    def drain() -> None:
        for number in range(60):
            body = paid(f"late{number}", 100, now - timedelta(days=5), "a")
            with session_factory.begin() as session:
                apply_events(session, [StreamEntry(0, f"1-{number}", now, "default", body)], now)

    def request() -> None:
        for number in range(20):
            for goal_id in goals:
                with session_factory.begin() as session:
                    update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=number), datetime.now(UTC))
        with session_factory.begin() as session:
            delete_goal(session, DEFAULT, goals[0], now)

    _at_once([lambda: guarded(drain), lambda: guarded(request)])
    assert errors == []
    assert amount(session_factory, goals[1]) == 1900


def _at_once(acts: list[Callable[[], None]]) -> None:
    """Run acts on threads of their own that start together."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        barrier.wait(30)
        act()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
