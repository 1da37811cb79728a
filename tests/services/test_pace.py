"""The pace of a goal: what was contributed in whole months, whatever the market, links and banks do meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta

import pytest

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.project import run_project
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, unlink_account
from core.services.goals import update_goal
from core.services.inputs import GoalChanges
from core.services.views import ProgressView
from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import DEFAULT, balance, event, goal, goal_progress, link, paid
from tests.conftest import Apply

# Closed through March 9, so the last three months began with the closes of December 9, January 9 and February 9.
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BEGAN = datetime(2025, 12, 1, 9, tzinfo=UTC)
C = 600_00


def progress(sessions: Sessions, goal_id: str, now: datetime = NOON) -> ProgressView:
    """A goal's progress."""
    with sessions() as session:
        return goal_progress(session, DEFAULT, goal_id, now)


def monthly(sessions: Sessions, goal_id: str, now: datetime = NOON) -> tuple[int | None, int]:
    """What a month brings, and on how many months that rests."""
    view = progress(sessions, goal_id, now)
    return view.monthly_actual_minor, view.contribution_months


def change(sessions: Sessions, goal_id: str, now: datetime = NOON, **changes: object) -> None:
    """Change a goal."""
    with sessions.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(**changes), now)  # type: ignore[arg-type]


def at(month: int, day: int, hour: int = 12) -> datetime:
    """A moment of the winter."""
    return datetime(2025 if month > 3 else 2026, month, day, hour, tzinfo=UTC)


def contributions(account: str = "a", minor: int = C, day: int = 15) -> list[bytes]:
    """The same on that day of each of four months, from November on."""
    return [paid(f"c{month}", minor, at(month, day), account) for month in (11, 12, 1, 2)]


def funded(sessions: Sessions, account: str = "a", percent: str = "100", **changes: object) -> str:
    """A goal since December 1 that one account funds."""
    goal_id = goal(sessions, BEGAN, **changes)  # type: ignore[arg-type]
    link(sessions, BEGAN, goal_id, account, percent, BEGAN.date())
    return goal_id


def valued(days: Iterable[date], worth: Callable[[int], int], account: str = "a", **more: object) -> list[bytes]:
    """A balance in the evening of each day."""
    return [
        balance(worth(n), datetime(day.year, day.month, day.day, 20, tzinfo=UTC), account, **more)
        for n, day in enumerate(days)
    ]


def test_nine_goals_that_got_the_same_have_one_pace(session_factory: Sessions, apply: Apply) -> None:
    """600.00 on one day of each of three months: 600.00 a month, one distance, and all are on track, on any day."""
    began = datetime(2025, 11, 30, 9, tzinfo=UTC)
    goals = []
    for day in range(1, 28, 3):
        goal_id = goal(session_factory, began, target_amount="9000", deadline=date(2027, 4, 1))
        link(session_factory, began, goal_id, f"a{day}", "100", began.date())
        apply([paid(f"c{month}", C, at(month, day, 9), f"a{day}") for month in (12, 1, 2)])
        goals.append(goal_id)
    run_snapshot(session_factory, at(3, 1))
    run_project(session_factory, at(3, 1))
    views = [progress(session_factory, goal_id, at(3, 1)) for goal_id in goals]
    assert {view.monthly_actual_minor for view in views} == {C}
    assert {view.contribution_months for view in views} == {3}
    # 7,200.00 are left: twelve times the 28 days of February, counted from March 1 on.
    assert {view.projected_completion_date for view in views} == {datetime(2027, 1, 31, tzinfo=UTC)}
    assert {view.is_on_track for view in views} == {True}


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE])
def test_the_market_is_no_contribution(session_factory: Sessions, apply: Apply, tracking: Tracking) -> None:
    """A balance every day that is worth more and less: contributions are exactly 600.00, and the trend has both."""
    goal_id = funded(session_factory, tracking=tracking)
    since = date(2025, 11, 20)
    days = [since + n * DAY for n in range((NOON.date() - since).days)]
    apply(valued(days, lambda n: 10_000_00 + 137 * n * (n % 7 - 3) + n**3))
    apply(contributions())
    assert monthly(session_factory, goal_id) == (C, 3)
    last, month_ago = (n**3 + 137 * n * (n % 7 - 3) for n in (109, 81))
    assert [days[n] for n in (109, 81)] == [date(2026, 3, 9), date(2026, 2, 9)]
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    with session_factory() as session:
        assert Sql("SELECT trend_minor, trend_days FROM forecasts").one(session, {}) == (last - month_ago, 28)


