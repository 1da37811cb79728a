"""Rate limits of keys and addresses, and quotas of tenants: who goes beyond one reads when to come again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from api import limits
from api.app import make_app
from api.limits import LimitState, RateExceeded, RateLimiter, network_of
from core.ingestion.drain import ShardDrain
from core.rate_limit import BadLimit, RateLimit
from core.services.quotas import SentEvents
from core.settings import Settings
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.positions import Position
from core.stream.stream import EventStream

SAVINGS = {"user_id": "user_123", "name": "Trip", "type": "savings", "target_amount": 1000}
FEW = "3/hour"


@contextmanager
def serving(settings: Settings, **changes: Any) -> Iterator[FastAPI]:
    """The application with other settings."""
    app = make_app(settings.model_copy(update=changes))
    with TestClient(app):
        yield app


def client(app: FastAPI, key: str | None, address: str = "192.0.2.1") -> TestClient:
    """A client at an address."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return TestClient(app, headers=headers, client=(address, 5000))


def event(number: int) -> dict[str, Any]:
    """An event of one account."""
    now = datetime.now(UTC).isoformat()
    data = {"account_id": "a", "transaction_id": f"t{number}", "amount": 1, "currency": "USD", "posted_at": now}
    whole = {"specversion": "1.0", "id": str(number), "source": "bank", "type": "milepost.transaction.recorded"}
    return {**whole, "time": now, "data": data}


def _wait_s(limiter: RateLimiter, limit: RateLimit) -> float:
    """How long a refused caller has to wait; 0 if it is not refused."""
    try:
        limiter.check("caller", limit)
    except RateExceeded as refused:
        return refused.state.wait_s + 1e-6
    return 0.0


@given(st.integers(1, 50), st.sampled_from([1, 60, 3_600]), st.lists(st.floats(0, 200), min_size=1, max_size=120))
def test_no_caller_gets_more_than_its_limit(requests: int, period_s: int, pauses: list[float]) -> None:
    """At once no more than the limit, over any time no more than that and what came back; and who waits gets on."""
    limit, limiter, now_s, passed_s = RateLimit(requests, period_s), RateLimiter(), [0.0], list[float]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.time, "monotonic", lambda: now_s[0])
        for pause in pauses:
            now_s[0] += pause * period_s / requests / 20
            now_s[0] += _wait_s(limiter, limit)
            assert 0 <= limiter.use("caller", limit).remaining < requests
            passed_s.append(now_s[0])
    for first, began_s in enumerate(passed_s):
        for last in range(first, len(passed_s)):
            most = requests + (passed_s[last] - began_s) * requests / period_s + 1e-3
            assert last - first + 1 <= most


