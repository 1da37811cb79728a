"""Messages: each happening is one, what was known or is old is no news, and the feed has all in one order."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
import simplejson

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.relay import Relayed, relay
from core.jobs.snapshot import run_snapshot
from core.messages.types import MessageType
from core.services.goals import delete_goal, get_goal, reopen_goal, update_goal
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.messages import read_messages
from core.services.milestones import add_milestone, remove_milestone
from core.store import outbox
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.outbox import FeedFilter, Listed, Message
from tests.acts import DEFAULT, balance, event, goal, link, paid
from tests.conftest import NOW, Apply

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVERYTHING = FeedFilter()
REACHED = FeedFilter(["milestone.reached", "milestone.reached.withdrawn", "goal.reached", "goal.reached.withdrawn"])


def feed(sessions: Sessions, wanted: FeedFilter = EVERYTHING) -> list[Listed]:
    """All announced messages, in order."""
    with sessions() as session:
        page = read_messages(session, DEFAULT, wanted, after=None, limit=200)
    assert not page.has_more
    return list(page.messages)


def announced(sessions: Sessions, at: datetime, wanted: FeedFilter = REACHED) -> list[tuple[str, bool]]:
    """Type, number of the happening, and whether it is historical, of all messages once the relay has run."""
    relay(sessions, at)
    ids = [(each.message_id.rpartition(":")[2], each) for each in feed(sessions, wanted)]
    return [(f"{each.type} {number}", each.is_historical) for number, each in ids]


def milestone(sessions: Sessions, goal_id: str, amount: str, at: datetime) -> None:
    with sessions.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount), at)


def removed(name: str, at: datetime) -> bytes:
    return event("transaction.removed", at, f"gone {name}", {"account_id": "a", "transaction_id": name})


def a_message(number: int, at: datetime = NOW) -> Message:
    return Message("default", "g", f"goal_changed:{number}", "goal.changed", "u", "{}", at, at)


def test_reached_withdrawn_and_reached_again_are_three(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Each has an id of its own, which says what it takes back; none is there twice, however often jobs run."""
    goal_id = goal(session_factory, now - 3 * DAY)
    link(session_factory, now - 3 * DAY, goal_id, "a", "100")
    milestone(session_factory, goal_id, "10", now - 2 * DAY)
    apply([paid("in", 1_000, now - DAY)])
    assert announced(session_factory, now) == [("milestone.reached 1", False)]
    run_snapshot(session_factory, now)
    apply([removed("in", now)])
    run_snapshot(session_factory, now)
    both = [("milestone.reached 1", False), ("milestone.reached.withdrawn 1", False)]
    assert announced(session_factory, now) == both
    apply([paid("again", 1_000, now - HOUR)])
    for _ in range(2):
        run_snapshot(session_factory, now + DAY)
        assert announced(session_factory, now + DAY) == [*both, ("milestone.reached 2", False)]


