"""GET /events/unapplied in pages: each event is listed once, whatever changes meanwhile, and at a bounded cost."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from redis.exceptions import ConnectionError as RedisConnectionError

from api.cursors import Listing
from core.jobs.sweep import sweep
from core.services import backlog
from core.stream.entries import stream_key
from tests.api.backlog import ADDRESS, Harness, paid
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk


def test_only_what_was_accepted_since_is_listed(harness: Harness) -> None:
    """`since` is compared with the moment of acceptance, also among dead letters; it must not be in the future."""
    harness.send(paid(1, "much"))
    harness.drain()
    harness.send(paid(2))
    first, second = (datetime.fromisoformat(each["accepted_at"]) for each in reversed(harness.listed()))
    assert first < second
    for since, expected in ((first, ["e2", "e1"]), (second, ["e2"]), (second + timedelta(milliseconds=1), [])):
        asked = since.isoformat().replace("+00:00", "Z")
        assert [each["id"] for each in harness.listed(f"?since={asked}")] == expected
    assert [each["id"] for each in harness.listed("?since=0001-01-01")] == ["e2", "e1"]


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
def test_a_bad_question_names_its_parameter(harness: Harness, query: str, field: str) -> None:
    """A moment to come, what is no moment, and a limit out of range are 422, by name."""
    assert refused_fields(harness.api.get(f"{ADDRESS}?{query}")) == [["query", field]]


def test_pages_hold_each_once(harness: Harness) -> None:
    """Whatever the size of a page, following the links meets every entry of every shard and every letter once."""
    harness.send(*(paid(number, "much") for number in range(7)))
    harness.drain()
    harness.send(*(paid(number) for number in range(10, 17)))
    harness.drain(stops_at="read")
    harness.send(*(paid(number) for number in range(20, 27)))
    beyond = harness.put(json.dumps(paid(30)).encode(), shard=5)
    everything = harness.listed()
    assert [each["id"] for each in everything if each["entry_id"] == beyond] == ["e30"]
    assert len(everything) == 22
    for limit in (1, 3, 7, 22, 23):
        pages = walk(harness.api, f"{ADDRESS}?limit={limit}")
        assert [each for page in pages for each in page] == everything
        assert all(len(page) == limit for page in pages[:-1])


def test_a_cursor_belongs_to_its_question(harness: Harness) -> None:
    """It is refused for another `since`, and by another tenant."""
    harness.send(paid(1), paid(2))
    cursor = harness.api.get(f"{ADDRESS}?limit=1").links["next"]["url"].partition("cursor=")[2]
    assert harness.api.get(f"{ADDRESS}?cursor={cursor}").status_code == 200
    assert refused_fields(harness.api.get(f"{ADDRESS}?since=2026-01-01&cursor={cursor}")) == [["query", "cursor"]]


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
def test_a_cursor_that_leads_nowhere_is_refused(harness: Harness, position: str) -> None:
    """Whoever seals one of his own gets 422, whatever it holds."""
    sealed = Listing("default", ("events", "unapplied")).link(ADDRESS, 5, position)
    assert sealed is not None
    address = sealed["Link"].partition(">")[0].removeprefix("<")
    assert refused_fields(harness.api.get(address)) == [["query", "cursor"]]


def test_others_entries_cost_pages_and_no_more(
    harness: Harness, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page reads for a limited time: among many entries of others it may be empty, and the next goes on behind."""
    harness.client.xadd(stream_key(0), {"tenant": "other", "event": "x"})
    for _ in range(3):
        pipeline = harness.client.pipeline(transaction=False)
        for _ in range(1_000):
            pipeline.xadd(stream_key(0), {"tenant": "other", "event": "x"})
        pipeline.execute()
        harness.put(json.dumps(paid(1)).encode())
    monkeypatch.setattr(backlog, "READ_S", 0.0)
    pages = walk(harness.api, ADDRESS)
    assert [each["id"] for page in pages for each in page] == ["e1"] * 3
    assert 3 < len(pages) < 300
    assert pages.count([]) > 0
    assert {each["id"] for each in harness.listed(api=client(tenant="third"))} == set()


def test_large_entries_are_not_held_together(harness: Harness) -> None:
    """Whatever is on the stream, a page holds a few megabytes of it at a time."""
    for _ in range(64):
        harness.put(b"x" * 1_000_000)
    tracemalloc.start()
    try:
        listed = harness.listed()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(listed) == 64
    assert {each["id"] for each in listed} == {None}
    assert peak < 45_000_000


@pytest.mark.parametrize("command", ["pipeline", "xrange"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_moves_meanwhile_is_not_missed(
    harness: Harness, app: FastAPI, monkeypatch: pytest.MonkeyPatch, command: str, when: str
) -> None:
    """An event that is refused while a page is read is listed, in its old or its new state, at any step of it."""
    harness.send(paid(1))
    harness.drain(stops_at="begin")
    harness.drain(stops_at="read")
    harness.send(paid(2, "much"))
    client = app.state.backends.stream.client
    original: Callable[..., Any] = getattr(client, command)
    moved = []

    def move(*given: Any, **named: Any) -> Any:
        if moved or when == "after":
            answer = original(*given, **named)
        if not moved:
            moved.append(True)
            harness.drain()
            sweep(harness.sessions, harness.stream)
            if when == "before":
                answer = original(*given, **named)
        return answer

    monkeypatch.setattr(client, command, move)
    listed = {each["id"] for each in harness.api.get(ADDRESS).json()}
    assert moved
    assert "e2" in listed
    assert harness.states() == [("e2", "dead_letter")]


def test_a_stream_that_is_away_is_said(harness: Harness, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an answer would be a wrong one: 503, and nothing is listed."""

    def away(*_given: Any, **_named: Any) -> Any:
        raise RedisConnectionError("away")

    monkeypatch.setattr(app.state.backends.stream.client, "xrange", away)
    harness.send(paid(1))
    response = harness.api.get(ADDRESS)
    assert response.status_code == 503
    assert "Retry-After" in response.headers