def test_half_of_an_account_has_half_of_its_contributions(session_factory: Sessions, apply: Apply) -> None:
    """The share of the market is left out, too."""
    goal_id = funded(session_factory, percent="50")
    apply(valued([date(2025, 12, 5), date(2026, 1, 5), date(2026, 2, 20)], lambda n: 5_000_00 + 777_00 * n))
    apply(contributions())
    assert monthly(session_factory, goal_id) == (C // 2, 3)


def test_of_balances_alone_the_whole_change_counts(session_factory: Sessions, apply: Apply) -> None:
    """Nobody can tell contributions from the market there; one transaction in the three months shows it."""
    goal_id = funded(session_factory)
    apply(valued([date(2025, 12, 5), date(2026, 1, 5), date(2026, 3, 5)], lambda n: 5_000_00 + 900_00 * n))
    assert monthly(session_factory, goal_id) == (600_00, 3)
    apply([paid("before", 3_00, at(12, 9)), paid("nothing", 0, at(2, 1))])
    assert monthly(session_factory, goal_id) == (599_00, 3)
    apply([paid("c", 30_00, at(2, 1))])
    assert monthly(session_factory, goal_id) == (10_00, 3)


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE, Tracking.NET_WORTH])
def test_a_first_balance_is_no_contribution(session_factory: Sessions, apply: Apply, tracking: Tracking) -> None:
    """Not that of the first account, nor that of a second one, which has none before it is linked a month later."""
    goal_id = goal(session_factory, BEGAN, tracking=tracking)
    if tracking is not Tracking.NET_WORTH:
        link(session_factory, BEGAN, goal_id, "a", "50")
    apply([balance(5_000_00, at(12, 20), user_id="u")])
    if tracking is not Tracking.NET_WORTH:
        link(session_factory, at(1, 20), goal_id, "b", "50")
    apply([balance(9_000_00, at(1, 25), "b", user_id="u")])
    assert monthly(session_factory, goal_id) == (0, 3)
    apply([paid("c", 90_00, at(1, 28)), paid("d", 30_00, at(2, 28), "b")])
    assert monthly(session_factory, goal_id) == (40_00 if tracking is Tracking.NET_WORTH else 20_00, 3)


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE])
def test_what_a_link_brings_and_takes_is_no_contribution(
    session_factory: Sessions, apply: Apply, tracking: Tracking
) -> None:
    """Linked on January 20 and unlinked on February 20: what was contributed in between counts, and nothing else."""
    goal_id = funded(session_factory, tracking=tracking, percent="10")
    link(session_factory, at(1, 20), goal_id, "b", "90")
    apply([balance(1_000_00, at(12, 1)), balance(7_000_00, at(12, 1), "b"), *contributions("b", 100_00)])
    apply([balance(7_800_00, at(1, 5), "b"), balance(8_800_00, at(1, 25), "b"), balance(8_950_00, at(2, 25), "b")])
    assert monthly(session_factory, goal_id) == (30_00, 3)
    apply([paid("more", 50_00, at(2, 19), "b"), paid("too late", 70_00, at(2, 21), "b")])
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "b", at(2, 20))
    assert monthly(session_factory, goal_id) == (45_00, 3)


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE])
def test_two_links_of_one_account_are_evaluated_together(
    session_factory: Sessions, apply: Apply, tracking: Tracking
) -> None:
    """The share changes after the last contribution: interest since is still no contribution, nor is the change."""
    goal_id = funded(session_factory, tracking=tracking)
    apply([balance(4_000_00, at(12, 1)), *contributions()])
    with session_factory.begin() as session:
        change_allocation(session, DEFAULT, goal_id, "a", "50", at(2, 20))
    apply([balance(5_900_00, at(2, 25))])
    assert monthly(session_factory, goal_id) == (C, 3)


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE])
def test_what_is_paid_off_is_above_zero(session_factory: Sessions, apply: Apply, tracking: Tracking) -> None:
    """A loan of 9,000.00, of which 600.00 a month are paid off, while interest is added that only balances tell."""
    owed = {} if tracking is Tracking.BALANCE else {"current_amount": "9000"}
    goal_id = funded(session_factory, type=GoalType.DEBT, tracking=tracking, target_amount="0", **owed)
    apply([balance(9_000_00, at(12, 1), kind="liability"), *contributions()])
    apply([balance(8_450_00, at(12, 28)), balance(7_910_00, at(1, 28)), balance(7_380_00, at(2, 28))])
    view = progress(session_factory, goal_id)
    assert (view.monthly_actual_minor, view.amount_minor) == (C, 7_380_00)
    apply([paid("more debt", -3_000_00, at(2, 10))])
    assert monthly(session_factory, goal_id) == (-400_00, 3)


