"""GET /events/unapplied: what was accepted and has not taken effect; all else has."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from api.cursors import Listing
from core.pipeline.drain import ShardDrain
from core.pipeline.sweep import sweep
from core.requests import read_unapplied
from core.requests.dead_letters import discard_letter, replay_letter
from core.store.dead_letters import LetterKey
from core.store.drain_figures import BatchFigures
from core.store.stream import EventStream, stream_key
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk

ADDRESS = "/events/unapplied"


def paid(number: int, amount: object = "1.50", **changes: Any) -> dict[str, Any]:
    """An event; one without an amount that is one cannot take effect."""
    data = {"account_id": f"a{number}", "transaction_id": "t", "amount": amount, "currency": "USD"}
    head = {"specversion": "1.0", "id": f"e{number}", "source": "bank", "type": "milepost.transaction.recorded"}
    return {**head, "time": "2026-01-31T12:00:00Z", "data": {**data, "posted_at": "2026-01-31"}, **changes}


class StoppingStream(EventStream):
    """A stream whose drain stops at a named step."""

    stops_at: str | None = None

    def read(self, shard: int, count: int, *, pending: bool) -> list[Any]:
        entries = super().read(shard, count, pending=pending)
        if entries and self.stops_at == "read":
            raise RedisConnectionError("stopped")
        return entries

    def acknowledge(self, shard: int, entry_ids: Sequence[bytes], batch: BatchFigures | None = None) -> None:
        if self.stops_at == "commit":
            raise RedisConnectionError("stopped")
        super().acknowledge(shard, entry_ids, batch)


class Place:
    """The stream behind the API, its drains, and what is told of what is not applied."""

    def __init__(self, sessions: sessionmaker[Session], client: redis.Redis, api: TestClient) -> None:
        self.sessions, self.client, self.api = sessions, client, api
        self.stream = StoppingStream(client, 2)

    def drain(self, stops_at: str | None = None) -> None:
        """Apply all that is there, unless the drains stop on the way."""
        self.stream.stops_at = stops_at
        for shard in range(2):
            drain = ShardDrain(self.sessions, self.stream, shard, 10, lambda: datetime.now(UTC))
            if stops_at is None:
                drain.drain()
            elif self.client.xlen(stream_key(shard)):
                with pytest.raises(RedisConnectionError):
                    drain.drain()

    def send(self, *events: dict[str, Any], api: TestClient | None = None) -> None:
        """Events that are accepted."""
        assert (api or self.api).post("/events", json=list(events)).status_code == 202

    def put(self, event: bytes, tenant: str = "default", shard: int = 0) -> str:
        """An entry as any producer may put it on the stream."""
        name: Any = self.client.xadd(stream_key(shard), {"tenant": tenant, "event": event})
        return str(name.decode())

    def told(self, query: str = "", api: TestClient | None = None) -> list[dict[str, Any]]:
        """All that is not applied, from all pages."""
        return [event for page in walk(api or self.api, f"{ADDRESS}{query}") for event in page]

    def states(self, api: TestClient | None = None) -> list[tuple[str | None, str]]:
        """(event id, state) of each, by id."""
        return sorted(((each["id"], each["state"]) for each in self.told(api=api)), key=str)

    def letter(self, event_id: str) -> LetterKey:
        """The letter of an event."""
        (found,) = [each for each in self.told() if each["id"] == event_id]
        return LetterKey("default", found["shard"], found["entry_id"])

    def worths(self) -> dict[tuple[str, str], int]:
        """What took effect: (tenant, account) -> worth."""
        with self.sessions() as session:
            rows = session.execute(text("SELECT tenant, account_id, worth_minor FROM accounts"))
            return {(row[0], row[1]): row[2] for row in rows}


@pytest.fixture
def place(session_factory: sessionmaker[Session], redis_client: redis.Redis, api: TestClient) -> Place:
    """An empty stream."""
    return Place(session_factory, redis_client, api)


def test_what_is_not_told_has_taken_effect(place: Place, client: MakeClient) -> None:
    """Unread, in a drain that stopped, refused, and applied: each tenant is told of its own, at every turn."""
    other = client(tenant="other")
    place.send(paid(1), paid(2), paid(3, "much"))
    place.send(paid(4), paid(5, "little"), api=other)
    assert place.states() == [("e1", "waiting"), ("e2", "waiting"), ("e3", "waiting")]
    assert place.states(other) == [("e4", "waiting"), ("e5", "waiting")]
    place.drain(stops_at="read")
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
    place.drain(stops_at="read")
    place.drain(stops_at="read")
    assert place.told() == [waiting | {"state": "pending", "deliveries": 2}]
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
        discard_letter(session, place.letter("e1"), "a test", now, actor="tests")
        replay_letter(session, place.stream, place.letter("e2"), now, actor="tests")
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
        discard_letter(session, letter, "a test", now - timedelta(minutes=5), actor="tests")
        replay_letter(session, place.stream, letter, now - timedelta(minutes=2), actor="tests", again=True)
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


def test_only_what_was_accepted_since_is_told(place: Place) -> None:
    """`since` is held against the moment of acceptance, on the stream as among the letters; it must not be to come."""
    place.send(paid(1, "much"))
    place.drain()
    place.send(paid(2))
    first, second = (datetime.fromisoformat(each["accepted_at"]) for each in reversed(place.told()))
    assert first < second
    for since, expected in ((first, ["e2", "e1"]), (second, ["e2"]), (second + timedelta(milliseconds=1), [])):
        asked = since.isoformat().replace("+00:00", "Z")
        assert [each["id"] for each in place.told(f"?since={asked}")] == expected
    assert [each["id"] for each in place.told("?since=0001-01-01")] == ["e2", "e1"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=2100-01-01T00:00:00Z", "since"),
        ("since=now", "since"),
        ("since=", "since"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_a_bad_question_names_its_parameter(place: Place, query: str, field: str) -> None:
    """A moment to come, what is no moment, and a limit out of range are 422, by name."""
    assert refused_fields(place.api.get(f"{ADDRESS}?{query}")) == [["query", field]]


def test_pages_hold_each_once(place: Place) -> None:
    """Whatever the size of a page, following the links meets every entry of every shard and every letter once."""
    place.send(*(paid(number, "much") for number in range(7)))
    place.drain()
    place.send(*(paid(number) for number in range(10, 17)))
    place.drain(stops_at="read")
    place.send(*(paid(number) for number in range(20, 27)))
    beyond = place.put(json.dumps(paid(30)).encode(), shard=5)
    everything = place.told()
    assert [each["id"] for each in everything if each["entry_id"] == beyond] == ["e30"]
    assert len(everything) == 22
    for limit in (1, 3, 7, 22, 23):
        pages = walk(place.api, f"{ADDRESS}?limit={limit}")
        assert [each for page in pages for each in page] == everything
        assert all(len(page) == limit for page in pages[:-1])


def test_a_cursor_belongs_to_its_question(place: Place) -> None:
    """It is refused for another `since`, and by another tenant."""
    place.send(paid(1), paid(2))
    cursor = place.api.get(f"{ADDRESS}?limit=1").links["next"]["url"].partition("cursor=")[2]
    assert place.api.get(f"{ADDRESS}?cursor={cursor}").status_code == 200
    assert refused_fields(place.api.get(f"{ADDRESS}?since=2026-01-01&cursor={cursor}")) == [["query", "cursor"]]


@pytest.mark.parametrize(
    "position",
    [
        "",
        "x",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01 stream 0",
        "0001-01-01T00:00:00+00:00 letters",
        "2026-01-01T00:00:00+00:00 stream 0 1",
        "2026-01-01T00:00:00+00:00 stream 99999",
        "2026-01-01T00:00:00+00:00 stream 0 99999999999999999999-0",
        "2026-01-01T00:00:00+00:00 letters 2026-01-01 0 1-1",
        "2026-01-01T00:00:00+00:00 letters 2026-01-01T00:00:00+00:00 0 \0",
        "2026-01-01T00:00:00+00:00 letters never 0 1-1",
    ],
)
def test_a_cursor_that_leads_nowhere_is_refused(place: Place, position: str) -> None:
    """Whoever seals one of his own gets 422, whatever it holds."""
    sealed = Listing("default", ("events", "unapplied")).link(ADDRESS, 5, position)
    assert sealed is not None
    address = sealed["Link"].partition(">")[0].removeprefix("<")
    assert refused_fields(place.api.get(address)) == [["query", "cursor"]]


def test_others_entries_cost_pages_and_no_more(
    place: Place, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks for so long only: among many entries of others it may be empty, and the next goes on behind them."""
    place.client.xadd(stream_key(0), {"tenant": "other", "event": "x"})
    for _ in range(3):
        pipeline = place.client.pipeline(transaction=False)
        for _ in range(1_000):
            pipeline.xadd(stream_key(0), {"tenant": "other", "event": "x"})
        pipeline.execute()
        place.put(json.dumps(paid(1)).encode())
    monkeypatch.setattr(read_unapplied, "LOOK_S", 0.0)
    pages = walk(place.api, ADDRESS)
    assert [each["id"] for page in pages for each in page] == ["e1"] * 3
    assert 3 < len(pages) < 300
    assert pages.count([]) > 0
    assert {each["id"] for each in place.told(api=client(tenant="third"))} == set()


