"""Goals under events and requests: concurrency, marks, messages, final moments."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.errors import AmountFollowsAccounts, GoalIsFinal, InvalidField, NotFound
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.services.funding import list_funding, unlink_account
from core.services.goals import delete_goal, get_goal, update_goal
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import DEFAULT, amount, balance, event, goal, link, paid
from tests.conftest import Apply


def test_the_documented_split_comes_out_to_the_cent(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """2,500.00 set by hand, 60% of +1,000.00 and 40% of -250.00 make 3,000.00."""
    goal_id = goal(session_factory, now, current_amount="2500.00")
    link(session_factory, now, goal_id, "savings", "60")
    link(session_factory, now, goal_id, "checking", "40")
    later = now + timedelta(hours=1)
    apply([paid("1", 100_000, later, "savings"), paid("2", -25_000, later, "checking")])
    assert amount(session_factory, goal_id) == 300_000


def test_linking_never_makes_an_amount_jump(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Money that was there before the link, and a first report that arrives after it, count nothing for `change`."""
    goal_id = goal(session_factory, now, current_amount="10")
    apply([paid("old", 50_000, now - timedelta(days=3))])
    link(session_factory, now, goal_id, "a", "100")
    assert amount(session_factory, goal_id) == 1000
    apply([balance(777_00, now + timedelta(minutes=1))])
    assert amount(session_factory, goal_id) == 1000
    apply([paid("new", 500, now + timedelta(minutes=2)), paid("late", 900, now - timedelta(days=1))])
    assert amount(session_factory, goal_id) == 1500


def test_a_paused_goal_marks_nothing_and_catches_up(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A paused goal's amount follows its accounts in silence; when it is active again its milestones are marked."""
    goal_id = goal(session_factory, now, status=GoalStatus.PAUSED)
    link(session_factory, now, goal_id, "a", "100")
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("5"), now)
    apply([paid("1", 700, now + timedelta(minutes=1))])
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert (view.amount_minor, view.milestones[0].reached) == (700, False)
        assert Sql("SELECT count(*) FROM outbox WHERE type LIKE '%.reached'").value(session, {}) == 0
    with session_factory.begin() as session:
        changes = GoalChanges(status=GoalStatus.ACTIVE)
        assert update_goal(session, DEFAULT, goal_id, changes, now).milestones[0].reached


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE])
def test_a_final_amount_is_that_of_its_final_moment(
    session_factory: Sessions, apply: Apply, now: datetime, tracking: Tracking
) -> None:
    """What is dated after the final moment counts nothing; what is dated before and arrives later corrects it."""
    goal_id = goal(session_factory, now - timedelta(days=9), tracking=tracking)
    link(session_factory, now - timedelta(days=9), goal_id, "a", "50")
    apply([balance(0, now - timedelta(days=8)), paid("1", 1000, now - timedelta(days=5))])
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.COMPLETED), now - timedelta(days=2))
    apply([paid("after", 5000, now - timedelta(days=1))])
    assert amount(session_factory, goal_id) == 500
    apply([paid("before", 300, now - timedelta(days=3))])
    assert amount(session_factory, goal_id) == 650
    with session_factory() as session:
        assert list_funding(session, DEFAULT, goal_id).items == ()
    with session_factory.begin() as session, pytest.raises(GoalIsFinal):
        update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=1), now)


def test_a_goal_that_follows_balances_waits_for_reports(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """It shows its manual amount until a report comes and names the accounts without one; then none can be set."""
    goal_id = goal(session_factory, now, tracking=Tracking.BALANCE, current_amount="42", target_amount="100")
    link(session_factory, now, goal_id, "a", "50")
    link(session_factory, now, goal_id, "b", "50")
    apply([paid("1", 1000, now)])
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert (view.amount_minor, view.waiting_for) == (4200, ("a", "b"))
    apply([balance(90_000, now)])
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert (view.amount_minor, view.waiting_for) == (45_000, ("b",))
        assert Sql("SELECT count(*) FROM outbox WHERE type LIKE '%.reached'").value(session, {}) == 0
    with session_factory.begin() as session, pytest.raises(AmountFollowsAccounts):
        update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=1), now)
    apply([balance(-10_000, now, "b")])
    with session_factory() as session:
        assert get_goal(session, DEFAULT, goal_id).amount_minor == 40_000
        assert Sql("SELECT count(*) FROM outbox WHERE type LIKE '%.reached'").value(session, {}) == 1