@pytest.mark.parametrize(
    "text", ["", "10", "0/second", "10/day", "ten/second", "-1/second", "1e3/second", "10 / second"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    """The text says how one is written."""
    with pytest.raises(BadLimit, match="write it as 100/second"):
        RateLimit.parse(text)


@pytest.mark.parametrize(
    ("period_s", "wait_s", "text"),
    [
        (1, 0.01, "at most 3 a second; try again in 1 second"),
        (60, 11.2, "at most 3 a minute; try again in 12 seconds"),
        (3_600, 119, "at most 3 an hour; try again in 119 seconds"),
        (3_600, 119.1, "at most 3 an hour; try again in 2 minutes"),
        (3_600, 120.1, "at most 3 an hour; try again in 3 minutes"),
        (3_600, 1_200, "at most 3 an hour; try again in 20 minutes"),
    ],
)
def test_who_is_beyond_a_limit_reads_when_to_come_again(period_s: int, wait_s: float, text: str) -> None:
    """In whole seconds, from two minutes on in whole minutes, and never too early."""
    state = LimitState(RateLimit(3, period_s), 0, wait_s)
    assert str(RateExceeded(state)) == f"Too many requests: {text}"


def test_a_key_beyond_its_limit_gets_429(settings: Settings, new_key: Callable[..., str]) -> None:
    """With Retry-After and what the limit is; another key of the tenant goes on, and answers say what is left."""
    with serving(settings, rate_limit=FEW) as app:
        first, second = (client(app, new_key("admin")) for _ in range(2))
        left = [first.get("/goals").headers["RateLimit"] for _ in range(3)]
        assert [one.partition(";t=")[0] for one in left] == [f'"default";r={n}' for n in (2, 1, 0)]
        for method, path in (("GET", "/goals"), ("POST", "/goals"), ("GET", "/goals/none"), ("POST", "/events")):
            refused = first.request(method, path, json={})
            detail = "Too many requests: at most 3 an hour; try again in 20 minutes"
            assert (refused.status_code, refused.json()) == (429, {"detail": detail})
            assert 1 <= int(refused.headers["Retry-After"]) <= 1200
            assert refused.headers["RateLimit-Policy"] == '"default";q=3;w=3600'
        assert second.get("/goals").status_code == 200


def test_a_large_body_counts_as_one_request(settings: Settings, new_key: Callable[..., str]) -> None:
    """Though its key is looked at before the body is read and once more after it."""
    with serving(settings, rate_limit=FEW) as app:
        sender = client(app, new_key("admin"))
        padded = json.dumps([event(1)]) + " " * 100_000
        answers = [sender.post("/events", content=padded) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]


def test_a_tenant_may_have_a_limit_of_its_own(settings: Settings, new_key: Callable[..., str]) -> None:
    """The setting names it; all others have the general one."""
    with serving(settings, rate_limit=FEW, tenant_rate_limits="other = 1/hour, third=100000/second") as app:
        keys = {tenant: new_key("admin", tenant=tenant) for tenant in ("default", "other")}
        found = {
            tenant: [client(app, key).get("/goals").status_code for _ in range(5)].count(200)
            for tenant, key in keys.items()
        }
        assert found == {"default": 3, "other": 1}


def test_without_a_setting_keys_have_no_limit(app: FastAPI, new_key: Callable[..., str]) -> None:
    """And no answer speaks of one."""
    answers = [client(app, new_key("admin")).get("/goals") for _ in range(30)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("RateLimit" in answer.headers for answer in answers)


def test_an_address_that_guesses_keys_is_stopped(settings: Settings, new_key: Callable[..., str]) -> None:
    """Not other addresses, nor one who has had a key at the same address; and the database is not asked any more."""
    with serving(settings, address_rate_limit=FEW) as app:
        good = client(app, new_key("admin"))
        assert good.get("/goals").status_code == 200
        paths = ("/goals", "/metrics", "/goals")
        guesses = [client(app, f"mp_guess_{n}").get(paths[n % 3]).status_code for n in range(6)]
        assert guesses == [401, 401, 401, 429, 429, 429]
        app.state.known_keys.callers.clear()
        assert good.get("/goals").status_code == 200
        assert client(app, None).get("/goals").status_code == 429
        assert client(app, "mp_guess", "192.0.2.2").get("/goals").status_code == 401
        assert client(app, "mp_guess", "2001:db8:1:2::1").get("/goals").status_code == 401


def test_an_address_that_sends_unsigned_deliveries_is_stopped(settings: Settings) -> None:
    """Before its bodies are read."""
    with serving(settings, address_rate_limit=FEW) as app:
        sender = client(app, None)
        found = [sender.post("/webhooks/plaid/none", json={}).status_code for _ in range(5)]
        assert found == [401, 401, 401, 429, 429]


def test_addresses_of_one_network_are_one(settings: Settings) -> None:
    """Whoever has a /64 of IPv6 has all of it; IPv4 written as IPv6 is IPv4."""
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("::ffff:192.0.2.2") == "192.0.2.2"
    assert network_of(None) == network_of("testclient") == "unknown"
    assert settings.address_rate_limit == "600/minute"


def test_a_tenant_has_no_more_goals_than_its_quota(settings: Settings, new_key: Callable[..., str]) -> None:
    """One more is a 429 that says so; a repeat of one that was made is answered, a deleted one makes room."""
    with serving(settings, goals_most=2) as app:
        caller, other = client(app, new_key("admin")), client(app, new_key("admin", tenant="other"))
        made = [caller.post("/goals", json=SAVINGS, headers={"Idempotency-Key": str(n)}) for n in range(3)]
        assert [answer.status_code for answer in made] == [201, 201, 429]
        detail = "The tenant has 2 goals, which is its quota: delete some first, or have it raised"
        assert made[2].json() == {"detail": detail, "quota": 2}
        assert "Retry-After" not in made[2].headers
        assert caller.post("/goals", json=SAVINGS, headers={"Idempotency-Key": "0"}).json() == made[0].json()
        assert other.post("/goals", json=SAVINGS).status_code == 201
        caller.delete(f"/goals/{made[0].json()['id']}")
        assert caller.post("/goals", json=SAVINGS).status_code == 201


def test_a_tenant_whose_dead_letters_wait_sends_no_more(
    settings: Settings, new_key: Callable[..., str], session_factory: Sessions
) -> None:
    """Nobody else is harmed, and those that were discarded do not count."""
    with session_factory.begin() as session:
        Sql(
            """INSERT INTO dead_letters (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at)
            SELECT 'default', 0, n || '-0', 'c', 'r', '', now(), now() FROM generate_series(1, 3) n"""
        ).run(session, {})
    with serving(settings, dead_letters_most=3) as app:
        caller, other = client(app, new_key("admin")), client(app, new_key("admin", tenant="other"))
        refused = caller.post("/events", json=event(1))
        assert refused.status_code == 429
        assert refused.json()["detail"].startswith("The tenant has 3 dead letters that wait, which is its quota")
        assert other.post("/events", json=event(1)).status_code == 202
        caller.post("/dead-letters/0/1-0/discard", json={"reason": "a test"})
        assert caller.post("/events", json=event(1)).status_code == 202


def test_a_tenant_whose_events_wait_sends_no_more(
    settings: Settings, new_key: Callable[..., str], session_factory: Sessions, stream: EventStream
) -> None:
    """The events of others, which stand before and after its own, harm nobody. Once they are applied it goes on."""
    with serving(settings, waiting_most=400) as app:
        caller, other = client(app, new_key("admin")), client(app, new_key("admin", tenant="other"))

        def send(whose: TestClient, first: int, last: int, **headers: str) -> tuple[int, str]:
            sent = whose.post("/events", json=[event(n) for n in range(first, last)], headers=headers)
            return sent.status_code, sent.text

        assert send(other, 0, 300)[0] == 202
        assert send(caller, 0, 399)[0] == 202
        assert send(caller, 399, 1_000)[0] == 202
        for headers in ({}, {"Idempotency-Key": "a"}):
            status, text = send(caller, 1_000, 1_001, **headers)
            assert (status, json.loads(text)["detail"][:38]) == (429, "The tenant has 400 events that wait, w")
        assert send(other, 300, 310)[0] == 202
        for shard in range(stream.shards):
            ShardDrain(session_factory, stream, shard, 500, lambda: datetime.now(UTC)).drain()
        assert send(caller, 1_000, 1_001, **{"Idempotency-Key": "a"})[0] == 202


@given(st.data())
def test_of_what_was_sent_as_much_waits_as_is_not_applied(data: st.DataObject) -> None:
    """At most a run for each shard too much; nothing once all are applied, or an hour later if they never are."""
    sent, ids, applied = SentEvents(10_000), {0: 0, 1: 0}, {0: 0, 1: 0}
    now = datetime.fromtimestamp(1, UTC)
    for _ in range(data.draw(st.integers(1, 12))):
        shard, count = data.draw(st.integers(0, 1)), data.draw(st.integers(1, 250))
        sent.add("a", [(shard, f"1000-{ids[shard] + n + 1}") for n in range(count)])
        ids[shard] += count
        applied[shard] = data.draw(st.integers(applied[shard], ids[shard]))
        positions = {shard: Position(f"1000-{last}") for shard, last in applied.items()}
        left = sum(ids[shard] - applied[shard] for shard in ids)
        assert left <= sent.waiting("a", positions, now) < left + 20
        assert sent.waiting("b", positions, now) == 0
    if data.draw(st.booleans()):
        now += timedelta(hours=1, seconds=1)
    else:
        positions = {shard: Position(f"1000-{last}") for shard, last in ids.items()}
    assert sent.waiting("a", positions, now) == 0
    assert not sent._runs


def test_a_small_quota_is_exact() -> None:
    """A tenant that sends one event after the other, and whose events are applied, has none that wait."""
    sent = SentEvents(50)
    for number in range(1, 120):
        sent.add("a", [(0, f"1000-{number}")])
        assert sent.waiting("a", {0: Position(f"1000-{number - 1}")}, datetime.fromtimestamp(1, UTC)) == 1