def test_what_is_withdrawn_before_it_was_announced_is_dropped(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A tenant that waits an hour tells nobody of what was gone within that hour."""
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET announce_after_s = 3600").run(session, {})
    goal_id = goal(session_factory, now - 3 * DAY)
    link(session_factory, now - 3 * DAY, goal_id, "a", "100")
    milestone(session_factory, goal_id, "10", now - 2 * DAY)
    run_snapshot(session_factory, now)
    apply([paid("in", 1_000, now - DAY)])
    assert announced(session_factory, now + HOUR - timedelta(seconds=1)) == []
    apply([removed("in", now)])
    run_snapshot(session_factory, now)
    assert announced(session_factory, now + 2 * HOUR) == []
    apply([paid("again", 1_000, now - HOUR)], at=now + HOUR)
    assert announced(session_factory, now + HOUR + timedelta(minutes=59)) == []
    assert announced(session_factory, now + 2 * HOUR) == [("milestone.reached 2", False)]


def test_a_tenant_may_wait_for_the_close_of_the_day(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """What the close bears out is announced after it."""
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET announce_at_close = true").run(session, {})
    goal_id = goal(session_factory, now - DAY, target_amount="10")
    link(session_factory, now - DAY, goal_id, "a", "100")
    apply([paid("in", 1_000, now)])
    run_snapshot(session_factory, now + HOUR)
    assert announced(session_factory, now + HOUR) == []
    run_snapshot(session_factory, now + DAY)
    assert announced(session_factory, now + DAY) == [("goal.reached 1", False)]


def test_an_imported_past_is_historical(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Half a year of money and its balance of yesterday announce nothing; what is reached today is news."""
    began = now - 180 * DAY
    goals = [
        goal(session_factory, now, target_amount="100", start_date=began.date(), tracking=tracking)
        for tracking in (Tracking.BALANCE, Tracking.CHANGE)
    ]
    for goal_id in goals:
        link(session_factory, now, goal_id, "a", "100", began.date())
        for amount in ("20", "80", "95"):
            milestone(session_factory, goal_id, amount, now)
    deposits = [paid(f"t{number}", 500, now - (180 - 10 * number) * DAY) for number in range(17)]
    apply([*deposits, paid("late", 500, now - 2 * DAY)])
    apply([balance(9_000, now - DAY)])
    run_snapshot(session_factory, now)
    imported = announced(session_factory, now)
    assert {is_historical for _, is_historical in imported} == {True}
    assert len(imported) == 4
    apply([paid("today", 500, now + HOUR)], at=now + HOUR)
    run_snapshot(session_factory, now + HOUR)
    assert announced(session_factory, now + HOUR)[4:] == [("milestone.reached 1", False)] * 2


@pytest.mark.parametrize("tracking", [Tracking.BALANCE, Tracking.CHANGE, Tracking.NET_WORTH])
def test_what_a_link_brings_is_historical(
    session_factory: Sessions, apply: Apply, now: datetime, tracking: Tracking
) -> None:
    """The account is known for months, and a goal is made for it today: what is there already is no news."""
    apply([balance(0, now - 90 * DAY, user_id="u"), paid("in", 9_000, now - 2 * DAY)])
    goal_id = goal(session_factory, now, target_amount="100", tracking=tracking, start_date=(now - 90 * DAY).date())
    if tracking is not Tracking.NET_WORTH:
        link(session_factory, now, goal_id, "a", "100", (now - 90 * DAY).date())
    milestone(session_factory, goal_id, "95", now)
    run_snapshot(session_factory, now)
    assert announced(session_factory, now) == []
    other = goal(session_factory, now, target_amount="80", tracking=tracking, start_date=(now - 90 * DAY).date())
    if tracking is not Tracking.NET_WORTH:
        link(session_factory, now, other, "a", "100", (now - 90 * DAY).date())
    run_snapshot(session_factory, now)
    assert announced(session_factory, now) == [("goal.reached 1", True)]
    apply([paid("today", 500, now + HOUR)], at=now + HOUR)
    assert announced(session_factory, now + HOUR) == [("goal.reached 1", True), ("milestone.reached 1", False)]


def test_what_is_gone_before_the_wait_is_over_is_not_announced(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A deposit of today is taken back within the hour: nobody hears of it, before the close and after it."""
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET announce_after_s = 3600").run(session, {})
    goal_id = goal(session_factory, now - 3 * DAY)
    link(session_factory, now - 3 * DAY, goal_id, "a", "100")
    milestone(session_factory, goal_id, "10", now - 2 * DAY)
    apply([paid("in", 1_000, now)])
    apply([removed("in", now)], at=now + HOUR / 2)
    assert announced(session_factory, now + 2 * HOUR) == []
    apply([paid("again", 1_000, now + HOUR)], at=now + 2 * HOUR)
    assert announced(session_factory, now + 2 * HOUR) == [("milestone.reached 1", False)]
    run_snapshot(session_factory, now + DAY)
    assert announced(session_factory, now + DAY) == [("milestone.reached 1", False)]


@pytest.mark.parametrize("end", ["paused", "deleted"])
def test_what_waits_of_a_goal_that_rests_is_not_announced(
    session_factory: Sessions, apply: Apply, now: datetime, end: str
) -> None:
    """A paused goal tells nothing while it is paused, and a deleted one never."""
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET announce_at_close = true").run(session, {})
    goal_id = goal(session_factory, now - DAY, target_amount="10")
    link(session_factory, now - DAY, goal_id, "a", "100")
    apply([paid("in", 1_000, now)])
    with session_factory.begin() as session:
        if end == "deleted":
            delete_goal(session, DEFAULT, goal_id, now + HOUR)
        else:
            update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.PAUSED), now + HOUR)
    run_snapshot(session_factory, now + DAY)
    assert announced(session_factory, now + DAY) == []
    if end == "paused":
        with session_factory.begin() as session:
            update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.ACTIVE), now + DAY)
        run_snapshot(session_factory, now + DAY)
        assert announced(session_factory, now + DAY) == [("goal.reached 1", False)]


def test_another_target_loses_no_withdrawal(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Reached, then lowered, then corrected below; and reached, then raised beyond the amount."""
    goal_id = goal(session_factory, now - 3 * DAY, target_amount="50")
    link(session_factory, now - 3 * DAY, goal_id, "a", "100")
    apply([paid("in", 5_000, now - DAY)])
    reached = [("goal.reached 1", False)]
    assert announced(session_factory, now) == reached
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(target_amount="45"), now)
    run_snapshot(session_factory, now)
    apply([removed("in", now)])
    run_snapshot(session_factory, now)
    reached.append(("goal.reached.withdrawn 1", False))
    assert announced(session_factory, now) == reached
    apply([paid("again", 5_000, now + HOUR)], at=now + HOUR)
    reached.append(("goal.reached 2", False))
    assert announced(session_factory, now + HOUR) == reached
    for target in ("60", "70"):
        with session_factory.begin() as session:
            update_goal(session, DEFAULT, goal_id, GoalChanges(target_amount=target), now + 2 * HOUR)
    assert announced(session_factory, now + 2 * HOUR) == [*reached, ("goal.reached.withdrawn 2", False)]


def test_what_nobody_saw_is_not_withdrawn(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Dropped before it was announced: another milestone at its amount withdraws nothing."""
    with session_factory.begin() as session:
        Sql("UPDATE tenants SET announce_after_s = 3600").run(session, {})
    goal_id = goal(session_factory, now - 3 * DAY)
    link(session_factory, now - 3 * DAY, goal_id, "a", "100")
    milestone(session_factory, goal_id, "10", now - 2 * DAY)
    apply([paid("in", 1_000, now - DAY)])
    apply([removed("in", now)])
    run_snapshot(session_factory, now)
    with session_factory.begin() as session:
        (view,) = get_goal(session, DEFAULT, goal_id).milestones
        remove_milestone(session, DEFAULT, goal_id, view.milestone_id, now)
    milestone(session_factory, goal_id, "10", now)
    assert announced(session_factory, now + DAY) == []


def test_what_happened_long_ago_is_historical(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A late fact of eight days ago is told as historical, one of six days ago as news, and so is its withdrawal."""
    for days, is_historical in ((8, True), (6, False)):
        account = f"a{days}"
        goal_id = goal(session_factory, now - 20 * DAY)
        link(session_factory, now - 20 * DAY, goal_id, account, "100")
        milestone(session_factory, goal_id, "10", now - 19 * DAY)
        apply([paid("in", 1_000, now - days * DAY, account)])
        relay(session_factory, now)
        own = REACHED._replace(goal_id=goal_id)
        assert announced(session_factory, now, own) == [("milestone.reached 1", is_historical)]
        apply([event("transaction.removed", now, f"gone {days}", {"account_id": account, "transaction_id": "in"})])
        run_snapshot(session_factory, now)
        withdrawn = ("milestone.reached.withdrawn 1", is_historical)
        assert announced(session_factory, now, own) == [("milestone.reached 1", is_historical), withdrawn]


def test_requests_are_told(session_factory: Sessions, now: datetime) -> None:
    """Creation, another target, deadline, status or funding, completion, and its end: a message each, in order."""
    goal_id = goal(session_factory, now)
    changes: list[dict[str, Any]] = [
        {"target_amount": "50", "deadline": date(2027, 1, 31)},
        {"name": "Other", "current_amount": "7"},
        {"status": GoalStatus.PAUSED},
        {"status": GoalStatus.ACTIVE},
        {"status": GoalStatus.COMPLETED},
    ]
    for number, each in enumerate(changes, 1):
        with session_factory.begin() as session:
            update_goal(session, DEFAULT, goal_id, GoalChanges(**each), now + number * HOUR)
    relay(session_factory, now + 6 * HOUR)
    with session_factory.begin() as session:
        reopen_goal(session, DEFAULT, goal_id, now + 7 * HOUR)
    link(session_factory, now + 8 * HOUR, goal_id, "a", "100")
    relay(session_factory, now + 9 * HOUR)
    found = [(each.type, simplejson.loads(each.payload, use_decimal=True)) for each in feed(session_factory)]
    assert [(type, body["data"].get("changed"), body["data"].get("status")) for type, body in found] == [
        ("goal.created", None, "active"),
        ("goal.changed", ["deadline", "target_amount"], "active"),
        ("goal.changed", ["status"], "paused"),
        ("goal.changed", ["status"], "active"),
        ("goal.completed", None, None),
        ("goal.completed.withdrawn", None, None),
        ("goal.changed", ["funding"], "active"),
    ]
    assert found[1][1]["data"]["deadline"] == "2027-01-31"
    assert {type for type, _ in found} <= set(MessageType)
    with session_factory.begin() as session:
        delete_goal(session, DEFAULT, goal_id, now + 10 * HOUR)
    assert len(feed(session_factory)) == len(found)


def test_a_completion_by_a_close_is_told_and_taken_back(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """With `auto_complete`, a correction of the day takes the completion back, and a message says so."""
    goal_id = goal(session_factory, now - 3 * DAY, GoalType.SAVINGS, target_amount="10", auto_complete=True)
    link(session_factory, now - 3 * DAY, goal_id, "a", "100")
    apply([paid("in", 1_000, now - DAY)])
    run_snapshot(session_factory, now)
    wanted = FeedFilter(["goal.completed", "goal.completed.withdrawn"])
    assert announced(session_factory, now, wanted) == [("goal.completed 1", False)]
    apply([removed("in", now)])
    run_snapshot(session_factory, now)
    assert announced(session_factory, now, wanted) == [
        ("goal.completed 1", False),
        ("goal.completed.withdrawn 1", False),
    ]


def test_a_reader_skips_no_message_of_a_slower_relay(session_factory: Sessions, now: datetime) -> None:
    """While one transaction gives positions no other one can, so no reader sees a position before a lower one."""
    with session_factory.begin() as session:
        outbox.write_messages(session, [a_message(number) for number in range(3)])
    with session_factory.begin() as slow:
        assert outbox.announce(slow, "default", now, 2) == 2
        assert relay(session_factory, now) == Relayed(0, is_more=True)
        assert feed(session_factory) == []
    assert relay(session_factory, now) == Relayed(1)
    positions = [each.position for each in feed(session_factory)]
    assert len(positions) == 3
    assert positions == sorted(set(positions))


def test_positions_are_never_given_twice(session_factory: Sessions, now: datetime) -> None:
    """Not after all messages were deleted, and not by a clock that is behind."""
    seen: list[int] = []
    for number, minutes in enumerate((60, 61, 2, 1)):
        at = now + timedelta(minutes=minutes)
        with session_factory.begin() as session:
            outbox.write_messages(session, [a_message(number, at)])
        relay(session_factory, at)
        seen.append(feed(session_factory)[-1].position)
        if number % 2:
            with session_factory.begin() as session:
                outbox.forget_messages(session, now + DAY)
            assert feed(session_factory) == []
    assert len(seen) == 4
    assert seen == sorted(set(seen))


def test_messages_without_a_goal_are_counted_and_announced(session_factory: Sessions, now: datetime) -> None:
    """One alone, several, and beside those of goals; no filter by goal or user finds them, and no goal's end does."""
    goal_id = goal(session_factory, now)
    mine = a_message(7)._replace(goal_id=None, user_id=None)
    with session_factory.begin() as session:
        outbox.write_messages(session, [mine])
    with session_factory.begin() as session:
        outbox.write_messages(session, [mine, a_message(9), a_message(8)._replace(goal_id=None)])
    relay(session_factory, now)
    with session_factory.begin() as session:
        delete_goal(session, DEFAULT, goal_id, now)
    found = feed(session_factory, FeedFilter(["goal.changed"]))
    assert [(each.message_id, each.goal_id, each.user_id) for each in found] == [
        ("goal_changed:7:1", None, None),
        ("goal_changed:7:2", None, None),
        ("goal_changed:8:1", None, "u"),
        ("goal_changed:9:1", "g", "u"),
    ]


def test_a_page_looks_at_so_many_messages(session_factory: Sessions, now: datetime) -> None:
    """A filter that few messages pass gives short pages that say that there are more, and misses none."""
    with session_factory.begin() as session:
        wanted = a_message(9)._replace(goal_id="other", subject="goal_changed:other")
        outbox.write_messages(session, [*map(a_message, range(9)), wanted])
    relay(session_factory, now)
    after, found, pages = 0, list[str](), 0
    with session_factory() as session:
        has_more = True
        while has_more:
            rows, after, has_more = outbox.read_feed(
                session, "default", FeedFilter(goal_id="other"), after=after, limit=5, scanned=4
            )
            found, pages = found + [row.message_id for row in rows], pages + 1
    assert (found, pages) == (["goal_changed:other:1"], 3)
