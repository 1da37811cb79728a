"""Dead letters over REST: read, replayed and given up by their own tenant, and each operation is in the audit."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from sqlalchemy import Engine, text

from core.stream.entries import stream_key
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
EVENT = '{"specversion":"1.0", "id":"e", "data":{"amount": 1.50E+1, "note":"\\u00e9"}}'
_LETTER = text(
    """INSERT INTO dead_letters (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at)
    VALUES (:tenant, :shard, :entry_id, :code, 'no', :event, :at, :at)"""
)

Put = Callable[..., None]


@pytest.fixture
def put(engine: Engine) -> Put:
    """Stores a dead letter."""

    def keep(number: int, tenant: str = "default", code: str = "bad_amount", event: bytes = EVENT.encode()) -> None:
        row = {"tenant": tenant, "shard": number % 2, "entry_id": f"{number}-0", "code": code, "event": event}
        with engine.begin() as connection:
            connection.execute(_LETTER, row | {"at": AT + timedelta(seconds=number // 3)})

    return keep


@pytest.fixture
def keeper(client: MakeClient) -> TestClient:
    """A client that may replay and discard the dead letters of the default tenant."""
    return client("events:read", "events:write")


def states(api: TestClient) -> dict[str, str]:
    """The state of each dead letter."""
    return {letter["entry_id"]: letter["state"] for letter in api.get("/dead-letters?limit=200").json()}


def on_stream(redis_url: str) -> list[tuple[str, str]]:
    """Tenant and event of each entry on the stream."""
    with Redis.from_url(redis_url) as redis:
        rows: list[Any] = [row for shard in range(2) for row in redis.xrange(stream_key(shard))]  # type: ignore[union-attr]
    return [(fields[b"tenant"].decode(), fields[b"event"].decode()) for _, fields in rows]


def operations(engine: Engine) -> list[tuple[str, ...]]:
    """Tenant, action, subject and detail of each operation on a dead letter, and who did it."""
    asked = text(
        """SELECT tenant, action, subject, detail, actor FROM audit
        WHERE action LIKE 'dead_letter%' ORDER BY at, subject"""
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(asked)]


def key_id(engine: Engine, scopes: str) -> str:
    """The id of the one key with exactly these scopes."""
    with engine.connect() as connection:
        asked = text("SELECT key_id FROM api_keys WHERE array_to_string(scopes, ' ') = :scopes")
        return str(connection.execute(asked, {"scopes": scopes}).scalar_one())


def test_letters_are_listed_page_by_page(keeper: TestClient, put: Put) -> None:
    """Each comes once, the latest recorded first, whatever the page's length, also if many are of one moment."""
    for number in range(25):
        put(number, code="bad_amount" if number % 5 else "unparseable")
    whole = keeper.get("/dead-letters").json()
    assert [letter["recorded_at"] for letter in whole] == sorted((each["recorded_at"] for each in whole), reverse=True)
    assert {letter["entry_id"] for letter in whole} == {f"{number}-0" for number in range(25)}
    for limit in (1, 4, 25):
        pages = walk(keeper, f"/dead-letters?limit={limit}")
        assert [letter for page in pages for letter in page] == whole
        assert all(len(page) <= limit for page in pages)


def test_letters_are_filtered_by_code_and_state(keeper: TestClient, put: Put) -> None:
    """Each filter leaves only what fits it, and a cursor belongs to its filters."""
    for number in range(8):
        put(number, code="bad_amount" if number % 2 else "unparseable")
    keeper.post("/dead-letters/1/1-0/discard", json={"reason": "r"})
    keeper.post("/dead-letters/1/3-0/replay")

    def found(query: str) -> set[str]:
        return {letter["entry_id"] for page in walk(keeper, f"/dead-letters?limit=2&{query}") for letter in page}

    assert found("code=unparseable") == {"0-0", "2-0", "4-0", "6-0"}
    assert found("state=discarded") == {"1-0"}
    assert found("state=replayed") == {"3-0"}
    assert found("state=waiting&code=bad_amount") == {"5-0", "7-0"}
    assert found("code=no-such") == set()
    cursor = keeper.get("/dead-letters?limit=1&code=bad_amount").links["next"]["url"].partition("cursor=")[2]
    assert refused_fields(keeper.get(f"/dead-letters?limit=1&cursor={cursor}")) == [["query", "cursor"]]
    assert refused_fields(keeper.get("/dead-letters?state=lost")) == [["query", "state"]]


