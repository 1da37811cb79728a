"""GET /events/unapplied: the accepted events that have not been applied; what is not listed has been."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.services.dead_letters import discard_dead_letter, replay_dead_letter
from core.store.driver import Sql
from core.stream.entries import stream_key
from tests.api.backlog import Harness, paid
from tests.api.conftest import MakeClient


def test_what_is_not_listed_has_been_applied(harness: Harness, client: MakeClient) -> None:
    """Unread, in a drain that stopped, refused, and applied: at each step, each tenant gets its own events."""
    other = client(tenant="other")
    harness.send(paid(1), paid(2), paid(3, "much"))
    harness.send(paid(4), paid(5, "little"), api=other)
    assert harness.states() == [("e1", "waiting"), ("e2", "waiting"), ("e3", "waiting")]
    assert harness.states(other) == [("e4", "waiting"), ("e5", "waiting")]
    harness.drain(stops_at="begin")
    assert harness.worths() == {}
    assert harness.states() == [("e1", "pending"), ("e2", "pending"), ("e3", "pending")]
    harness.send(paid(6))
    assert harness.states()[-1] == ("e6", "waiting")
    harness.drain()
    assert harness.states() == [("e3", "dead_letter")]
    assert harness.states(other) == [("e5", "dead_letter")]
    assert sorted(harness.worths()) == [("default", "a1"), ("default", "a2"), ("default", "a6"), ("other", "a4")]


def test_each_is_listed_with_what_identifies_it(harness: Harness) -> None:
    """Its place, when it was accepted, the event's own names, and how often it was read, or why it was refused."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    harness.send(paid(1))
    (waiting,) = harness.listed()
    names = {"id": "e1", "source": "bank", "type": "milepost.transaction.recorded"}
    assert waiting == waiting | names | {"state": "waiting", "deliveries": None, "code": None, "reason": None}
    assert before <= datetime.fromisoformat(waiting["accepted_at"]) <= datetime.now(UTC)
    harness.drain(stops_at="begin")
    assert harness.listed() == [waiting | {"state": "pending", "deliveries": 1}]
    harness.drain(stops_at="read")
    assert harness.listed() == [waiting | {"state": "pending", "deliveries": 2}]
    harness.drain(stops_at="read")
    assert harness.listed() == [waiting | {"state": "pending", "deliveries": 3}]
    harness.send(paid(2, None))
    harness.drain()
    (refused,) = harness.listed()
    assert refused == refused | names | {
        "id": "e2",
        "state": "dead_letter",
        "deliveries": None,
        "code": "missing_field",
    }
    assert refused["reason"] == "amount is missing"


def test_what_is_committed_is_not_listed(harness: Harness) -> None:
    """Where a drain stopped right after its commit, the event is applied and not listed, though it is not trimmed."""
    harness.send(paid(1))
    harness.drain(stops_at="commit")
    assert harness.worths() == {("default", "a1"): 150}
    assert harness.states() == []
    assert harness.client.xlen(stream_key(0)) + harness.client.xlen(stream_key(1)) == 1, "it was not trimmed"


def test_what_is_done_about_a_dead_letter_is_listed(harness: Harness) -> None:
    """A discarded one stays listed as such; a replayed one is listed by its new entry, or not at all."""
    harness.send(paid(1, "much"), paid(2, "much"), paid(3, "much"))
    harness.drain()
    now = datetime.now(UTC)
    with harness.sessions.begin() as session:
        discard_dead_letter(session, harness.letter("e1"), "a test", now, actor="tests")
        replay_dead_letter(session, harness.stream, harness.letter("e2"), now, actor="tests")
    assert harness.states() == [("e1", "discarded"), ("e2", "replayed"), ("e2", "waiting"), ("e3", "dead_letter")]
    with harness.sessions.begin() as session:
        Sql("UPDATE dead_letters SET replayed_at = replayed_at - interval '61 seconds'").run(session, {})
    assert harness.states() == [("e1", "discarded"), ("e2", "waiting"), ("e3", "dead_letter")]
    harness.drain()
    assert harness.states() == [("e1", "discarded"), ("e2", "dead_letter"), ("e3", "dead_letter")]


def test_a_dead_letter_given_up_and_then_replayed_is_not_listed(harness: Harness) -> None:
    """Its event is on the stream again, whatever was decided before."""
    harness.send(paid(1, "much"))
    harness.drain()
    letter, now = harness.letter("e1"), datetime.now(UTC)
    with harness.sessions.begin() as session:
        discard_dead_letter(session, letter, "a test", now - timedelta(minutes=5), actor="tests")
        replay_dead_letter(session, harness.stream, letter, now - timedelta(minutes=2), actor="tests", again=True)
    assert harness.states() == [("e1", "waiting")]


@pytest.mark.parametrize("event", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 60_000, b'{"id": 7, "source": "\\ud800"}'])
def test_what_cannot_be_read_is_listed_by_its_place(harness: Harness, event: bytes) -> None:
    """What is no event has no id, source or type, before and after it was refused."""
    entry_id = harness.put(event)
    for state in ("waiting", "dead_letter"):
        (listed,) = harness.listed()
        assert (listed["state"], listed["shard"], listed["entry_id"]) == (state, 0, entry_id)
        assert (listed["id"], listed["source"], listed["type"]) == (None, None, None)
        harness.drain()
