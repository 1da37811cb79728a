"""Milestones are marked and messages written once each, with the effective time of the fact that reached them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from core.goals.goal import Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.services.funding import list_funding
from core.services.goals import get_goal
from core.services.inputs import MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import DEFAULT, balance, goal, link, paid
from tests.conftest import Apply


def test_a_milestone_is_marked_once_with_the_time_of_what_reached_it(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """In a batch of a month's events the mark has the day on which the sum got there, and stays when it falls."""
    goal_id = goal(session_factory, now - timedelta(days=40), target_amount="1000")
    link(session_factory, now - timedelta(days=40), goal_id, "a", "50")
    for minor in ("100", "300"):
        with session_factory.begin() as session:
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(minor), now - timedelta(days=39))
    days = [now - timedelta(days=30 - number) for number in range(10)]
    apply([paid(f"t{number}", 10_000, day) for number, day in enumerate(days)])
    apply([paid("back", -100_000, now)])
    with session_factory() as session:
        first, second = get_goal(session, DEFAULT, goal_id).milestones
        assert (first.reached_at, second.reached_at) == (days[1], days[5])
        sent = Sql("SELECT message_id, type FROM outbox WHERE type LIKE '%.reached' ORDER BY 1").rows(session, {})
        assert sent == [
            (f"milestone_reached:{goal_id}:10000:1", "milestone.reached"),
            (f"milestone_reached:{goal_id}:30000:1", "milestone.reached"),
        ]
    apply([paid("again", 100_000, now)])
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM outbox WHERE type LIKE '%.reached'").value(session, {}) == 2


def test_reaching_the_target_sends_one_message(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """goal.reached is written once, however often the amount passes the target."""
    goal_id = goal(session_factory, now, target_amount="10")
    link(session_factory, now, goal_id, "a", "100")
    for name, minor in (("1", 1500), ("2", -1000), ("3", 1000)):
        apply([paid(name, minor, now + timedelta(minutes=1))])
    with session_factory() as session:
        sent = Sql("SELECT message_id FROM outbox WHERE type = 'goal.reached'").values(session, {})
    assert sent == [f"goal_reached:{goal_id}:1"]


def test_a_mark_is_not_dated_before_its_link(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Movements before a link count nothing, and so they cannot be what reached a milestone either."""
    goal_id = goal(session_factory, now - timedelta(days=5))
    link(session_factory, now - timedelta(days=5), goal_id, "a", "100")
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("100"), now - timedelta(days=5))
    early = now - timedelta(days=30)
    apply([paid("1", 50_000, early), paid("2", -50_000, early + timedelta(days=1)), paid("3", 10_000, now)])
    with session_factory() as session:
        (milestone,) = get_goal(session, DEFAULT, goal_id).milestones
        assert milestone.reached_at == now


def test_many_marks_in_one_batch_are_dated_one_by_one(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A backfill of 1,500 transactions that passes twenty milestones dates each by the transaction that reached it."""
    start = now - timedelta(days=40)
    goal_id = goal(session_factory, start, target_amount="15000")
    link(session_factory, start, goal_id, "a", "100")
    with session_factory.begin() as session:
        for number in range(1, 21):
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(number * 500), start)
    times = [start + timedelta(minutes=30 * (number + 1)) for number in range(1500)]
    apply([paid(f"t{number}", 1000, at) for number, at in enumerate(times)])
    with session_factory() as session:
        marks = [milestone.reached_at for milestone in get_goal(session, DEFAULT, goal_id).milestones]
        assert marks == [times[50 * number - 1] for number in range(1, 21)]


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_mark_by_a_first_report_bears_its_date_however_events_are_split(
    session_factory: Sessions, apply: Apply, now: datetime, is_one_batch: bool
) -> None:
    """A goal that follows balances has the amount of the first report, from that report on."""
    start = now - timedelta(days=9)
    goal_id = goal(session_factory, start, tracking=Tracking.BALANCE)
    link(session_factory, start, goal_id, "a", "100", start - timedelta(days=9))
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("500"), start)
    reported_at = start + timedelta(days=1)
    report, paid_in = balance(100_000, reported_at), paid("1", 1000, reported_at + timedelta(days=4))
    for batch in [[paid_in, report]] if is_one_batch else [[report], [paid_in]]:
        apply(batch)
    with session_factory() as session:
        (milestone,) = get_goal(session, DEFAULT, goal_id).milestones
        assert milestone.reached_at == reported_at


def test_a_mark_of_a_following_goal_is_not_dated_before_its_link(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A late transaction that lifts the balance over a milestone marks it from the link on, not from its own date."""
    start = now - timedelta(days=2)
    goal_id = goal(session_factory, start, tracking=Tracking.BALANCE)
    apply([balance(100, start - timedelta(days=40))])
    link(session_factory, start, goal_id, "a", "100", start)
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("500"), start)
    apply([paid("1", 100_000, start - timedelta(days=30))])
    with session_factory() as session:
        (milestone,) = get_goal(session, DEFAULT, goal_id).milestones
        (source,) = list_funding(session, DEFAULT, goal_id).items
        assert milestone.reached_at == source.from_at


def test_messages_have_moments_in_utc_whatever_the_session_uses(session_factory: Sessions, now: datetime) -> None:
    """A pooler may drop what a session asks for at its start."""
    goal_id = goal(session_factory, now, target_amount="10")
    link(session_factory, now, goal_id, "a", "100")
    at = now + timedelta(minutes=1)
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("5"), now)
    with session_factory.begin() as session:
        Sql("SET LOCAL timezone = 'Asia/Kolkata'").run(session, {})
        apply_events(session, [StreamEntry(0, "1-0", at, "default", paid("t", 10_00, at))], at)
    with session_factory() as session:
        payloads = Sql("SELECT payload FROM outbox WHERE type LIKE '%.reached'").values(session, {})
    bodies = [json.loads(payload) for payload in payloads]
    moment = at.isoformat().replace("+00:00", "Z")
    assert [(body["timestamp"], body["data"]["reached_at"]) for body in bodies] == [(moment, moment)] * 2