@pytest.mark.parametrize(
    "event",
    [b"{", b"\xff\xfe", b"", b'{"amount": NaN}', b"[" * 30_000, b"9" * 5000, "é".encode("latin-1")],
    ids=["cut off", "not UTF-8", "empty", "NaN", "deep", "long number", "latin-1"],
)
def test_an_event_that_is_no_json_comes_in_base64(keeper: TestClient, put: Put, event: bytes) -> None:
    """Whatever bytes the stream took come back as they were."""
    put(1, event=event)
    letter = keeper.get("/dead-letters/1/1-0").json()
    assert base64.b64decode(letter["event_base64"]) == event
    assert "event" not in letter


def test_an_event_that_is_json_comes_as_it_was_written(keeper: TestClient, put: Put) -> None:
    """Its digits and escapes are those that were sent, and its summary is that of the list."""
    put(1)
    answer = keeper.get("/dead-letters/1/1-0")
    assert EVENT in answer.text
    letter = answer.json()
    assert letter.pop("event") == json.loads(EVENT)
    assert [letter] == keeper.get("/dead-letters").json()


def test_a_letter_is_replayed_once(keeper: TestClient, put: Put, engine: Engine, redis_url: str) -> None:
    """Its event is on the stream byte for byte, its state is `replayed`, the audit has it; a second time is 409."""
    put(1)
    answer = keeper.post("/dead-letters/1/1-0/replay")
    assert (answer.status_code, answer.json()["state"]) == (200, "replayed")
    again = keeper.post("/dead-letters/1/1-0/replay")
    assert (again.status_code, "replayed on" in again.json()["detail"]) == (409, True)
    assert on_stream(redis_url) == [("default", EVENT)]
    assert keeper.post("/dead-letters/1/1-0/replay?again=true").status_code == 200
    assert on_stream(redis_url) == [("default", EVENT)] * 2
    who = f"key {key_id(engine, 'events:read events:write')}"
    assert operations(engine) == [("default", "dead_letter.replayed", "1 1-0", "bad_amount", who)] * 2


def test_a_letter_is_given_up_with_a_reason(keeper: TestClient, put: Put, engine: Engine, redis_url: str) -> None:
    """The reason is in the audit; it is not given up twice, nor replayed by mistake, and nothing is on the stream."""
    put(1)
    for reason in ({}, {"reason": " "}, {"reason": 5}, {"reason": "x" * 501}, {"reason": "a\0b"}):
        assert refused_fields(keeper.post("/dead-letters/1/1-0/discard", json=reason)) == [["body", "reason"]]
    assert states(keeper) == {"1-0": "waiting"}
    answer = keeper.post("/dead-letters/1/1-0/discard", json={"reason": "a test of the bank's"})
    assert (answer.status_code, answer.json()["state"]) == (200, "discarded")
    assert keeper.post("/dead-letters/1/1-0/discard", json={"reason": "again"}).status_code == 409
    assert keeper.post("/dead-letters/1/1-0/replay").status_code == 409
    ((_, action, subject, detail, _),) = operations(engine)
    assert (action, subject, detail) == ("dead_letter.discarded", "1 1-0", "a test of the bank's")
    assert on_stream(redis_url) == []


def test_what_was_given_up_and_is_replayed_then_is_given_up_no_more(keeper: TestClient, put: Put) -> None:
    """Its state is what was done last, in the answer, in the lists by state, and for the next who would replay it."""
    put(1)
    assert keeper.post("/dead-letters/1/1-0/discard", json={"reason": "a test"}).status_code == 200
    answer = keeper.post("/dead-letters/1/1-0/replay?again=true").json()
    assert (answer["state"], answer["discarded_at"]) == ("replayed", None)
    found = {state: len(keeper.get(f"/dead-letters?state={state}").json()) for state in ("replayed", "discarded")}
    assert found == {"replayed": 1, "discarded": 0}
    refused = keeper.post("/dead-letters/1/1-0/replay")
    assert (refused.status_code, "replayed on" in refused.json()["detail"]) == (409, True)