def test_a_debt_falls_as_it_is_paid(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A debt that follows its card shows what is owed, and takes no asset."""
    goal_id = goal(
        session_factory, now, GoalType.DEBT, tracking=Tracking.BALANCE, target_amount="0", current_amount="8500"
    )
    link(session_factory, now, goal_id, "card", "100")
    apply([balance(850_000, now, "card", kind="liability"), paid("1", 75_000, now + timedelta(hours=1), "card")])
    assert amount(session_factory, goal_id) == 775_000
    apply([balance(100, now, "cash", kind="asset")])
    with pytest.raises(InvalidField, match="liabilities only"):
        link(session_factory, now, goal_id, "cash", "10")


def test_an_account_of_another_currency_counts_nothing_and_says_so(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A link made before the account was seen counts nothing once its first fact is in another currency."""
    goal_id = goal(session_factory, now, currency="EUR")
    link(session_factory, now, goal_id, "a", "100")
    apply([paid("1", 1000, now + timedelta(hours=1))])
    assert amount(session_factory, goal_id) == 0
    with session_factory() as session:
        (source,) = list_funding(session, DEFAULT, goal_id).items
        assert source.counted_minor == 0
        assert source.note == "counts nothing: the account is in USD, the goal in EUR"


def test_a_closed_account_keeps_its_links_and_takes_no_new_ones(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Closing an account changes no amount; another goal cannot be linked to it."""
    goal_id, other = goal(session_factory, now), goal(session_factory, now)
    link(session_factory, now, goal_id, "a", "100")
    apply(
        [
            paid("1", 1000, now + timedelta(minutes=1)),
            event("account.changed", now, "c", {"account_id": "a", "closed": True}),
        ]
    )
    assert amount(session_factory, goal_id) == 1000
    with pytest.raises(InvalidField, match="closed"):
        link(session_factory, now, other, "a", "10")


def test_linking_again_from_an_earlier_date_adds_the_days_that_were_missed(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A link made too late is mended by linking again, dated back: missed days count, counted ones not twice."""
    goal_id = goal(session_factory, now - timedelta(days=9))
    times = [now - timedelta(days=8), now - timedelta(days=5), now - timedelta(days=2)]
    apply([paid(str(number), 1000 * (number + 1), at) for number, at in enumerate(times)])
    link(session_factory, now, goal_id, "a", "50", now - timedelta(days=6))
    assert amount(session_factory, goal_id) == 2500
    link(session_factory, now + timedelta(minutes=1), goal_id, "a", "50", now - timedelta(days=9))
    assert amount(session_factory, goal_id) == 3000
    with session_factory() as session:
        (source,) = list_funding(session, DEFAULT, goal_id).items
        assert (source.from_at, source.counted_minor) == (now - timedelta(days=9), 3000)
    apply([paid("late", 200, now - timedelta(days=7)), paid("new", 400, now + timedelta(hours=1))])
    assert amount(session_factory, goal_id) == 3300
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "a", now + timedelta(hours=2))
    link(session_factory, now + timedelta(hours=3), goal_id, "a", "100", now - timedelta(days=9))
    apply([paid("between", 10, now + timedelta(hours=2, minutes=30))])
    assert amount(session_factory, goal_id) == 3310


def test_a_deleted_goal_takes_its_rows_along_and_frees_its_accounts(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Nothing of a deleted goal is left but the messages it caused, and events go on."""
    goal_id = goal(session_factory, now)
    link(session_factory, now, goal_id, "a", "100")
    apply([paid("1", 1000, now + timedelta(hours=1))])
    with session_factory.begin() as session:
        delete_goal(session, DEFAULT, goal_id, now)
    with session_factory() as session:
        for table in ("goals", "links", "goal_entries", "milestones"):
            assert Sql(f"SELECT count(*) FROM {table}").value(session, {}) == 0
    apply([paid("2", 1000, now + timedelta(hours=1))])
    with session_factory() as session, pytest.raises(NotFound):
        get_goal(session, DEFAULT, goal_id)


def test_learning_that_an_account_is_an_asset_ends_the_waiting_for_it(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A debt that follows balances waits for no account that can never count, and then marks what it reached."""
    goal_id = goal(
        session_factory, now, GoalType.DEBT, tracking=Tracking.BALANCE, target_amount="0", current_amount="1000"
    )
    link(session_factory, now, goal_id, "card", "50")
    link(session_factory, now, goal_id, "checking", "50")
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("400"), now)
    apply([balance(60_000, now + timedelta(minutes=1), "card", kind="liability")])
    apply([event("account.changed", now, "k", {"account_id": "checking", "kind": "asset"})])
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert (view.amount_minor, view.waiting_for, view.milestones[0].reached) == (30_000, (), True)


def test_a_report_after_the_final_moment_changes_no_final_amount(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A goal that was completed while it waited for a report keeps the amount that it was completed at."""
    goal_id = goal(session_factory, now - timedelta(days=9), tracking=Tracking.BALANCE, current_amount="500")
    link(session_factory, now - timedelta(days=9), goal_id, "a", "100")
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.COMPLETED), now - timedelta(days=2))
    apply([balance(200_000, now - timedelta(days=1))])
    assert amount(session_factory, goal_id) == 50_000


def test_a_change_of_kind_applies_ten_thousands_of_reports_again(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """An account with a report for every quarter of an hour turns into a liability in one batch."""
    count = 20_000
    with session_factory.begin() as session:
        Sql(
            "INSERT INTO accounts (tenant, account_id, currency, opening_minor, worth_minor, first_report_at, "
            "last_report_at) VALUES ('default', 'a', 'USD', 1, :n, :first, :last)"
        ).run(session, {"n": count, "first": now - timedelta(minutes=15 * (count - 1)), "last": now})
        Sql(
            "INSERT INTO reports (tenant, account_id, as_of, current_minor, currency, residual_minor, event_time, "
            "source, event_id) SELECT 'default', 'a', :now - make_interval(mins => 15 * (:n - i)), i, 'USD', "
            "CASE WHEN i = 1 THEN 0 ELSE 1 END, :now, 's', i::text FROM generate_series(1, :n) i"
        ).run(session, {"n": count, "now": now})
    apply([event("account.changed", now, "k", {"account_id": "a", "kind": "liability"})])
    with session_factory() as session:
        row = Sql("SELECT opening_minor, worth_minor FROM accounts").one(session, {})
        assert row == (-1, -count)
        assert Sql("SELECT sum(residual_minor) FROM reports").value(session, {}) == -(count - 1)


def test_linking_again_and_again_in_one_moment_keeps_every_period(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Requests of a goal have moments of their own, also after one that added days, on a clock that stands still."""
    goal_id = goal(session_factory, now - timedelta(days=9))
    apply([paid(str(days), 1000, now - timedelta(days=days)) for days in (2, 4, 6, 8)])
    for days in (1, 3, 5, 7, 9):
        link(session_factory, now, goal_id, "a", "100", now - timedelta(days=days))
    assert amount(session_factory, goal_id) == 4000
