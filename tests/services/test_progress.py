"""Progress: what a month brings, what the deadline needs, and how new the amount is, whatever came first."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.events.calendar import INSTANT
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.project import run_project
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, unlink_account
from core.services.goals import update_goal
from core.services.inputs import GoalChanges
from core.services.views import ProgressView
from core.store.database import Sessions
from core.store.driver import NeedsTransaction, Sql
from core.store.seen_progress import read_seen_progress
from core.store.tenants import Tenant
from tests.acts import DEFAULT, balance, event, goal, goal_progress, link, paid
from tests.conftest import Apply

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BEGAN = NOON - 40 * DAY


def progress(sessions: Sessions, goal_id: str, now: datetime = NOON, tenant: Tenant = DEFAULT) -> ProgressView:
    """A goal's progress."""
    with sessions() as session:
        return goal_progress(session, tenant, goal_id, now)


def change(sessions: Sessions, goal_id: str, now: datetime = NOON, **changes: Any) -> None:
    """Change a goal."""
    with sessions.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(**changes), now)


def saving(sessions: Sessions, apply: Apply, **changes: Any) -> str:
    """A goal of 1,000.00 that got 10.00 on each of forty days, up to yesterday."""
    goal_id = goal(sessions, BEGAN, **({"target_amount": "1000"} | changes))
    link(sessions, BEGAN, goal_id, "a", "100", BEGAN.date())
    apply([paid(f"t{n}", 1_000, NOON - n * DAY) for n in range(40, 0, -1)])
    return goal_id


def test_the_documented_goal_needs_625_a_month(session_factory: Sessions) -> None:
    """From 2,500 to 10,000 in a year; nothing without a deadline, and all of it once that is less than a month off."""
    goal_id = goal(session_factory, NOON, current_amount="2500", deadline=NOON + 365 * DAY)
    assert progress(session_factory, goal_id).monthly_target_minor == 62_500
    for deadline, expected in ((None, None), (NOON + 20 * DAY, 750_000), (NOON - 20 * DAY, 750_000)):
        change(session_factory, goal_id, deadline=deadline)
        assert progress(session_factory, goal_id).monthly_target_minor == expected
    change(session_factory, goal_id, current_amount="10000", deadline=NOON + 365 * DAY)
    assert progress(session_factory, goal_id).monthly_target_minor == 0


@pytest.mark.parametrize(("status", "target"), [("paused", 62_500), ("completed", None), ("abandoned", None)])
def test_what_is_final_needs_nothing(session_factory: Sessions, status: str, target: int | None) -> None:
    """A paused goal still has a deadline to make; a final one has no months to come."""
    goal_id = goal(session_factory, NOON, current_amount="2500", deadline=NOON + 365 * DAY)
    change(session_factory, goal_id, status=GoalStatus(status))
    assert progress(session_factory, goal_id).monthly_target_minor == target


def test_a_debt_needs_what_is_left_to_its_finish(session_factory: Sessions) -> None:
    """8,500 to be paid down to 1,000 in a year are 625.00 a month; of a total debt all that is owed is left."""
    deadline = NOON + 365 * DAY
    debt = {"type": GoalType.DEBT, "current_amount": "8500", "deadline": deadline}
    part = goal(session_factory, NOON, target_amount="1000", **debt)
    assert progress(session_factory, part).monthly_target_minor == 62_500
    total = goal(session_factory, NOON, target_amount="9000", **debt)
    assert progress(session_factory, total).monthly_target_minor == 70_834


def test_months_are_counted_in_the_time_zone_of_the_tenant(session_factory: Sessions) -> None:
    """At nine UTC it is eleven at night in Kiritimati: to a deadline that is midnight there it is a day more."""
    goal_id = goal(session_factory, NOON, current_amount="2500", deadline=datetime(2026, 5, 10, 10, tzinfo=UTC))
    there, nine = Tenant("default", "Pacific/Kiritimati"), NOON - timedelta(hours=3)
    assert progress(session_factory, goal_id, nine).monthly_target_minor == 375_000
    assert progress(session_factory, goal_id, nine, there).monthly_target_minor == 369_048  # in 2 + 1/31 months
    assert progress(session_factory, goal_id, NOON, there).monthly_target_minor == 375_000


