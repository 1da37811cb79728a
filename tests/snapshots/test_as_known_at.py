"""What was known when: snapshots as they were stored at a moment, and the rows that are kept to know it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from core.errors import InvalidField
from core.goals.goal import Tracking
from core.jobs import snapshot
from core.jobs.snapshot import run_snapshot
from core.services.funding import unlink_account
from core.services.goals import delete_goal
from core.services.history import read_history, read_snapshots
from core.snapshots import closing
from core.snapshots.closing import Snapshotted
from core.store.database import Sessions
from core.store.days import lock_snapshots
from core.store.driver import Session, Sql
from tests.acts import DEFAULT, balance, goal, link, paid
from tests.conftest import Apply
from tests.snapshots.test_closing import TODAY, a_goal, days_ago

HOUR = timedelta(hours=1)


def known(sessions: Sessions, goal_id: str, at: datetime | None, now: datetime) -> list[tuple[int, int]]:
    """(days ago, amount) of every snapshot as it was known at a moment."""
    with sessions() as session:
        view = read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=now, as_known_at=at)
    return [((TODAY - close.day).days, close.amount_minor) for close in view.snapshots]


def rewrites(sessions: Sessions, goal_id: str) -> list[tuple[int, int | None]]:
    """(days ago, amount before) of a goal's rewritten snapshots, in the order in which they were rewritten."""
    question = Sql("SELECT day, before_minor FROM close_rewrites WHERE goal_id = :g ORDER BY rewritten_at, day")
    with sessions() as session:
        return [((TODAY - day).days, before) for day, before in question.rows(session, {"g": goal_id})]