def test_a_second_loan_is_no_debt_that_was_made(session_factory: Sessions, apply: Apply) -> None:
    """It is linked in January, and raises what is owed; in February another share of it is, which lowers that."""
    goal_id = funded(session_factory, type=GoalType.DEBT, tracking=Tracking.BALANCE, target_amount="0", percent="40")
    link(session_factory, at(1, 20), goal_id, "b", "60")
    apply([balance(9_000_00, at(12, 1), name, kind="liability") for name in ("a", "b")])
    apply([paid("c", 300_00, at(2, 1)), paid("d", 600_00, at(2, 1), "b"), paid("e", 600_00, at(2, 25), "b")])
    with session_factory.begin() as session:
        change_allocation(session, DEFAULT, goal_id, "b", "20", at(2, 20))
    view = progress(session_factory, goal_id)
    assert (view.monthly_actual_minor, view.amount_minor) == ((120_00 + 360_00 + 120_00) // 3, 3_480_00 + 1_560_00)


def test_the_market_of_a_window_is_that_of_its_days(session_factory: Sessions, apply: Apply) -> None:
    """A balance at the first instant of the window is in it, and one at the first instant after it is not."""
    goal_id = funded(session_factory)
    apply([balance(1_000_00, at(12, 1)), *contributions()])
    apply(
        [balance(1_607_00, at(12, 10, 0) + 6 * DAY), balance(2_000_00, at(12, 10, 0)), balance(9_000_00, at(3, 10, 0))]
    )
    assert monthly(session_factory, goal_id) == (C, 3)


def test_what_comes_and_goes_within_a_day_is_no_contribution(session_factory: Sessions, apply: Apply) -> None:
    """A row that the balance of the same evening does not have, on each of three days: no close ever moved."""
    goal_id = funded(session_factory)
    apply([balance(1_000_00, at(month, 16, 20)) for month in (11, 12, 1, 2)])
    apply(contributions(day=16))
    assert progress(session_factory, goal_id).projection_note == "no movement in the last month"
    assert monthly(session_factory, goal_id) == (0, 3)
    run_snapshot(session_factory, NOON)
    apply([paid("late", 5_00, at(2, 20)), balance(1_000_00, at(2, 20, 20))])
    assert monthly(session_factory, goal_id) == (0, 3)


def test_what_is_set_by_hand_counts_as_contributed(session_factory: Sessions, apply: Apply) -> None:
    """From 200.00, of which 50.00 are the market's, to 500.00; what came and went before is in it only once."""
    goal_id = funded(session_factory)
    apply([balance(1_000_00, at(12, 1)), paid("c", 150_00, at(12, 20)), balance(1_200_00, at(1, 1))])
    change(session_factory, goal_id, at(1, 10), current_amount="500")
    apply([paid("d", 30_00, at(2, 1)), balance(1_250_00, at(2, 2))])
    assert progress(session_factory, goal_id).amount_minor == 550_00
    assert monthly(session_factory, goal_id) == ((150_00 + 300_00 + 30_00) // 3, 3)


def test_of_an_inflow_all_counts(session_factory: Sessions, apply: Apply) -> None:
    """It knows no market, and what goes out is no part of it."""
    goal_id = funded(session_factory, type=GoalType.INCOME)
    apply([balance(1_000_00, at(12, 1)), *contributions(), paid("out", -900_00, at(1, 2)), balance(9_000_00, at(2, 2))])
    assert monthly(session_factory, goal_id) == (C, 3)


def changed(account: str, **data: object) -> bytes:
    """A statement about an account."""
    return event("account.changed", NOON, f"{account} {data}", {"account_id": account} | data)


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE])
def test_accounts_that_are_joined_go_on(session_factory: Sessions, apply: Apply, tracking: Tracking) -> None:
    """Contributions to the old account, then to the new one, which began with 40.00 more than the old one had."""
    goal_id = funded(session_factory, "old", tracking=tracking)
    apply([balance(1_000_00, at(12, 1), "old"), paid("c12", C, at(12, 15), "old"), paid("c1", C, at(1, 15), "old")])
    apply([balance(2_230_00, at(1, 20), "old"), balance(2_270_00, at(2, 1), "new"), paid("c2", C, at(2, 15), "new")])
    apply([paid("old later", 5_00, at(2, 20), "old"), paid("new earlier", 5_00, at(1, 25), "new")])
    apply([changed("old", replaced_by="new"), balance(2_900_00, at(2, 25), "new")])
    assert monthly(session_factory, goal_id) == (C, 3)
    if tracking is Tracking.BALANCE:
        assert progress(session_factory, goal_id).amount_minor == 2_900_00