ZONES = ["UTC", "Pacific/Kiritimati", "Pacific/Niue", "America/New_York", "America/Havana", "Asia/Kathmandu"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_deadline_that_is_a_day_lasts_until_that_local_day_is_over(session_factory: Sessions, zone: str) -> None:
    """The goal is not missed before its day is over, there and not in UTC; a moment is missed once it has passed."""
    tenant, day = Tenant("default", zone), date(2026, 11, 1)  # in Havana and New York clocks go back on it
    is_over_at = datetime(2026, 11, 2, tzinfo=tenant.zone).astimezone(UTC)
    # So new that it has no whole month yet, which would say that it will not be reached.
    goal_id = goal(session_factory, is_over_at - 3 * DAY, current_amount="400", target_amount="1000", deadline=day)
    assert progress(session_factory, goal_id, is_over_at - INSTANT, tenant).is_on_track is None
    assert progress(session_factory, goal_id, is_over_at, tenant).is_on_track is False
    change(session_factory, goal_id, deadline=datetime(2026, 11, 1, tzinfo=UTC))
    assert progress(session_factory, goal_id, datetime(2026, 11, 1, tzinfo=UTC), tenant).is_on_track is None
    assert progress(session_factory, goal_id, datetime(2026, 11, 1, tzinfo=UTC) + INSTANT, tenant).is_on_track is False


@pytest.mark.parametrize("zone", ZONES)
def test_the_months_to_a_day_are_the_same_at_any_hour(session_factory: Sessions, zone: str) -> None:
    """600.00 a month for the whole of a day, from the first to the last instant of the day two months before."""
    tenant = Tenant("default", zone)
    goal_id = goal(session_factory, NOON, target_amount="1200", deadline=date(2026, 5, 10))
    for now in (datetime(2026, 3, 10, tzinfo=tenant.zone), datetime(2026, 3, 11, tzinfo=tenant.zone) - INSTANT):
        assert progress(session_factory, goal_id, now.astimezone(UTC), tenant).monthly_target_minor == 60_000


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
@pytest.mark.parametrize(
    "end", [(datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)), (date.max, date.min)]
)
def test_the_last_and_the_first_deadline_are_taken(
    session_factory: Sessions, zone: str, end: tuple[date, date]
) -> None:
    """A deadline at the end of all days, or at their beginning, is one in every time zone."""
    goal_id = goal(session_factory, NOON, deadline=end[0])
    tenant = Tenant("default", zone)
    assert progress(session_factory, goal_id, tenant=tenant).monthly_target_minor == 11
    change(session_factory, goal_id, deadline=end[1])
    assert progress(session_factory, goal_id, tenant=tenant).monthly_target_minor == 1_000_000


def test_the_pace_stored_at_night_is_the_fresh_one(session_factory: Sessions, apply: Apply) -> None:
    """10.00 a day are 280.00 in the month before March 9, before the night's run, after it, and from its row."""
    goal_id = saving(session_factory, apply, deadline=datetime(2026, 5, 9, tzinfo=UTC))
    fresh = progress(session_factory, goal_id)
    assert (fresh.monthly_actual_minor, fresh.contribution_months, fresh.is_on_track) == (28_000, 1, True)
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    assert progress(session_factory, goal_id) == fresh
    with session_factory.begin() as session:
        found = Sql("SELECT trend_minor, trend_days, contributed_minor, contribution_months FROM forecasts")
        assert found.one(session, {}) == (28_000, 28, 28_000, 1)
        Sql("UPDATE forecasts SET contributed_minor = 5").run(session, {})
    assert progress(session_factory, goal_id).monthly_actual_minor == 5