def test_large_entries_are_not_held_together(place: Place) -> None:
    """Whatever lies on the stream, a page holds a few megabytes of it at a time."""
    for _ in range(64):
        place.put(b"x" * 1_000_000)
    tracemalloc.start()
    try:
        told = place.told()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(told) == 64
    assert {each["id"] for each in told} == {None}
    assert peak < 45_000_000


@pytest.mark.parametrize("command", ["xinfo_groups", "xpending", "xrange", "xpending_range"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_moves_meanwhile_is_not_missed(
    place: Place, app: FastAPI, monkeypatch: pytest.MonkeyPatch, command: str, when: str
) -> None:
    """An event that is refused while the stream is looked at is told, as it was or as it is, at any step of it."""
    place.send(paid(1))
    place.drain(stops_at="read")
    place.send(paid(2, "much"))
    client = app.state.backends.redis
    original: Callable[..., Any] = getattr(client, command)
    moved = []

    def move(*given: Any, **named: Any) -> Any:
        if moved or when == "after":
            answer = original(*given, **named)
        if not moved:
            moved.append(True)
            place.drain()
            sweep(place.stream)
            if when == "before":
                answer = original(*given, **named)
        return answer

    monkeypatch.setattr(client, command, move)
    told = {each["id"] for each in place.api.get(ADDRESS).json()}
    assert moved
    assert "e2" in told
    assert place.states() == [("e2", "dead_letter")]


def test_a_stream_that_is_away_is_said(place: Place, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an answer would be a wrong one: 503, and nothing is told."""

    def away(*_given: Any, **_named: Any) -> Any:
        raise RedisConnectionError("away")

    monkeypatch.setattr(app.state.backends.redis, "xrange", away)
    place.send(paid(1))
    response = place.api.get(ADDRESS)
    assert response.status_code == 503
    assert "Retry-After" in response.headers