def test_an_account_that_was_opened_brings_no_contribution(session_factory: Sessions, apply: Apply) -> None:
    """Its worth begins on that day with what its first balance and the rows before it leave."""
    goal_id = goal(session_factory, BEGAN, tracking=Tracking.NET_WORTH)
    apply([balance(100_00, at(12, 1), "other", user_id="u")])
    apply([balance(1_000_00, at(1, 20), user_id="u"), paid("c", 300_00, at(1, 15)), changed("a", opened="2026-01-10")])
    assert progress(session_factory, goal_id).amount_minor == 1_100_00
    assert monthly(session_factory, goal_id) == (100_00, 3)


@pytest.mark.parametrize(
    ("now", "months", "actual"),
    [(at(12, 31), 0, None), (at(1, 1), 0, None), (at(1, 2), 1, C), (at(2, 2), 2, C), (at(3, 2), 3, C), (NOON, 3, C)],
)
def test_it_says_on_how_many_months_it_rests(
    session_factory: Sessions, apply: Apply, now: datetime, months: int, actual: int | None
) -> None:
    """Of a goal since December 1: one from the close of January 1 on, three from that of March 1 on."""
    goal_id = funded(session_factory, deadline=at(3, 31))
    apply(contributions())
    view = progress(session_factory, goal_id, now)
    assert (view.contribution_months, view.monthly_actual_minor) == (months, actual)
    assert view.trend_months == min(months, 1)
    assert (view.is_on_track is None) == (months == 0)
    if not months:
        days = (now - BEGAN).days - 1
        assert view.projection_note == f"too little history: {days} days of at least one month"


def test_what_a_request_changes_shows_at_once(session_factory: Sessions, apply: Apply) -> None:
    """The stored row has neither the target, nor the amount, nor the status."""
    goal_id = funded(session_factory, target_amount="3000", deadline=date(2026, 5, 9))
    apply(contributions())
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    later = NOON + timedelta(hours=2)
    # 1,200.00 to go at 600.00 in the last 28 days.
    assert progress(session_factory, goal_id, later).projected_completion_date == datetime(2026, 5, 5, tzinfo=UTC)
    change(session_factory, goal_id, later, target_amount="3600")
    view = progress(session_factory, goal_id, later)
    assert (view.projected_completion_date, view.is_on_track) == (datetime(2026, 6, 2, tzinfo=UTC), False)
    apply([paid("today", C, NOON)])
    view = progress(session_factory, goal_id, later)
    assert (view.projected_completion_date, view.is_on_track) == (datetime(2026, 5, 5, tzinfo=UTC), True)
    assert (view.projected_at, view.calculated_at, view.monthly_actual_minor) == (NOON, later, C)
    change(session_factory, goal_id, later, status=GoalStatus.PAUSED)
    view = progress(session_factory, goal_id, later)
    assert (view.projection_note, view.monthly_actual_minor, view.is_on_track) == ("the goal is paused", None, None)
    assert (view.contribution_months, view.trend_months, view.projected_at) == (0, 0, later)


def test_what_follows_from_closes_is_as_old_as_the_last_closing(session_factory: Sessions, apply: Apply) -> None:
    """A late fact counts once its day is closed again; from then on until the next run, what it says is computed."""
    goal_id = funded(session_factory)
    apply(contributions())
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    apply([paid("late", 300_00, at(2, 1))])
    later = NOON + timedelta(hours=1)
    view = progress(session_factory, goal_id, later)
    assert (view.monthly_actual_minor, view.projected_at) == (C, NOON)
    run_snapshot(session_factory, later)
    view = progress(session_factory, goal_id, later)
    assert (view.monthly_actual_minor, view.projected_at) == (700_00, later)
    run_project(session_factory, later)
    assert progress(session_factory, goal_id, later + timedelta(hours=5)).projected_at == later


def test_a_row_of_an_earlier_day_is_used_for_a_day_only(session_factory: Sessions, apply: Apply) -> None:
    """Of a goal that did not move: between the closing of a day and the run that follows; later it is computed."""
    goal_id = funded(session_factory)
    apply(contributions())
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    for days, expected in ((1, NOON), (2, NOON + 2 * DAY)):
        now = NOON + days * DAY
        assert progress(session_factory, goal_id, now).projected_at == NOON
        run_snapshot(session_factory, now)
        assert progress(session_factory, goal_id, now).projected_at == expected
