"""POST /events: events come in over HTTP, whole or not at all, and are on the stream as they were sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from api.batches import MAX_EVENTS
from core.events.envelope import EVENT_LONGEST_BYTES
from core.stream.entries import stream_key

JSON = "application/json"
NDJSON = "application/x-ndjson"


def _event(number: int = 1, account: Any = "acct", **changes: Any) -> dict[str, Any]:
    data = {"account_id": account, "transaction_id": f"t{number}", "amount": 1, "currency": "USD"}
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "test",
        "type": "milepost.transaction.recorded",
        "time": "2026-01-31T12:00:00Z",
        "data": data,
        **changes,
    }


class Stream:
    """The entries on the stream."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def shard(self, number: int) -> list[tuple[str, str]]:
        rows: Any = self.redis.xrange(stream_key(number))
        return [(fields[b"tenant"].decode(), fields[b"event"].decode()) for _, fields in rows]

    def all(self) -> list[str]:
        return [event for number in range(2) for _, event in self.shard(number)]


@pytest.fixture
def on_stream(redis_url: str) -> Iterator[Stream]:
    """The stream behind the API."""
    with Redis.from_url(redis_url) as redis:
        yield Stream(redis)


@pytest.fixture
def send(api: TestClient) -> Callable[..., Any]:
    """Sends a body of events."""

    def post(body: str | bytes, content_type: str = JSON) -> Any:
        return api.post("/events", content=body, headers={"Content-Type": content_type})

    return post


def test_one_event_is_accepted(send: Callable[..., Any], on_stream: Stream) -> None:
    """A single CloudEvents object gets 202, and is on the stream with its tenant."""
    text = json.dumps(_event())
    response = send(text, "application/cloudevents+json; charset=utf-8")
    assert (response.status_code, response.json()) == (202, {"accepted": 1})
    assert on_stream.shard(0) + on_stream.shard(1) == [("default", text)]


@pytest.mark.parametrize(
    ("content_type", "frame"),
    [
        (JSON, "[{}]"),
        ("application/cloudevents-batch+json", " [ {}\n] "),
        (NDJSON, "{}"),
        ("application/x-ndjson; charset=utf-8", "\n\r\n{}\n\n"),
    ],
)
def test_a_batch_keeps_every_character_of_its_events(
    send: Callable[..., Any], on_stream: Stream, content_type: str, frame: str
) -> None:
    """The events of an array and of NDJSON are on the stream digit by digit as they were sent."""
    texts = [
        json.dumps(_event(1)).replace('"amount": 1', '"amount": 12345678901234567.8900'),
        json.dumps(_event(2)).replace('"amount": 1', '"amount":  -1.50E+1, "more": [{"a": "]},\\u00e9\\""}]'),
        json.dumps(_event(3, note="ünï \u2028 😀"), ensure_ascii=False),
    ]
    separator = "\n" if content_type.startswith(NDJSON) else " ,\n"
    response = send(frame.format(separator.join(texts)).encode(), content_type)
    assert (response.status_code, response.json()) == (202, {"accepted": 3})
    assert sorted(on_stream.all()) == sorted(texts)


def test_the_events_of_an_account_stay_in_order(send: Callable[..., Any], on_stream: Stream) -> None:
    """Events are spread over the shards by account, and those of one account share a shard, in their order."""
    batch = [_event(number, account=f"acct{number % 20}") for number in range(200)]
    assert send(json.dumps(batch)).json() == {"accepted": 200}
    placed: dict[str, set[int]] = {}
    for shard in range(2):
        events = [json.loads(event) for _, event in on_stream.shard(shard)]
        assert events
        numbers = [int(event["id"][1:]) for event in events]
        assert numbers == sorted(numbers)
        for event in events:
            placed.setdefault(event["data"]["account_id"], set()).add(shard)
    assert all(len(shards) == 1 for shards in placed.values())


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"account_id": None},
        {"account_id": 12},
        {"account_id": ""},
        {"account_id": "\ud800"},
        {"account_ids": ["b", "a"]},
        {"account_ids": []},
        {"account_ids": "b"},
        {"account_ids": [None]},
        {"amount": "abc"},
        {"account_id": "Savings\u00a01"},
        {"account_id": " "},
        {"account_id": "x" * 201},
        {"account_ids": ["a\0b"]},
    ],
)
def test_a_well_formed_event_is_taken_whatever_its_data(
    send: Callable[..., Any], on_stream: Stream, data: dict[str, Any]
) -> None:
    """The worker checks the data of an event; the route accepts it."""
    assert send(json.dumps(_event(data=data))).status_code == 202
    assert len(on_stream.all()) == 1


@pytest.mark.parametrize("name", ["a\u00a0b", "zero\u200bwidth", "👩\u200d🌾", "\u202eleft", "\ufeffa"])
def test_an_id_may_hold_all_but_control_characters(
    send: Callable[..., Any], on_stream: Stream, apply_stream: Callable[[], Any], name: str
) -> None:
    """Such an id of an event and of an account is taken, takes effect, and its account's events share a shard."""
    batch = [_event(id=f"{name}{number}", data=_event(number, name)["data"]) for number in range(20)]
    for event in batch:
        event["data"]["posted_at"] = "2026-01-31"
    assert send(json.dumps([*batch, _event(id=name, data={})])).json() == {"accepted": 21}
    assert sorted(len(on_stream.shard(number)) for number in range(2)) in ([0, 21], [1, 20])
    assert apply_stream().dead_letters == 1  # the one without data


