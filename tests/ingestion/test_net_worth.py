"""Net worths: all of a user's accounts, whether the goal or the accounts came first, and what they leave out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import AllocationExceeded, AmountFollowsAccounts, InvalidField, TakesNoLinks
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, link_account, list_funding, unlink_account
from core.services.goals import delete_goal, get_goal, update_goal
from core.services.inputs import GoalChanges, LinkDraft
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import DEFAULT, amount, balance, event, goal, goal_progress, link, paid
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
    assert counted == {"euros": 0, "house": 850, "mortgage": -600}


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
        rows = Sql("SELECT goal_id, amount_minor FROM goal_snapshots ORDER BY day").rows(session, {})
        assert sorted(tuple(row) for row in rows) == sorted([(ours, 0), (theirs, 910)])
    apply([belongs("a", "u", start)])
    assert (amount(session_factory, ours), amount(session_factory, theirs)) == (0, 910)


def test_a_closed_account_stays_in_the_closes_of_its_time(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Its money was moved to another account before it was closed: no day of the net worth has a gap."""
    start, moved = now - timedelta(days=6), now - timedelta(days=3)
    goal_id = net_worth(session_factory, start, start_date=start.date())
    apply([balance(900, start, account="old", user_id="u"), balance(10, start, account="new", user_id="u")])
    apply([paid("out", -900, moved, account="old"), paid("in", 900, moved, account="new")])
    apply([event("account.changed", moved + timedelta(days=1), "closed", {"account_id": "old", "closed": True})])
    run_snapshot(session_factory, now)
    with session_factory() as session:
        rows = Sql("SELECT day, amount_minor FROM goal_snapshots").rows(session, {})
        assert rows == [(start.date(), 910)]  # only days that differ are stored
    assert amount(session_factory, goal_id) == 910


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
        assert Sql("SELECT count(*) FROM links").value(session, {}) == 0
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
    """A house and its mortgage count whole beside shares of 100%, and take no percentage."""
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


@pytest.mark.parametrize(("tracking", "expected"), [(Tracking.CHANGE, 1_260), (Tracking.INFLOW, 1_600)])
def test_whole_accounts_beside_shares_under_every_tracking(
    session_factory: Sessions, apply: Apply, now: datetime, tracking: Tracking, expected: int
) -> None:
    """Two accounts whole and 60% and 40% of two others; a share instead of the whole fits only into the 100%."""
    goal_id = goal(session_factory, now, tracking=tracking)
    with session_factory.begin() as session:
        for account in ("w", "v"):
            assert link_account(session, DEFAULT, goal_id, LinkDraft(account, None, 100, whole=True), now).whole
    link(session_factory, now, goal_id, "a", "60")
    link(session_factory, now, goal_id, "b", "40")
    at = now + timedelta(minutes=1)
    came_in = {"w": 900, "v": 300, "a": 500, "b": 250}
    went_out = {"w": 100, "v": 200, "a": 50, "b": 25}
    apply([paid("in", minor, at, account) for account, minor in came_in.items()])
    apply([paid("out", -minor, at, account) for account, minor in went_out.items()])
    assert amount(session_factory, goal_id) == expected
    with session_factory() as session, pytest.raises(AllocationExceeded):
        change_allocation(session, DEFAULT, goal_id, "w", 1, at)
    run_snapshot(session_factory, now + timedelta(days=1))
    assert verify(session_factory, datetime.now(UTC)).is_ok


def _funding(session: object, goal_id: str) -> tuple[object, ...]:
    return tuple(list_funding(session, DEFAULT, goal_id, limit=100, cursor=None).items)  # type: ignore[arg-type]