def test_one_statement_gives_the_progress_that_is_stored(session_factory: Sessions, apply: Apply) -> None:
    """It is that of a transaction. A pace that has to be computed, and joined accounts, need a transaction."""
    goal_id = saving(session_factory, apply)
    with session_factory.single() as session, pytest.raises(NeedsTransaction):
        goal_progress(session, DEFAULT, goal_id, NOON)
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    with session_factory.single() as session:
        found = goal_progress(session, DEFAULT, goal_id, NOON)
    assert found == progress(session_factory, goal_id)
    assert found.trend_months == 1
    with session_factory.begin() as session:
        Sql("UPDATE accounts SET counts_from = :at").run(session, {"at": BEGAN})
    with session_factory.single() as session, pytest.raises(NeedsTransaction):
        goal_progress(session, DEFAULT, goal_id, NOON)


def test_a_debt_that_falls_has_a_pace_above_zero(session_factory: Sessions, apply: Apply) -> None:
    """What is paid off counts towards the goal; new debt counts against it."""
    goal_id = saving(session_factory, apply, type=GoalType.DEBT)
    assert progress(session_factory, goal_id).monthly_actual_minor == 28_000
    apply([paid(f"n{n}", -2_000, NOON - n * DAY) for n in range(40, 0, -1)])
    assert progress(session_factory, goal_id).monthly_actual_minor == -28_000


def test_a_day_too_late_is_not_on_track(session_factory: Sessions, apply: Apply) -> None:
    """The goal is projected for May 9: a deadline of that day is made, one of the day before is not."""
    goal_id = saving(session_factory, apply)
    assert progress(session_factory, goal_id).is_on_track is None
    for day, expected in ((9, True), (8, False)):
        for deadline in (date(2026, 5, day), datetime(2026, 5, day, tzinfo=UTC)):
            change(session_factory, goal_id, deadline=deadline)
            assert progress(session_factory, goal_id).is_on_track is expected
    change(session_factory, goal_id, current_amount="1000", deadline=NOON - DAY)
    assert progress(session_factory, goal_id).is_on_track is True


@pytest.mark.parametrize("changes", [{"status": GoalStatus.PAUSED}, {"tracking": Tracking.BALANCE}])
def test_a_goal_that_rests_or_waits_has_no_pace(
    session_factory: Sessions, apply: Apply, changes: dict[str, Any]
) -> None:
    """A paused goal and one without a balance have no pace, and whether they make their deadline is unknown."""
    goal_id = saving(session_factory, apply, deadline=NOON + 90 * DAY, **changes)
    view = progress(session_factory, goal_id)
    assert (view.monthly_actual_minor, view.is_on_track) == (None, None)
    assert view.calculated_at == NOON


def test_a_manual_amount_is_as_new_as_its_setting(session_factory: Sessions) -> None:
    """Without accounts the amount is as of its creation or its last change by hand, whatever else has changed since."""
    goal_id = goal(session_factory, BEGAN)
    assert progress(session_factory, goal_id).as_of == BEGAN
    change(session_factory, goal_id, BEGAN + DAY, current_amount="5")
    change(session_factory, goal_id, BEGAN + 2 * DAY, name="other", status=GoalStatus.PAUSED)
    assert progress(session_factory, goal_id).as_of == BEGAN + DAY


