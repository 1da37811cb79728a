"""Net worths: all of a user's accounts in one currency, whether the goal or the accounts came first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from core.errors import AllocationExceeded, AmountFollowsAccounts, InvalidField, TakesNoLinks
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, link_account, list_funding, unlink_account
from core.services.goals import delete_goal, get_goal, update_goal
from core.services.inputs import GoalChanges, LinkDraft
from tests.acts import DEFAULT, Sessions, amount, balance, event, goal, link, paid
from tests.conftest import Apply


def net_worth(sessions: Sessions, at: datetime, **changes: object) -> str:
    """A net worth goal of the user `u`."""
    return goal(sessions, at, type=GoalType.NET_WORTH, tracking=Tracking.NET_WORTH, **changes)


def belongs(account: str, user: str, at: datetime) -> bytes:
    """An event that says which user an account belongs to."""
    return event("account.changed", at, f"{account}-{user}", {"account_id": account, "user_id": user})


def test_accounts_count_whether_they_come_before_or_after_the_goal(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """House, mortgage and card of one user sum up; another user's account and another currency do not count."""
    apply([balance(900, now, account="house", user_id="u"), balance(5, now, account="other", user_id="v")])
    goal_id = net_worth(session_factory, now, current_amount="1")
    assert amount(session_factory, goal_id) == 900
    apply(
        [
            balance(600, now, account="mortgage", user_id="u", kind="liability"),
            balance(77, now, account="euros", user_id="u", currency="EUR"),
        ]
    )
    assert amount(session_factory, goal_id) == 300
    apply([paid("1", -50, now + timedelta(minutes=1), account="house")])
    assert amount(session_factory, goal_id) == 250
    with session_factory() as session:
        counted = {view.account_id: view.counted_minor for view in _funding(session, goal_id)}
    assert counted == {"house": 850, "mortgage": -600}


def test_an_account_that_changes_hands_leaves_one_net_worth_and_joins_the_other(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """The last word on whose an account is counts for all of its past, in both goals' closes too."""
    start = now - timedelta(days=10)
    ours = net_worth(session_factory, start, start_date=start.date())
    theirs = net_worth(session_factory, start, user_id="v", start_date=start.date())
    apply([balance(900, start, account="a", user_id="u"), balance(10, start, account="b", user_id="v")])
    run_snapshot(session_factory, now)
    apply([belongs("a", "v", now)])
    assert (amount(session_factory, ours), amount(session_factory, theirs)) == (0, 910)
    run_snapshot(session_factory, now + timedelta(hours=1))
    with session_factory() as session:
        rows = session.execute(text("SELECT goal_id, amount_minor FROM goal_snapshots ORDER BY day")).all()
        assert sorted(tuple(row) for row in rows) == sorted([(ours, 0), (theirs, 910)])
    apply([belongs("a", "u", start)])
    assert (amount(session_factory, ours), amount(session_factory, theirs)) == (0, 910)


def test_a_net_worth_waits_for_the_balances_of_all_accounts(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Until one account has a report the manual amount shows; until all have one, nothing is marked."""
    goal_id = net_worth(session_factory, now, current_amount="7", target_amount="5")
    apply([paid("1", 300, now, account="a"), belongs("a", "u", now), paid("2", 40, now, account="b")])
    apply([belongs("b", "u", now)])
    assert amount(session_factory, goal_id) == 700
    apply([balance(900, now, account="a")])
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert (view.amount_minor, view.waiting_for) == (940, ("b",))
    with session_factory.begin() as session, pytest.raises(AmountFollowsAccounts):
        update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=1), now)


def test_links_of_a_net_worth_are_not_for_requests(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Linking, changing and unlinking are refused, a debt cannot follow a net worth; deleting frees the accounts."""
    apply([balance(900, now, account="a", user_id="u")])
    goal_id = net_worth(session_factory, now)
    acts: list[Callable[..., object]] = [
        lambda session: link_account(session, DEFAULT, goal_id, LinkDraft("a", None, 50), now),
        lambda session: change_allocation(session, DEFAULT, goal_id, "a", 50, now),
        lambda session: unlink_account(session, DEFAULT, goal_id, "a", now),
    ]
    for act in acts:
        with session_factory.begin() as session, pytest.raises(TakesNoLinks):
            act(session)
    with pytest.raises(InvalidField, match="a debt cannot follow a net worth"):
        goal(session_factory, now, type=GoalType.DEBT, tracking=Tracking.NET_WORTH)
    with session_factory.begin() as session:
        delete_goal(session, DEFAULT, goal_id, now)
        assert session.scalar(text("SELECT count(*) FROM links")) == 0
    apply([paid("1", 5, now, account="a")])


def test_a_final_net_worth_keeps_the_worths_of_its_final_moment(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Later facts leave it alone, earlier ones that arrive later correct it, even of an account that is new."""
    early = now - timedelta(days=5)
    apply([balance(900, early, account="a", user_id="u")])
    goal_id = net_worth(session_factory, early)
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.COMPLETED), now)
    after = now + timedelta(hours=1)
    apply([paid("1", 1_000, after, account="a"), paid("2", 30, now - timedelta(days=1), account="a")], at=after)
    assert amount(session_factory, goal_id) == 930
    apply([balance(4, early, account="b", user_id="u"), paid("3", 8, after, account="b")], at=after)
    assert amount(session_factory, goal_id) == 934


def test_a_net_worth_created_while_an_account_joins_misses_nothing(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Whoever commits first, the account counts once: many races of a batch and a request on two connections."""
    for number in range(12):
        user = f"racer-{number}"
        apply([balance(100, now, account=f"{user}-old", user_id=user)])
        start = threading.Barrier(2)
        made: list[str] = []

        def create(user: str = user, start: threading.Barrier = start, made: list[str] = made) -> None:
            start.wait()
            made.append(net_worth(session_factory, now, user_id=user))

        thread = threading.Thread(target=create)
        thread.start()
        start.wait()
        apply([balance(7, now, account=f"{user}-new", user_id=user), paid("1", 1, now, account=f"{user}-old")])
        thread.join()
        assert amount(session_factory, made[0]) == 107


def test_accounts_that_count_whole_are_outside_the_shares(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A house and its mortgage count whole beside shares of 100%; only a goal that follows balances can do that."""
    goal_id = goal(session_factory, now, tracking=Tracking.BALANCE)
    apply([balance(900, now, account="house"), balance(600, now, account="mortgage", kind="liability")])
    apply([balance(50, now, account="a")])
    with session_factory.begin() as session:
        for account in ("house", "mortgage"):
            link_account(session, DEFAULT, goal_id, LinkDraft(account, None, 100, whole=True), now)
    link(session_factory, now, goal_id, "a", "100")
    assert amount(session_factory, goal_id) == 350
    with session_factory.begin() as session, pytest.raises(AllocationExceeded):
        change_allocation(session, DEFAULT, goal_id, "house", 1, now)
    with session_factory.begin() as session, pytest.raises(InvalidField, match="leave it out"):
        link_account(session, DEFAULT, goal_id, LinkDraft("b", None, 50, whole=True), now)
    other = goal(session_factory, now)
    with session_factory.begin() as session, pytest.raises(InvalidField, match="only a goal that follows balances"):
        link_account(session, DEFAULT, other, LinkDraft("b", None, 100, whole=True), now)


def _funding(session: object, goal_id: str) -> tuple[object, ...]:
    return tuple(list_funding(session, DEFAULT, goal_id, limit=100, cursor=None).items)  # type: ignore[arg-type]