BAD_ENVELOPES = [
    12,
    None,
    "text",
    [],
    {},
    _event(specversion="0.3"),
    _event(specversion=1.0),
    _event(id=None),
    _event(id=12),
    _event(id=""),
    _event(id="a\0b"),
    _event(source=None),
    _event(type=None),
    _event(time=None),
    _event(time="yesterday"),
    _event(time=1769860800),
    _event(data=None),
    _event(data=[]),
    _event(subject=5),
]


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
def test_a_malformed_envelope_refuses_the_batch(send: Callable[..., Any], on_stream: Stream, content_type: str) -> None:
    """One malformed envelope is 422 with its index, and none of the other events is written."""
    for bad in BAD_ENVELOPES:
        batch = [_event(1), _event(2), bad, _event(3)]
        lines = "\n".join(json.dumps(event) for event in batch)
        response = send(lines if content_type == NDJSON else json.dumps(batch), content_type)
        assert response.status_code == 422, bad
        (problem,) = response.json()["errors"]
        assert problem["loc"] == ["body", 2], bad
        assert problem["msg"]
    assert on_stream.all() == []


GOOD = json.dumps(_event())
TWICE = GOOD.replace(" 1,", ' 1, "amount": 2,')
NO_BATCHES = {
    "nothing": ("", JSON, ["body"]),
    "blank": (" \n", JSON, ["body"]),
    "an empty array": ("[]", JSON, ["body"]),
    "empty lines": ("\n\n\n", NDJSON, ["body"]),
    "an open array": (f"[{GOOD}", JSON, ["body", 1]),
    "no comma": (f"[{GOOD} {GOOD}]", JSON, ["body", 1]),
    "a comma too many": (f"[{GOOD},]", JSON, ["body", 1]),
    "more after the end": (f"[{GOOD}] {GOOD}", JSON, ["body", 1]),
    "lines sent as JSON": (f"{GOOD}\n{GOOD}", JSON, ["body", 0]),
    "NaN": (f"[{GOOD}, {GOOD.replace(' 1,', ' NaN,')}]", JSON, ["body", 1]),
    "Infinity in a line": (f"{GOOD}\n{GOOD.replace(' 1,', ' -Infinity,')}", NDJSON, ["body", 1]),
    "a key twice": (f"[{GOOD}, {TWICE}]", JSON, ["body", 1]),
    "a key twice in a line": (f'{GOOD}\n{GOOD[:-1]}, "id": "e1"}}', NDJSON, ["body", 1]),
    "an endless integer": (GOOD.replace(" 1,", f" {'9' * 5000},"), JSON, ["body", 0]),
    "deep arrays": ("[" * 900_000, JSON, ["body", 0]),
    "deep data": (f'{GOOD}\n{{"data":{"[" * 900_000}', NDJSON, ["body", 1]),
    "invalid UTF-8": (b'[{"id": "\xff"}]', JSON, ["body"]),
    "invalid UTF-8 in a line": (f'{GOOD}\n{{"id": "\xff"}}'.encode("latin-1"), NDJSON, ["body", 1]),
}


@pytest.mark.parametrize("name", NO_BATCHES)
def test_what_is_no_batch_is_refused(send: Callable[..., Any], on_stream: Stream, name: str) -> None:
    """A body without events, or that is cut off or garbled, is 422 with its place, and nothing is written."""
    body, content_type, loc = NO_BATCHES[name]
    response = send(body, content_type)
    assert response.status_code == 422, response.text
    assert [problem["loc"] for problem in response.json()["errors"]] == [loc]
    assert on_stream.all() == []


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
def test_ten_thousand_events_are_the_most(send: Callable[..., Any], on_stream: Stream, content_type: str) -> None:
    """One more than 10,000 events in a body is 422, and nothing is written; 10,000 are accepted."""
    event = '{"specversion":"1.0","id":"e","source":"s","type":"t","time":"2026-01-31T12:00:00Z","data":{}}'
    for number, status in ((MAX_EVENTS + 1, 422), (MAX_EVENTS, 202)):
        assert on_stream.all() == []
        lines = [event] * number
        body = "\n".join(lines) if content_type == NDJSON else f"[{','.join(lines)}]"
        assert send(body, content_type).status_code == status
    assert len(on_stream.all()) == MAX_EVENTS


@pytest.mark.parametrize(("content_type", "frame"), [(JSON, "[{}]"), (NDJSON, "{}")])
def test_an_event_has_a_largest_size(
    send: Callable[..., Any], on_stream: Stream, content_type: str, frame: str
) -> None:
    """One byte more than the limit is 422 with the event's index, and nothing is written; at the limit it is taken."""
    small = json.dumps(_event(1))
    for excess in (1, 0):
        assert on_stream.all() == []
        large = json.dumps(_event(2, note="é"), ensure_ascii=False)
        large = large.replace("é", "é" + "x" * (EVENT_LONGEST_BYTES + excess - len(large.encode())))
        response = send(frame.format(f"{small}{',' if content_type == JSON else ''}\n{large}").encode(), content_type)
        if excess:
            assert response.status_code == 422
            (problem,) = response.json()["errors"]
            assert problem["loc"] == ["body", 1]
            assert str(EVENT_LONGEST_BYTES) in problem["msg"]
    assert response.json() == {"accepted": 2}
    assert sorted(on_stream.all()) == sorted([small, large])


def test_a_full_stream_is_503_and_nothing_is_lost_or_half_written(send: Callable[..., Any], on_stream: Stream) -> None:
    """When the stream server is out of memory the route answers 503 with Retry-After, and works again after."""
    limit: Any = on_stream.redis.config_get("maxmemory")
    on_stream.redis.config_set("maxmemory", 1)
    try:
        response = send(json.dumps(_event()))
    finally:
        on_stream.redis.config_set("maxmemory", limit["maxmemory"])
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "stream" in response.json()["detail"]
    assert on_stream.all() == []
    assert send(json.dumps(_event())).status_code == 202