def test_a_net_worth_goal_follows_its_user_by_default_and_says_what_it_leaves_out(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Accounts in another currency or in none yet are named by the goal, its progress and its funding until they go."""
    goal_id = goal(session_factory, now, GoalType.NET_WORTH)
    assert _notes(session_factory, goal_id, now) == (None, {})
    apply(
        [
            balance(100, now, account="dollars", user_id="u"),
            balance(5_000, now, account="euros", user_id="u", currency="EUR"),
            belongs("new", "u", now),
        ]
    )
    note, sources = _notes(session_factory, goal_id, now)
    assert note == "leaves out accounts that are not in USD: euros (EUR), new (no currency yet)"
    assert sources == {
        "dollars": (100, None),
        "euros": (0, "counts nothing: the account is in EUR, the goal in USD"),
        "new": (0, "counts nothing: the account has no currency yet"),
    }
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert (view.tracking, view.amount_minor, view.waiting_for) == (Tracking.NET_WORTH, 100, ())
    versions = [_version(session_factory, goal_id)]
    apply([paid("1", 9, now + timedelta(minutes=1), account="new")])
    assert _notes(session_factory, goal_id, now)[0] == "leaves out accounts that are not in USD: euros (EUR)"
    versions.append(_version(session_factory, goal_id))
    apply([belongs("euros", "v", now + timedelta(minutes=1))])
    assert _notes(session_factory, goal_id, now)[0] is None
    versions.append(_version(session_factory, goal_id))
    assert versions == sorted(set(versions)), "what a version says must not change"
    assert verify(session_factory, datetime.now(UTC)).is_ok


@pytest.mark.parametrize("has_facts", [False, True])
def test_an_amount_by_hand_ends_following_by_default(
    session_factory: Sessions, apply: Apply, now: datetime, has_facts: bool
) -> None:
    """The goal then counts what was set by hand, in its past too; the audit says so, and it takes links again."""
    began = now - timedelta(days=5)
    goal_id = goal(session_factory, began, GoalType.NET_WORTH, current_amount="3", target_amount="50")
    if has_facts:
        apply([balance(900, began, account="a", user_id="u"), balance(7, began, account="b", user_id="u")])
    run_snapshot(session_factory, now)
    with session_factory.begin() as session:
        view = update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount="12"), now)
        assert (view.tracking, view.amount_minor, view.waiting_for, view.note) == (Tracking.CHANGE, 1200, (), None)
        assert _funding(session, goal_id) == ()
        acts = Sql("SELECT action, subject, detail FROM audit WHERE action LIKE 'goal%'").rows(session, {})
    detail = "change instead of net_worth, since current_amount was set by hand"
    assert acts == [("goal.tracking", goal_id, detail)]
    apply([balance(5, now, account="a", user_id="u"), balance(9, now, account="late", user_id="u")])
    assert amount(session_factory, goal_id) == 1200
    link(session_factory, now, goal_id, "a", "100")
    apply([paid("1", 40, now + timedelta(minutes=1))])
    assert amount(session_factory, goal_id) == 1240
    run_snapshot(session_factory, now + timedelta(days=1))
    with session_factory() as session:
        rows = Sql("SELECT amount_minor FROM goal_snapshots ORDER BY day").values(session, {})
    assert rows == [300, 1240]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_a_net_worth_that_was_asked_for_is_not_set_by_hand(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Its amount stays that of the accounts, and a refusal changes nothing; before the first balance it can be set."""
    goal_id = net_worth(session_factory, now)
    with session_factory.begin() as session:
        assert update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount="12"), now).amount_minor == 1200
    apply([balance(900, now, account="a", user_id="u")])
    with session_factory() as session, pytest.raises(AmountFollowsAccounts):
        update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount="13"), now)
    assert amount(session_factory, goal_id) == 900


def test_an_account_that_joins_while_an_amount_is_set_by_hand_is_not_linked(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Many races of a batch and a request on two connections: whoever is first, only the amount by hand counts."""
    for number in range(12):
        user = f"racer-{number}"
        goal_id = goal(session_factory, now, GoalType.NET_WORTH, user_id=user)
        start = threading.Barrier(2)

        def type_amount(goal_id: str = goal_id, start: threading.Barrier = start) -> None:
            start.wait()
            with session_factory.begin() as session:
                update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount="1"), now)

        thread = threading.Thread(target=type_amount)
        thread.start()
        start.wait()
        apply([balance(7, now, account=f"{user}-new", user_id=user)])
        thread.join()
        assert amount(session_factory, goal_id) == 100
        with session_factory() as session:
            assert _funding(session, goal_id) == ()
    assert verify(session_factory, datetime.now(UTC)).is_ok


def _notes(
    sessions: Sessions, goal_id: str, now: datetime
) -> tuple[str | None, dict[str, tuple[int | None, str | None]]]:
    """The note of a goal and its progress, and what each of its funding sources counts, with its note."""
    with sessions() as session:
        note = get_goal(session, DEFAULT, goal_id).note
        assert goal_progress(session, DEFAULT, goal_id, now).note == note
        sources = list_funding(session, DEFAULT, goal_id, limit=100, cursor=None).items
    return note, {view.account_id: (view.counted_minor, view.note) for view in sources}


def _version(sessions: Sessions, goal_id: str) -> int:
    with sessions() as session:
        return get_goal(session, DEFAULT, goal_id).version
