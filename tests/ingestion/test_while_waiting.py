"""A batch that waits for an account counts with what the holder of the lock did, and not with what was before."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from core.ingestion.apply import Applied, apply_events
from core.ingestion.decode import StreamEntry
from core.services.funding import change_allocation, link_account, unlink_account
from core.services.inputs import LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Session, Sql
from tests.acts import DEFAULT, amount, goal, link, paid

Beside = Callable[[Callable[[Session], object], bytes], Applied]


def applied(session: Session, body: bytes, now: datetime) -> Applied:
    """What applying one event did."""
    return apply_events(session, [StreamEntry(0, "1-0", now, "default", body)], now)


@pytest.fixture
def beside(session_factory: Sessions, until_waiting: Callable[[int], None], now: datetime) -> Beside:
    """Applies an event in a batch that begins while an act is done and not committed, and ends after it is."""

    def run(act: Callable[[Session], object], body: bytes) -> Applied:
        outcomes: list[Applied] = []

        def drain() -> None:
            with session_factory.begin() as session:
                outcomes.append(applied(session, body, now))

        thread = threading.Thread(target=drain)
        with session_factory.begin() as session:
            act(session)
            thread.start()
            until_waiting(1)
        thread.join()
        (outcome,) = outcomes
        return outcome

    return run


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_link_made_meanwhile_counts(
    session_factory: Sessions, beside: Beside, now: datetime, is_linked: bool
) -> None:
    """What comes after the link belongs to the goal, also to one that is linked while the batch waits."""
    goal_id, other_id = goal(session_factory, now), goal(session_factory, now)
    with session_factory.begin() as session:
        applied(session, paid("before", 100_00, now - timedelta(hours=1)), now)
    if is_linked:
        link(session_factory, now, other_id, "a", "40")

    def act(session: Session) -> None:
        link_account(session, DEFAULT, goal_id, LinkDraft("a", None, "60"), now)

    beside(act, paid("after", 10_00, now + timedelta(minutes=1)))
    assert amount(session_factory, goal_id) == 6_00
    assert amount(session_factory, other_id) == (4_00 if is_linked else 0)


@pytest.mark.parametrize(("act", "expected"), [(unlink_account, 0), (change_allocation, 2_00)])
def test_a_link_ended_or_changed_meanwhile_counts_no_longer(
    session_factory: Sessions, beside: Beside, now: datetime, act: Callable[..., object], expected: int
) -> None:
    """What comes after the end of a link is not the goal's."""
    goal_id = goal(session_factory, now - timedelta(days=1))
    link(session_factory, now - timedelta(days=1), goal_id, "a", "60")
    more = ("20",) if act is change_allocation else ()
    with session_factory.begin() as session:
        applied(session, paid("zero", 0, now - timedelta(hours=1)), now)
    after = paid("after", 10_00, now + timedelta(minutes=1))
    beside(lambda session: act(session, DEFAULT, goal_id, "a", *more, now), after)
    assert amount(session_factory, goal_id) == expected


def test_a_transaction_added_meanwhile_is_not_added_again(
    session_factory: Sessions, beside: Beside, now: datetime
) -> None:
    """Two batches with one transaction, neither of which could see the other's, count it once."""
    with session_factory.begin() as session:
        applied(session, paid("before", 1_00, now), now)
    body = paid("twice", 10_00, now)
    outcome = beside(lambda session: applied(session, body, now), body)
    assert outcome.duplicates == 1
    assert worth(session_factory) == 11_00


def test_a_transaction_replaced_meanwhile_does_not_count(
    session_factory: Sessions, beside: Beside, now: datetime
) -> None:
    """A transaction that comes while the one that replaces it is written is kept, and does not count."""
    with session_factory.begin() as session:
        applied(session, paid("before", 1_00, now), now)
    new = json.loads(paid("new", 12_00, now))
    new["data"]["replaces"] = "old"
    replacing = json.dumps(new).encode()
    beside(lambda session: applied(session, replacing, now), paid("old", 10_00, now))
    assert worth(session_factory) == 13_00


def test_a_milestone_added_meanwhile_is_marked(session_factory: Sessions, beside: Beside, now: datetime) -> None:
    """A batch that waits for a goal marks what was added to it meanwhile, and keeps what is still to come."""
    goal_id = goal(session_factory, now)
    link(session_factory, now, goal_id, "a", "100")

    def act(session: Session) -> None:
        for threshold in ("7", "9000"):
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(threshold, "added"), now)

    outcome = beside(act, paid("after", 10_00, now + timedelta(minutes=1)))
    assert outcome.milestones_reached == 1
    with session_factory() as session:
        marked = Sql("SELECT amount_minor FROM milestones WHERE reached_at IS NOT NULL").values(session, {})
        (upcoming,) = Sql("SELECT next_milestone_minor FROM goals").one(session, {})
        (payload,) = Sql("SELECT payload FROM outbox WHERE type = 'milestone.reached'").one(session, {})
    assert (marked, upcoming) == ([7_00], 9000_00)
    assert json.loads(payload)["data"]["description"] == "added"


def worth(sessions: Sessions) -> int:
    """The account's worth in cents."""
    with sessions() as session:
        return int(Sql("SELECT worth_minor FROM accounts").one(session, {})[0])