def test_what_does_not_count_is_not_in_the_amount(session_factory: Sessions, apply: Apply) -> None:
    """Facts before the link, pending and removed ones, and those of another currency make no amount newer."""
    goal_id = goal(session_factory, BEGAN)
    link(session_factory, BEGAN + 5 * DAY, goal_id, "a", "50", BEGAN + 2 * DAY)
    link(session_factory, BEGAN + 5 * DAY, goal_id, "yen", "50", BEGAN)
    apply([paid("before", 100, BEGAN + DAY)])
    assert progress(session_factory, goal_id).as_of == BEGAN
    apply([paid("counts", 100, BEGAN + 3 * DAY)])
    pending = {"account_id": "a", "transaction_id": "p", "amount": 1, "currency": "USD", "pending": True}
    foreign = pending | {"account_id": "yen", "currency": "JPY", "pending": False}
    removed = {"account_id": "a", "transaction_id": "gone"}
    apply(
        [
            event("transaction.recorded", NOON, "1", pending | {"posted_at": NOON.isoformat()}),
            event("transaction.recorded", NOON, "2", foreign | {"posted_at": NOON.isoformat()}),
            paid("gone", 100, NOON),
            event("transaction.removed", NOON, "3", removed),
        ]
    )
    assert progress(session_factory, goal_id).as_of == BEGAN + 3 * DAY
    apply([balance(500, BEGAN + 4 * DAY)])
    assert progress(session_factory, goal_id).as_of == BEGAN + 4 * DAY


def test_an_income_is_as_new_as_the_money_that_came_in(session_factory: Sessions, apply: Apply) -> None:
    """Money that went out and reports are no part of an inflow."""
    goal_id = goal(session_factory, BEGAN, type=GoalType.INCOME)
    link(session_factory, BEGAN, goal_id, "a", "100")
    apply([paid("in", 100, BEGAN + DAY), paid("out", -50, BEGAN + 2 * DAY), balance(500, BEGAN + 3 * DAY)])
    assert progress(session_factory, goal_id).as_of == BEGAN + DAY


def test_an_account_counts_as_long_as_it_is_linked(session_factory: Sessions, apply: Apply) -> None:
    """A change of share changes nothing; after unlinking what was counted stays, and later facts are not in it."""
    goal_id = goal(session_factory, BEGAN)
    link(session_factory, BEGAN, goal_id, "a", "50")
    apply([paid("t", 100, BEGAN + DAY)])
    with session_factory.begin() as session:
        change_allocation(session, DEFAULT, goal_id, "a", "20", BEGAN + 2 * DAY)
    assert progress(session_factory, goal_id).as_of == BEGAN + DAY
    apply([paid("u", 100, BEGAN + 3 * DAY)])
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "a", BEGAN + 4 * DAY)
    apply([paid("v", 100, BEGAN + 5 * DAY)])
    assert progress(session_factory, goal_id).as_of == BEGAN + 3 * DAY


@pytest.mark.parametrize("tracking", [Tracking.BALANCE, Tracking.NET_WORTH])
def test_a_balance_is_as_new_as_its_accounts(session_factory: Sessions, apply: Apply, tracking: Tracking) -> None:
    """Until a report comes the amount is the manual one; then it is that of the accounts, however old they are."""
    goal_id = goal(session_factory, NOON, tracking=tracking)
    if tracking is Tracking.BALANCE:
        link(session_factory, NOON, goal_id, "a", "100")
    assert progress(session_factory, goal_id).as_of == NOON
    apply([balance(500, BEGAN, user_id="u")])
    assert progress(session_factory, goal_id).as_of == BEGAN
    apply([paid("t", 100, BEGAN + 5 * DAY)])
    assert progress(session_factory, goal_id).as_of == BEGAN + 5 * DAY


def test_facts_of_the_future_make_the_amount_as_new(session_factory: Sessions, apply: Apply) -> None:
    """A transaction dated some hours ahead is in the amount, which is then as of that hour."""
    goal_id = goal(session_factory, BEGAN)
    link(session_factory, BEGAN, goal_id, "a", "100")
    apply([paid("ahead", 100, NOON + timedelta(hours=20))])
    view = progress(session_factory, goal_id)
    assert (view.as_of, view.calculated_at) == (NOON + timedelta(hours=20), NOON)


