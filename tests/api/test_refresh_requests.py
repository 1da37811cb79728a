"""Refresh requests: a pointer is recorded once, and closed only by whoever pulled after the last one."""

from __future__ import annotations

import itertools
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from core.jobs.relay import relay
from core.jobs.retain import run_retain
from core.providers.contracts import Refresh
from core.services.deliveries import (
    KEYS_ASKED_MOST,
    VERIFICATION_KEY,
    ask_for_key,
    list_open,
    mark_done,
    record_refreshes,
)
from core.store.database import Sessions
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk
from tests.budget import examples

ITEM = Refresh("item_1", "transactions", "SYNC_UPDATES_AVAILABLE")
SECOND, MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)
_numbers = itertools.count()


def point(sessions: Sessions, now: datetime, *refreshes: Refresh, tenant: str = "default") -> None:
    """Record pointers, as a delivery does."""
    with sessions.begin() as session:
        record_refreshes(session, tenant, "plaid", refreshes or (ITEM,), now)


@pytest.fixture
def puller(client: MakeClient) -> TestClient:
    """A client that may read and close the requests of the default tenant."""
    return client("events:read", "events:write")


def opened(api: TestClient, query: str = "") -> list[dict[str, Any]]:
    """All open requests."""
    return [each for page in walk(api, f"/refresh-requests?limit=3{query}") for each in page]


def test_repeated_pointers_are_one_request(puller: TestClient, session_factory: Sessions, now: datetime) -> None:
    """It is counted, keeps when it was opened, and has the last reason."""
    point(session_factory, now)
    point(session_factory, now + SECOND, Refresh("item_1", "transactions", "DEFAULT_UPDATE"))
    (found,) = opened(puller)
    assert found == {
        "id": found["id"],
        "provider": "plaid",
        "subject": "item_1",
        "kind": "transactions",
        "reason": "DEFAULT_UPDATE",
        "opened_at": "2026-03-10T12:00:00Z",
        "requested_at": "2026-03-10T12:00:01Z",
        "count": 2,
        "open": True,
    }


def test_a_pointer_that_came_since_keeps_the_request_open(
    puller: TestClient, session_factory: Sessions, now: datetime
) -> None:
    """Done with the count that was read closes what that count covers, however often it is said; then it opens anew."""
    point(session_factory, now)
    (seen,) = opened(puller)
    point(session_factory, now + SECOND)
    done = f"/refresh-requests/{seen['id']}/done"
    for _ in range(2):
        answer = puller.post(done, json={"count": 1}).json()
        assert (answer["count"], answer["open"]) == (2, True)
    assert puller.post(done, json={"count": 2}).json()["open"] is False
    assert opened(puller) == []
    point(session_factory, now + 5 * SECOND)
    # A caller whose answer was lost says once more what it had said: the new pointer is not its.
    assert puller.post(done, json={"count": 2}).json()["open"] is True
    (again,) = opened(puller)
    assert (again["count"], again["opened_at"]) == (3, "2026-03-10T12:00:05Z")


@given(st.lists(st.sampled_from(["point", "read", "done"]), max_size=15))
@settings(max_examples=examples(12))
def test_a_request_is_open_if_and_only_if_nobody_read_the_last_pointer(
    session_factory: Sessions, now: datetime, operations: list[str]
) -> None:
    """Whatever the order of pointers, reads and words that it is done."""
    refresh = Refresh(f"item_{next(_numbers)}", "transactions", "r")
    said = read = done = 0
    request_id = ""
    for number, operation in enumerate(operations):
        with session_factory.begin() as session:
            if operation == "point":
                record_refreshes(session, "default", "plaid", [refresh], now + number * SECOND)
                said += 1
            page = list_open(session, "default", provider=None, kind=None, limit=200, cursor=None)
            counts = {row.request_id: row.count for row in page.items if row.subject == refresh.subject}
            assert list(counts.values()) == ([said] if said > done else [])
            if operation == "read" and counts:
                ((request_id, read),) = counts.items()
            if operation == "done" and read:
                mark_done(session, "default", request_id, read, now)
                done = max(done, read)