def test_all_of_a_code_are_replayed_in_turns(keeper: TestClient, put: Put, engine: Engine, redis_url: str) -> None:
    """The oldest go first; with `until` there is an end, though what fails again becomes a new dead letter."""
    for number in range(10):
        put(number)
    put(11, code="unparseable")
    first = keeper.post("/dead-letters/replay?code=bad_amount&limit=4").json()
    assert first == {"replayed": 4, "left": 6, "until": "2026-03-10T12:00:03Z"}
    assert {name for name, state in states(keeper).items() if state == "replayed"} == {"0-0", "1-0", "2-0", "4-0"}
    put(300)  # one that failed again
    second = keeper.post(f"/dead-letters/replay?code=bad_amount&until={first['until']}").json()
    assert second == {"replayed": 6, "left": 0, "until": first["until"]}
    assert states(keeper) == {f"{n}-0": "replayed" for n in range(10)} | {"300-0": "waiting", "11-0": "waiting"}
    assert keeper.post(f"/dead-letters/replay?code=bad_amount&until={first['until']}").json()["replayed"] == 0
    assert len(on_stream(redis_url)) == len(operations(engine)) == 10
    assert keeper.post("/dead-letters/replay?code=no-such").json() == {"replayed": 0, "left": 0, "until": None}


def test_a_turn_sent_again_under_its_key_is_done_once(keeper: TestClient, put: Put, redis_url: str) -> None:
    """The second gets the first one's answer; the key with another query is 422."""
    for number in range(3):
        put(number)
    key = {"Idempotency-Key": "k"}
    first = keeper.post("/dead-letters/replay?code=bad_amount&limit=1", headers=key)
    second = keeper.post("/dead-letters/replay?code=bad_amount&limit=1", headers=key)
    assert (second.json(), second.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert len(on_stream(redis_url)) == 1
    other = keeper.post("/dead-letters/replay?code=bad_amount&limit=2", headers=key)
    assert refused_fields(other) == [["header", "Idempotency-Key"]]


def test_what_the_stream_lost_has_nothing_to_replay(keeper: TestClient, put: Put) -> None:
    """A letter without content is 409, alone and with all of its code."""
    put(1, code="lost", event=b"")
    for path in ("/dead-letters/1/1-0/replay", "/dead-letters/replay?code=lost"):
        answer = keeper.post(path)
        assert (answer.status_code, "its content is gone" in answer.json()["detail"]) == (409, True)


def test_a_stream_that_is_full_leaves_the_letters_waiting(keeper: TestClient, put: Put, redis_url: str) -> None:
    """A replay that could not be written is 503, and nothing is marked as replayed."""
    put(1)
    with Redis.from_url(redis_url) as redis:
        limit: Any = redis.config_get("maxmemory")
        redis.config_set("maxmemory", 1)
        try:
            answers = [keeper.post("/dead-letters/1/1-0/replay"), keeper.post("/dead-letters/replay?code=bad_amount")]
        finally:
            redis.config_set("maxmemory", limit["maxmemory"])
    assert [answer.status_code for answer in answers] == [503, 503]
    assert states(keeper) == {"1-0": "waiting"}
    assert on_stream(redis_url) == []


def test_another_tenants_letters_are_not_there(client: MakeClient, put: Put, redis_url: str) -> None:
    """No other tenant sees, replays or gives up a letter: it is 404, and stays as it is."""
    put(1)
    other, own = client("admin", tenant="acme"), client("admin")
    assert other.get("/dead-letters").json() == []
    assert other.get("/dead-letters/1/1-0").status_code == 404
    assert other.post("/dead-letters/1/1-0/replay").status_code == 404
    assert other.post("/dead-letters/1/1-0/discard", json={"reason": "mine"}).status_code == 404
    assert other.post("/dead-letters/replay?code=bad_amount").json()["replayed"] == 0
    assert states(own) == {"1-0": "waiting"}
    assert on_stream(redis_url) == []


@pytest.mark.parametrize("path", ["0/9-9", "x/1-0", "1.0/1-0", "-1/1-0", "99999999999/1-0", "64/1-0", "１/1-0", "1/%0"])
def test_a_place_that_has_no_letter_is_404(keeper: TestClient, put: Put, path: str) -> None:
    """Whatever it looks like."""
    put(1)
    assert keeper.get(f"/dead-letters/{path}").status_code == 404
    assert keeper.post(f"/dead-letters/{path}/replay").status_code == 404
    assert keeper.post(f"/dead-letters/{path}/discard", json={"reason": "r"}).status_code == 404


def test_each_act_has_its_scope(client: MakeClient, put: Put) -> None:
    """Reading needs events:read, changing needs events:write, and neither is had with the keys of goals."""
    put(1)
    reads, writes = ("GET", "/dead-letters"), ("POST", "/dead-letters/replay?code=x")
    for scopes, allowed in (
        (("events:read",), [True, False]),
        (("events:write",), [False, True]),
        (("goals:read", "goals:write"), [False, False]),
        (("admin",), [True, True]),
    ):
        api = client(*scopes)
        assert [api.request(*asked).status_code != 403 for asked in (reads, writes)] == allowed, scopes