@pytest.mark.parametrize("tracking", [Tracking.CHANGE, Tracking.BALANCE])
def test_a_final_amount_is_no_newer_than_its_end(session_factory: Sessions, apply: Apply, tracking: Tracking) -> None:
    """What is dated after the final moment is not in it; what is dated before and comes late is."""
    goal_id = goal(session_factory, BEGAN, tracking=tracking)
    link(session_factory, BEGAN, goal_id, "a", "100")
    apply([balance(100, BEGAN + DAY)])
    change(session_factory, goal_id, BEGAN + 10 * DAY, status=GoalStatus.COMPLETED)
    apply([paid("after", 100, BEGAN + 11 * DAY)])
    assert progress(session_factory, goal_id).as_of == BEGAN + DAY
    apply([paid("late", 100, BEGAN + 9 * DAY)])
    assert progress(session_factory, goal_id).as_of == BEGAN + 9 * DAY


def test_a_goal_that_ended_before_it_was_made_is_as_of_its_end(session_factory: Sessions, apply: Apply) -> None:
    """A goal dated back that a close of then completed is as of that close at most."""
    start = (NOON - 20 * DAY).date()
    goal_id = goal(session_factory, NOON, target_amount="10", auto_complete=True, start_date=start)
    link(session_factory, NOON, goal_id, "a", "100", start)
    apply([paid("t", 2_000, NOON - 15 * DAY), paid("u", 2_000, NOON - 5 * DAY)])
    run_snapshot(session_factory, NOON + DAY)
    view = progress(session_factory, goal_id, NOON + DAY)
    assert view.status is GoalStatus.COMPLETED
    with session_factory() as session:
        assert view.as_of <= Sql("SELECT final_at FROM goals").one(session, {})[0]


def test_the_order_of_arrival_is_nothing(session_factory: Sessions, apply: Apply) -> None:
    """The same five events in many orders, one a batch, leave the same moment and the same trend."""
    facts = [
        lambda a: paid("t1", 100, BEGAN + 3 * DAY, a),
        lambda a: paid("t1", 200, BEGAN + 2 * DAY, a),
        lambda a: balance(500, BEGAN + 4 * DAY, a),
        lambda a: paid("t2", -100, BEGAN + DAY, a),
    ]
    removed = event("transaction.removed", BEGAN + 9 * DAY, "r", {"account_id": "x", "transaction_id": "t2"})
    seen = set()
    for number, order in enumerate(itertools.islice(itertools.permutations(range(5)), 0, None, 7)):
        account = f"a{number}"
        goal_id = goal(session_factory, BEGAN)
        link(session_factory, BEGAN, goal_id, account, "100")
        for each in order:
            apply([removed.replace(b'"x"', f'"{account}"'.encode()) if each == 4 else facts[each](account)])
        view = progress(session_factory, goal_id)
        seen.add((view.amount_minor, view.as_of, view.monthly_actual_minor))
    assert len(seen) == 1
    assert next(iter(seen))[1] == BEGAN + 4 * DAY


def test_the_newest_fact_is_found_without_reading_the_others(
    engine: Engine, session_factory: Sessions, apply: Apply
) -> None:
    """Of an account with 2,000 facts a few rows are read."""
    apply([paid(f"t{n}", 100, NOON - n * DAY) for n in range(1_500)])
    apply([balance(n, NOON - n * DAY) for n in range(500)])
    goal_id = goal(session_factory, NOON)
    link(session_factory, NOON, goal_id, "a", "100", from_=NOON - 300 * DAY)
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "a", NOON)
        Sql("UPDATE links SET until_at = :until").run(session, {"until": NOON - 100 * DAY})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    with session_factory() as session:
        before = _rows_fetched(session)
        (seen,) = read_seen_progress(session, [(DEFAULT.name, goal_id)])
        assert seen.newest == [NOON - 101 * DAY]
        assert _rows_fetched(session) - before <= 4


def _rows_fetched(session: Any) -> int:
    count = Sql(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) "
        "FROM pg_stat_xact_user_tables WHERE relname IN ('transactions', 'reports')"
    )
    return int(count.value(session, {}) or 0)