def test_requests_are_listed_by_how_long_they_wait(
    puller: TestClient, session_factory: Sessions, now: datetime
) -> None:
    """Page by page, each once, and filtered by provider and kind."""
    for number in range(8):
        kind = "balances" if number % 2 else "transactions"
        point(session_factory, now + number // 3 * SECOND, Refresh(f"item_{number}", kind, "r"))
    found = opened(puller)
    assert [each["opened_at"] for each in found] == sorted(each["opened_at"] for each in found)
    assert len({each["id"] for each in found}) == 8
    assert {each["subject"] for each in opened(puller, "&kind=balances")} == {f"item_{n}" for n in (1, 3, 5, 7)}
    assert opened(puller, "&provider=teller") == []
    cursor = puller.get("/refresh-requests?limit=1").links["next"]["url"].partition("cursor=")[2]
    assert refused_fields(puller.get(f"/refresh-requests?kind=x&cursor={cursor}")) == [["query", "cursor"]]


def test_what_cannot_be_done_is_refused(puller: TestClient, session_factory: Sessions, now: datetime) -> None:
    """A count that nobody can have read, or none, is 422; a request that is not there is 404."""
    point(session_factory, now)
    done = f"/refresh-requests/{opened(puller)[0]['id']}/done"
    for count in (0, -1, 2, 10**30, "1", 1.0, None, True):
        assert refused_fields(puller.post(done, json={"count": count})) == [["body", "count"]], count
    assert puller.post("/refresh-requests/none/done", json={"count": 1}).status_code == 404
    assert puller.post("/refresh-requests/%00/done", json={"count": 1}).status_code == 404
    assert opened(puller)[0]["count"] == 1


def test_another_tenants_requests_are_not_there(client: MakeClient, session_factory: Sessions, now: datetime) -> None:
    """Nobody else sees or closes them, though the same item may be anyone's."""
    point(session_factory, now)
    own, other = client("admin"), client("admin", tenant="acme")
    assert opened(other) == []
    assert other.post(f"/refresh-requests/{opened(own)[0]['id']}/done", json={"count": 1}).status_code == 404
    assert len(opened(own)) == 1


def test_pointers_at_once_are_all_counted(session_factory: Sessions, engine: Engine, now: datetime) -> None:
    """Deliveries with the same pointers in any order wait for each other, and none is lost or ends in a deadlock."""
    refreshes = [Refresh(f"item_{number}", "transactions", "r") for number in range(6)]
    barrier = threading.Barrier(4)

    def deliver(number: int) -> None:
        barrier.wait(10)
        for turn in range(5):
            point(session_factory, now, *(refreshes if (number + turn) % 2 else reversed(refreshes)))

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count FROM refresh_requests")).scalars().all() == [20] * 6
        assert connection.execute(text("SELECT times FROM message_counts")).scalars().all() == [20] * 6


def test_unknown_keys_are_asked_for_once_and_not_without_end(
    puller: TestClient, session_factory: Sessions, engine: Engine, now: datetime
) -> None:
    """Each key once while it is open, about twenty at a time; one that was seen to can be asked for again.

    Those that were named last are kept: invented keys do not keep out a real one, which is named again and again.
    """

    def ask(key_id: str, at: datetime) -> None:
        with session_factory.begin() as session:
            ask_for_key(session, "default", "plaid", key_id, at)

    for number in range(100):
        ask(f"kid-{number}", now + number * MILLISECOND)
        if number % 10 == 0:
            ask("kid-0", now + number * MILLISECOND)
    ask("new", now + 100 * MILLISECOND)
    found = opened(puller, f"&kind={VERIFICATION_KEY}")
    assert {each["subject"] for each in found} == {"kid-0", "new", *[f"kid-{number}" for number in range(82, 100)]}
    assert all(each["count"] == 1 for each in found)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM refresh_requests")).scalar() == KEYS_ASKED_MOST
    first = next(each for each in found if each["subject"] == "kid-0")
    assert puller.post(f"/refresh-requests/{first['id']}/done", json={"count": 1}).json()["open"] is False
    ask("kid-0", now + 2 * SECOND)
    (again,) = [each for each in opened(puller) if each["subject"] == "kid-0"]
    assert (again["count"], again["opened_at"]) == (2, "2026-03-10T12:00:02Z")


def test_what_was_seen_to_goes_after_90_days(session_factory: Sessions, engine: Engine, now: datetime) -> None:
    """Open requests stay, however old."""
    point(session_factory, now, ITEM, Refresh("item_2", "transactions", "r"))
    with session_factory.begin() as session:
        (row, _) = list_open(session, "default", provider=None, kind=None, limit=2, cursor=None).items
        mark_done(session, "default", row.request_id, 1, now)
    assert run_retain(session_factory, now + timedelta(days=90)).refresh_requests == 0
    assert run_retain(session_factory, now + timedelta(days=91)).refresh_requests == 1
    with engine.connect() as connection:
        assert connection.execute(text("SELECT done_count FROM refresh_requests")).scalars().all() == [0]


def test_each_pointer_is_a_message_of_its_tenant(
    client: MakeClient, session_factory: Sessions, engine: Engine, now: datetime
) -> None:
    """It has what to pull, and the count to give back; a key that is open is told once, and beyond twenty none is."""
    own, other = client("admin"), client("admin", tenant="acme")
    point(session_factory, now)
    point(session_factory, now + SECOND)
    point(session_factory, now + 2 * SECOND, Refresh("item_2", "transactions", "r"))
    point(session_factory, now, tenant="acme")
    relay(session_factory, now + 2 * SECOND)
    first, again, second = own.get("/messages").json()["messages"]
    (request,) = [each for each in opened(own) if each["subject"] == "item_1"]
    assert [each["id"] for each in (first, again)] == [f"refresh_requested:{request['id']}:{n}" for n in (1, 2)]
    assert (again["type"], again["timestamp"]) == ("refresh.requested", "2026-03-10T12:00:01Z")
    same = ("provider", "subject", "kind", "reason", "requested_at", "count")
    assert again["data"] == {"request_id": request["id"], **{name: request[name] for name in same}}
    assert second["data"]["subject"] == "item_2"
    assert [each["data"]["count"] for each in other.get("/messages").json()["messages"]] == [1]
    for number in range(60):
        with session_factory.begin() as session:
            ask_for_key(session, "default", "plaid", f"kid.{number // 2}", now + number * MILLISECOND)
    with engine.connect() as connection:
        ids = connection.execute(text("SELECT message_id FROM outbox WHERE payload LIKE '%kid.%'")).scalars().all()
    assert len(ids) == KEYS_ASKED_MOST
    assert not any("." in each for each in ids)


def test_each_act_has_its_scope(client: MakeClient) -> None:
    """Reading takes events:read, closing events:write."""
    assert client("events:write").get("/refresh-requests").status_code == 403
    reader = client("events:read")
    assert reader.get("/refresh-requests").status_code == 200
    assert reader.post("/refresh-requests/x/done", json={"count": 1}).status_code == 403