def test_a_late_fact_is_not_known_before_its_run(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Between two runs the first one's snapshots were known; each snapshot that changed is kept as a row."""
    goal_id = a_goal(session_factory, 5)
    apply([paid("1", 100, days_ago(4)), paid("2", 50, days_ago(2))])
    run_snapshot(session_factory, now)
    assert rewrites(session_factory, goal_id) == []
    apply([paid("late", 7, days_ago(3))])
    run_snapshot(session_factory, now + HOUR)
    assert rewrites(session_factory, goal_id) == [(3, None), (2, 150)]
    apply([paid("2", 0, days_ago(2, 13))])
    run_snapshot(session_factory, now + 2 * HOUR)
    assert rewrites(session_factory, goal_id)[2:] == [(2, 157)]
    run_snapshot(session_factory, now + 3 * HOUR)
    assert len(rewrites(session_factory, goal_id)) == 3
    later = now + 9 * HOUR
    assert known(session_factory, goal_id, now - HOUR, later) == []
    first = [(5, 0), (4, 100), (3, 100), (2, 150), (1, 150)]
    assert known(session_factory, goal_id, now + timedelta(minutes=59), later) == first
    second = [(5, 0), (4, 100), (3, 107), (2, 157), (1, 157)]
    assert known(session_factory, goal_id, now + timedelta(minutes=61), later) == second
    third = [(5, 0), (4, 100), (3, 107), (2, 107), (1, 107)]
    assert known(session_factory, goal_id, later, later) == third == known(session_factory, goal_id, None, later)


def test_the_example_of_the_page_about_days(session_factory: Sessions, apply: Apply) -> None:
    """A payment of March 5 that arrives on the 10th is in the ledger at once, and in snapshots from the next run on."""
    goal_id = a_goal(session_factory, 7)
    apply([paid("1", 10_000, days_ago(6)), paid("2", 5_000, days_ago(4))], at=days_ago(4, 13))
    run_snapshot(session_factory, days_ago(2, 0) + timedelta(seconds=5))
    run_snapshot(session_factory, days_ago(0, 0) + timedelta(seconds=5))
    apply([paid("late", 2_000, days_ago(5))], at=days_ago(0, 9) + timedelta(minutes=30))
    run_snapshot(session_factory, days_ago(0, 10) + timedelta(minutes=2))
    now = days_ago(0, 11)
    believed = {at: known(session_factory, goal_id, at, now) for at in (days_ago(0, 10), now - timedelta(minutes=55))}
    assert [days[1:5] for days in believed.values()] == [
        [(6, 10_000), (5, 10_000), (4, 15_000), (3, 15_000)],
        [(6, 10_000), (5, 12_000), (4, 17_000), (3, 17_000)],
    ]
    with session_factory() as session:
        _, page = read_history(session, DEFAULT, goal_id, limit=1, cursor=None, now=now, as_known_at=days_ago(0, 10))
    assert [(entry.before_minor, entry.after_minor) for entry in page.items] == [(15_000, 17_000)]


def test_what_a_report_takes_back_is_kept_with_it(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A late fact before a report changes the snapshots between the two, and only these are kept."""
    goal_id = a_goal(session_factory, 9, Tracking.BALANCE)
    apply([balance(1_000, days_ago(8)), balance(2_000, days_ago(3))])
    run_snapshot(session_factory, now)
    before = known(session_factory, goal_id, None, now)
    apply([paid("late", 70, days_ago(6))])
    run_snapshot(session_factory, now + HOUR)
    assert rewrites(session_factory, goal_id) == [(6, None)]
    assert known(session_factory, goal_id, now + HOUR / 2, now + 2 * HOUR) == before
    assert known(session_factory, goal_id, now + 2 * HOUR, now + 2 * HOUR) != before


def test_days_after_a_downtime_were_not_known_before(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A day that is over is known once it is closed, however long after; of days closed together nothing is kept."""
    goal_id = a_goal(session_factory, 9)
    apply([paid(str(n), 100, days_ago(n)) for n in (8, 5, 2)])
    run_snapshot(session_factory, days_ago(6))
    run_snapshot(session_factory, now)
    early = [(9, 0), (8, 100), (7, 100)]
    assert known(session_factory, goal_id, days_ago(6, 13), now + HOUR) == early
    assert known(session_factory, goal_id, now - HOUR, now + HOUR) == early
    assert len(known(session_factory, goal_id, now + HOUR, now + HOUR)) == 9
    assert rewrites(session_factory, goal_id) == []
    with session_factory() as session:
        days = Sql("SELECT day FROM closed_days ORDER BY closed_at").values(session, {})
    assert days == [TODAY - timedelta(days=7), TODAY - timedelta(days=1)]


def test_a_goal_that_is_dated_back_was_not_known_before(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Days that were closed before the goal was made are known once they are closed for it; one row records that."""
    a_goal(session_factory, 20)
    apply([paid(str(n), 100, days_ago(n)) for n in range(19, 0, -1)])
    run_snapshot(session_factory, now)
    made_at = now + timedelta(minutes=10)
    goal_id = goal(session_factory, made_at, start_date=TODAY - timedelta(days=15))
    link(session_factory, made_at, goal_id, "a", "100", TODAY - timedelta(days=15))
    run_snapshot(session_factory, now + HOUR)
    assert rewrites(session_factory, goal_id) == [(15, None)]
    later = now + 2 * HOUR
    assert known(session_factory, goal_id, now + timedelta(minutes=5), later) == []
    assert known(session_factory, goal_id, now + timedelta(minutes=30), later) == []
    assert known(session_factory, goal_id, later, later) == [(n, 1_600 - 100 * n) for n in range(15, 0, -1)]


def test_a_run_that_writes_twice_keeps_what_stood_before(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """If new snapshots complete a goal, others replace them in the same run: the first ones were never visible."""
    goal_id = goal(session_factory, days_ago(9), target_amount="9", auto_complete=True)
    for account in "ab":
        link(session_factory, days_ago(9), goal_id, account, "50", TODAY - timedelta(days=9))
    apply([paid("1", 1_000, days_ago(8)), paid("2", 200, days_ago(4)), paid("3", 200, days_ago(2))])
    apply([paid("4", 800, days_ago(6)), paid("5", -800, days_ago(6), "b")])
    run_snapshot(session_factory, now)
    before = known(session_factory, goal_id, None, now)
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "b", now, correct_from=TODAY - timedelta(days=9))
    assert run_snapshot(session_factory, now + HOUR).completed == 1
    later = now + 2 * HOUR
    assert known(session_factory, goal_id, None, later)[-5:] == [(n, 900) for n in range(5, 0, -1)]
    assert known(session_factory, goal_id, now + HOUR / 2, later) == before
    assert rewrites(session_factory, goal_id) == [(6, None), (4, 600), (2, 700)]


def test_a_new_goal_that_its_first_run_completes_is_one_row(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Even if the first run writes twice, one row records that nothing was known before."""
    a_goal(session_factory, 9)
    apply([paid("1", 500, days_ago(8)), paid("2", 100, days_ago(4))])
    run_snapshot(session_factory, now)
    goal_id = goal(session_factory, now, start_date=TODAY - timedelta(days=9), target_amount="5", auto_complete=True)
    link(session_factory, now, goal_id, "a", "100", TODAY - timedelta(days=9))
    assert run_snapshot(session_factory, now + 24 * HOUR).completed == 1
    assert rewrites(session_factory, goal_id) == [(9, None)]


def test_a_close_that_is_written_back_is_known_at_each_moment(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A fact that comes late and is removed later was known in between, and only then."""
    goal_id = a_goal(session_factory, 4)
    apply([paid("1", 100, days_ago(3))])
    for number, minor in enumerate((0, 30, 0, 60)):
        apply([paid("late", minor, days_ago(2) + number * timedelta(minutes=1))])
        run_snapshot(session_factory, now + number * HOUR)
    later = now + 9 * HOUR
    believed = [known(session_factory, goal_id, now + (n + 0.5) * HOUR, later)[-1] for n in range(4)]
    assert believed == [(1, 100), (1, 130), (1, 100), (1, 160)]


def test_a_clock_that_goes_back_turns_no_order_around(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """What a machine with a slow clock writes is dated just after what was written before it."""
    goal_id = a_goal(session_factory, 4)
    apply([paid("1", 100, days_ago(3))])
    run_snapshot(session_factory, now)
    for number, minor in enumerate((30, 60)):
        apply([paid("late", minor, days_ago(2) + number * timedelta(minutes=1))])
        run_snapshot(session_factory, now + (2 - number) * HOUR)
    assert [before for _, before in rewrites(session_factory, goal_id)] == [None, 130]
    later = now + 3 * HOUR
    believed = [known(session_factory, goal_id, at, later)[-1] for at in (now + HOUR, now + 2 * HOUR + HOUR / 2)]
    assert believed == [(1, 100), (1, 160)]


def test_what_is_kept_goes_with_the_goal(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Deleting a goal removes all of its snapshots, and none of another goal's."""
    kept, gone = a_goal(session_factory, 4), a_goal(session_factory, 4)
    run_snapshot(session_factory, now)
    apply([paid("late", 7, days_ago(3))])
    run_snapshot(session_factory, now + HOUR)
    with session_factory.begin() as session:
        delete_goal(session, DEFAULT, gone, now + HOUR)
    assert (rewrites(session_factory, gone), rewrites(session_factory, kept)) == ([], [(3, None)])


def test_a_day_is_noted_as_closed_only_behind_what_is_being_written(
    session_factory: Sessions, now: datetime, until_waiting: Callable[[int], None]
) -> None:
    """While another process writes snapshots of a tenant that it takes for new, no day of the tenant becomes known."""
    a_goal(session_factory, 4)
    closed = "SELECT count(*) FROM closed_days"
    with session_factory.begin() as other:
        lock_snapshots(other, "default", alone=False)
        thread = threading.Thread(target=run_snapshot, args=(session_factory, now))
        thread.start()
        until_waiting(1)
        with session_factory() as session:
            assert Sql(closed).value(session, {}) == 0
            assert Sql("SELECT closed_through FROM tenants").value(session, {}) is None
    thread.join(20)
    with session_factory() as session:
        assert Sql(closed).value(session, {}) == 1


def test_a_rewriting_is_dated_when_it_is_written(
    session_factory: Sessions, apply: Apply, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers see the old snapshots while a long run works, so these were what was known then."""
    goal_id = a_goal(session_factory, 4)
    run_snapshot(session_factory, now)
    apply([paid("late", 7, days_ago(3))])

    def slow(session: Session, *rest: object) -> Snapshotted:
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            Sql("SELECT 1").run(session, {})
        return close(session, *rest)  # type: ignore[arg-type]

    close = closing.close_touched_accounts
    monkeypatch.setattr(snapshot, "close_touched_accounts", slow)
    run_snapshot(session_factory, now + HOUR)
    with session_factory() as session:
        (at,) = Sql("SELECT rewritten_at FROM close_rewrites").values(session, {})
    assert now + HOUR + timedelta(seconds=0.3) <= at < now + HOUR + timedelta(seconds=30)
    assert known(session_factory, goal_id, now + HOUR + timedelta(seconds=0.2), now + 2 * HOUR)[-1] == (1, 0)


@pytest.mark.parametrize("after", [timedelta(microseconds=1), timedelta(days=400)])
def test_what_will_be_known_is_refused(session_factory: Sessions, now: datetime, after: timedelta) -> None:
    """Nothing was known at a moment of the future: the request is refused for snapshots and for the ledger."""
    goal_id = a_goal(session_factory, 4)
    with session_factory() as session:
        for refused in (
            lambda at: read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=now, as_known_at=at),
            lambda at: read_history(session, DEFAULT, goal_id, limit=9, cursor=None, now=now, as_known_at=at),
        ):
            with pytest.raises(InvalidField, match="must not be after now"):
                refused(now + after)
    assert known(session_factory, goal_id, now, now) == []
