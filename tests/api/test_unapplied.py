"""GET /events/unapplied: what was accepted and has not taken effect; all else has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from core.services.dead_letters import discard_dead_letter, replay_dead_letter
from core.stream.position import stream_key
from tests.api.backlog import Place, paid
from tests.api.conftest import MakeClient


def test_what_is_not_told_has_taken_effect(place: Place, client: MakeClient) -> None:
    """Unread, in a drain that stopped, refused, and applied: each tenant is told of its own, at every turn."""
    other = client(tenant="other")
    place.send(paid(1), paid(2), paid(3, "much"))
    place.send(paid(4), paid(5, "little"), api=other)
    assert place.states() == [("e1", "waiting"), ("e2", "waiting"), ("e3", "waiting")]
    assert place.states(other) == [("e4", "waiting"), ("e5", "waiting")]
    place.drain(stops_at="begin")
    assert place.worths() == {}
    assert place.states() == [("e1", "pending"), ("e2", "pending"), ("e3", "pending")]
    place.send(paid(6))
    assert place.states()[-1] == ("e6", "waiting")
    place.drain()
    assert place.states() == [("e3", "dead_letter")]
    assert place.states(other) == [("e5", "dead_letter")]
    assert sorted(place.worths()) == [("default", "a1"), ("default", "a2"), ("default", "a6"), ("other", "a4")]


def test_each_is_told_with_what_names_it(place: Place) -> None:
    """Its place, when it was accepted, the event's own names, and how often it was taken up, or why it was refused."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    place.send(paid(1))
    (waiting,) = place.told()
    names = {"id": "e1", "source": "bank", "type": "milepost.transaction.recorded"}
    assert waiting == waiting | names | {"state": "waiting", "deliveries": None, "code": None, "reason": None}
    assert before <= datetime.fromisoformat(waiting["accepted_at"]) <= datetime.now(UTC)
    place.drain(stops_at="begin")
    assert place.told() == [waiting | {"state": "pending", "deliveries": 1}]
    place.drain(stops_at="read")
    assert place.told() == [waiting | {"state": "pending", "deliveries": 2}]
    place.drain(stops_at="read")
    assert place.told() == [waiting | {"state": "pending", "deliveries": 3}]
    place.send(paid(2, None))
    place.drain()
    (refused,) = place.told()
    assert refused == refused | names | {
        "id": "e2",
        "state": "dead_letter",
        "deliveries": None,
        "code": "missing_field",
    }
    assert refused["reason"] == "amount is missing"


def test_what_is_applied_and_not_acknowledged_is_not_waiting(place: Place) -> None:
    """Where a drain stopped between the two, the event is pending, until the next drain has acknowledged it."""
    place.send(paid(1))
    place.drain(stops_at="commit")
    assert place.worths() == {("default", "a1"): 150}
    assert place.states() == [("e1", "pending")]
    place.drain()
    assert place.states() == []
    assert place.client.xlen(stream_key(0)) + place.client.xlen(stream_key(1)) == 1, "it was not trimmed"


def test_what_is_done_about_a_letter_is_told(place: Place) -> None:
    """A letter that was given up stays, as such; one that was replayed is told by its new entry, or not at all."""
    place.send(paid(1, "much"), paid(2, "much"), paid(3, "much"))
    place.drain()
    now = datetime.now(UTC)
    with place.sessions.begin() as session:
        discard_dead_letter(session, place.letter("e1"), "a test", now, actor="tests")
        replay_dead_letter(session, place.stream, place.letter("e2"), now, actor="tests")
    assert place.states() == [("e1", "discarded"), ("e2", "replayed"), ("e2", "waiting"), ("e3", "dead_letter")]
    with place.sessions.begin() as session:
        session.execute(text("UPDATE dead_letters SET replayed_at = replayed_at - interval '61 seconds'"))
    assert place.states() == [("e1", "discarded"), ("e2", "waiting"), ("e3", "dead_letter")]
    place.drain()
    assert place.states() == [("e1", "discarded"), ("e2", "dead_letter"), ("e3", "dead_letter")]


def test_a_letter_that_was_given_up_and_replayed_then_is_told_no_more(place: Place) -> None:
    """Its event is on the stream again, whatever was decided before."""
    place.send(paid(1, "much"))
    place.drain()
    letter, now = place.letter("e1"), datetime.now(UTC)
    with place.sessions.begin() as session:
        discard_dead_letter(session, letter, "a test", now - timedelta(minutes=5), actor="tests")
        replay_dead_letter(session, place.stream, letter, now - timedelta(minutes=2), actor="tests", again=True)
    assert place.states() == [("e1", "waiting")]


@pytest.mark.parametrize("event", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 60_000, b'{"id": 7, "source": "\\ud800"}'])
def test_what_cannot_be_read_is_told_by_its_place(place: Place, event: bytes) -> None:
    """What is no event has no id, source or type, before and after it was refused."""
    entry_id = place.put(event)
    for state in ("waiting", "dead_letter"):
        (told,) = place.told()
        assert (told["state"], told["shard"], told["entry_id"]) == (state, 0, entry_id)
        assert (told["id"], told["source"], told["type"]) == (None, None, None)
        place.drain()
