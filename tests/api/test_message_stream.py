"""GET /messages/stream: what the feed has and what comes, once each, and nothing that a listener keeps for itself."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, NullPool, create_engine, text

from api.app import make_app
from api.context import READING_THREADS
from api.feed import OF_A_KEY, Feed
from core.jobs.relay import relay
from core.jobs.retain import run_retain
from core.services.keys import revoke_key
from core.settings import Settings
from core.store.database import Sessions
from core.store.driver import Sql
from milepost.embedded.postgres import EmbeddedPostgres
from tests.api.conftest import MakeClient, MakeKey
from tests.api.listening import Reader, announce, names_of, slow_socket, write
from tests.serving import api_process, serving

Eventually = Callable[[Callable[[], object], float], bool]
FILTERS: list[dict[str, str]] = [{}, {"user_id": "u"}, {"goal_id": "g"}, {"types": "goal.changed,goal.reached"}]
LISTENING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'milepost-api-listen'"""
# More than the buffers of a connection hold, of which the server's may grow to four megabytes.
MANY, LONG = 1_600, 5_000


@pytest.fixture
def own_app(settings: Settings) -> FastAPI:
    """The application that a real server serves."""
    return make_app(settings)


@pytest.fixture
def feed(own_app: FastAPI, url: str) -> Feed:
    """The listeners of the real server."""
    assert url
    found: Feed = own_app.state.feed
    return found


@pytest.fixture
def url(own_app: FastAPI) -> Iterator[str]:
    """The address of a real server."""
    with serving(own_app) as address:
        yield address


@pytest.fixture
def key(new_key: MakeKey) -> str:
    """A key that may read and make goals."""
    return new_key("goals:read", "goals:write")


def value(engine: Engine, query: str) -> Any:
    """The only value of a query."""
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


def status_of(url: str, key: str) -> int:
    """With what a stream is answered."""
    with Reader(url, key) as reader:
        return reader.status


def is_stuck(feed: Feed) -> bool:
    """Whether a reader does not take what it is sent."""
    return any(each.is_sending for each in list(feed._listeners()))


def make_old(sessions: Sessions) -> None:
    """As if all messages had been announced long ago."""
    with sessions.begin() as session:
        Sql("UPDATE outbox SET position = position - CAST(91 AS bigint) * 86400 * 1000000").run(session, {})


def forget_old(sessions: Sessions) -> None:
    """Delete them."""
    assert run_retain(sessions, datetime.now(UTC)).messages


def test_an_event_is_a_message_of_the_list(url: str, key: str, session_factory: Sessions) -> None:
    """Its type, its cursor as the id, and the same JSON with exact amounts."""
    headers = {"Authorization": f"Bearer {key}"}
    goal = {"user_id": "u", "name": "Trip", "type": "savings", "target_amount": 100.5}
    with Reader(url, key) as reader:
        assert reader.response.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert reader.response.getheader("cache-control") == "private, no-cache"
        assert httpx2.post(f"{url}/goals", json=goal, headers=headers).status_code == 201
        relay(session_factory, datetime.now(UTC) + timedelta(seconds=1))
        [event] = reader.read(1)
    page = httpx2.get(f"{url}/messages", headers=headers)
    assert f'{{"messages":[{event.data}],' in page.text
    assert '"target_amount":100.50' in event.data
    assert (event.type, event.id) == ("goal.created", page.json()["messages"][0]["cursor"])


@pytest.mark.parametrize("query", FILTERS)
def test_none_is_missing_and_none_comes_twice(
    url: str, key: str, session_factory: Sessions, query: dict[str, str]
) -> None:
    """While messages are announced, a reader comes and goes, and goes on after the last event that it had."""
    wanted: list[str] = []
    has_all = threading.Event()

    def go_on() -> None:
        for number in range(40):
            announce(session_factory, 3, user_id="other", goal_id="other") if query else None
            wanted.extend(announce(session_factory, 1 + number % 7))
        has_all.set()

    writer = threading.Thread(target=go_on)
    writer.start()
    read: list[str] = []
    last_id = None
    while not has_all.is_set() or len(read) < len(wanted):
        with Reader(url, key, last_id, **query) as reader:
            some = min(17, len(wanted) - len(read)) or 1
            if has_all.is_set() and len(read) == len(wanted):
                break
            read += [name for name in names_of(reader.read(some)) if "types" not in query or name in wanted]
            last_id = reader.last_id
    writer.join()
    assert read == wanted


def test_it_goes_on_after_a_cursor(url: str, key: str, session_factory: Sessions) -> None:
    """As the list does; the header counts more than the parameter."""
    names = announce(session_factory, 5)
    with Reader(url, key) as reader:
        events = reader.read(5)
    assert names_of(events) == names
    with Reader(url, key, after=events[1].id) as reader:
        assert names_of(reader.read(3)) == names[2:]
    with Reader(url, key, events[3].id, after=events[1].id) as reader:
        assert names_of(reader.read(1)) == names[4:]


def test_nothing_of_another_tenant_comes(url: str, key: str, new_key: MakeKey, session_factory: Sessions) -> None:
    """Each gets its own, at the same time."""
    with Reader(url, key) as own, Reader(url, new_key("goals:read", tenant="other")) as other:
        theirs = announce(session_factory, 2, tenant="other")
        ours = announce(session_factory, 2)
        assert (names_of(own.read(2)), names_of(other.read(2))) == (ours, theirs)


def test_a_silent_stream_says_that_it_lives_and_how_far_it_is(
    url: str, key: str, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a reader whose filters choose nothing does not begin far behind when it comes again."""
    monkeypatch.setattr("api.listeners.HEARTBEAT_S", 0.2)
    with Reader(url, key, user_id="nobody") as reader:
        announce(session_factory, 3)
        newest: str = httpx2.get(f"{url}/messages", headers={"Authorization": f"Bearer {key}"}).json()["next"]
        reader.read_through(f"id: {newest}\n\n")
        reader.read_through(": ping\n\n: ping\n\n")
    with Reader(url, key, newest) as again:
        names = announce(session_factory, 1)
        assert names_of(again.read(1)) == names


@pytest.mark.parametrize("is_slow", [False, True])
def test_it_ends_when_its_key_is_revoked(
    url: str,
    key: str,
    feed: Feed,
    session_factory: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
    is_slow: bool,
) -> None:
    """Soon, also if its reader takes nothing; that of another key goes on."""
    monkeypatch.setattr("api.feed.KEYS_CHECKED_EVERY_S", 0.2)
    key_id = key.split("_")[1]
    names = announce(session_factory, MANY, fill=LONG) if is_slow else []
    with ExitStack() as stack:
        if is_slow:
            stack.enter_context(slow_socket(url, key))
            assert eventually(lambda: is_stuck(feed), 15)
        else:
            reader = stack.enter_context(Reader(url, key))
        other = stack.enter_context(Reader(url, "mp_test_key_that_is_long_enough"))
        assert feed.count == 2
        with session_factory.begin() as session:
            revoke_key(session, "default", key_id, datetime.now(UTC))
        assert eventually(lambda: feed.count == 1, 15)
        if not is_slow:
            assert reader.read(1) == []
        names += announce(session_factory, 1)
        assert names_of(other.read(len(names))) == names
        assert eventually(lambda: status_of(url, key) == 401, 10)


def test_a_notification_makes_it_quick(
    url: str,
    key: str,
    session_factory: Sessions,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """Although nobody looks for a minute."""
    with Reader(url, key) as reader:
        assert eventually(lambda: value(engine, LISTENING) == 1, 10)
        time.sleep(0.2)
        monkeypatch.setattr("api.feed.LOOKED_EVERY_S", 60.0)
        # The first may come by a look that was under way.
        for _ in range(3):
            names = announce(session_factory, 1)
            assert names_of(reader.read(1)) == names


def test_a_lost_notification_costs_a_second(
    url: str,
    key: str,
    session_factory: Sessions,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    """Also if the connection that listens is gone, and when it is back."""
    monkeypatch.setattr("api.feed._CONNECT_AGAIN_S", 3.0)
    with Reader(url, key) as reader:
        assert eventually(lambda: value(engine, LISTENING) == 1, 10)
        killed = LISTENING.replace("count(*)", "pg_terminate_backend(pid)")
        assert value(engine, killed)
        assert eventually(lambda: value(engine, LISTENING) == 0, 5)
        names = announce(session_factory, 2)
        assert names_of(reader.read(2)) == names
        assert eventually(lambda: value(engine, LISTENING) == 1, 15)
        names = announce(session_factory, 2)
        assert names_of(reader.read(2)) == names


def test_an_address_for_listening_that_does_not_answer_does_no_harm(
    settings: Settings, key: str, session_factory: Sessions
) -> None:
    """MILEPOST_LISTEN_URL says where the notifications are; messages come without."""
    away = settings.model_copy(update={"listen_url": settings.database_url.__class__("postgresql://x@127.0.0.1:1/x")})
    with serving(make_app(away)) as address, Reader(address, key) as reader:
        names = announce(session_factory, 2)
        assert names_of(reader.read(2)) == names


def test_it_outlives_an_outage_of_the_database(
    url: str,
    key: str,
    postgres: EmbeddedPostgres,
    database_url: str,
    session_factory: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says that it lives meanwhile, and then goes on."""
    monkeypatch.setattr("api.listeners.HEARTBEAT_S", 0.2)
    name = database_url.rpartition("/")[2]
    managing = create_engine(
        postgres.url.rpartition("/")[0] + "/postgres", isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with Reader(url, key) as reader, managing.connect() as connection:
        first = announce(session_factory, 1)
        assert names_of(reader.read(1)) == first
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        reader.read_through(": ping\n\n" * 5)
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        second = announce(session_factory, 1)
        assert names_of(reader.read(1)) == second


def test_fifty_listeners_have_one_connection(
    url: str, key: str, feed: Feed, session_factory: Sessions, engine: Engine, eventually: Eventually
) -> None:
    """It is closed when the last of them has gone; one that goes away is known at once."""
    all_of_ours = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'milepost-api%'"
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(url, key)) for _ in range(50)]
        names = announce(session_factory, 1)
        assert [names_of(each.read(1)) for each in readers] == [names] * 50
        assert value(engine, LISTENING) == 1
        assert value(engine, f"SELECT count(*) {all_of_ours}") <= 1 + READING_THREADS
        assert value(engine, f"SELECT count(*) {all_of_ours} AND state LIKE 'idle in%'") == 0
    assert eventually(lambda: feed.count == 0, 5)
    assert eventually(lambda: value(engine, LISTENING) == 0, 5)


def test_one_statement_reads_for_all(
    url: str, key: str, session_factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty listeners, with different filters, who have all that there was."""
    reads: list[str] = []
    is_ours = Feed._read_shared

    def counted(self: Feed, *arguments: Any) -> Any:
        reads.append("shared")
        return is_ours(self, *arguments)

    monkeypatch.setattr(Feed, "_read_shared", counted)
    monkeypatch.setattr(Feed, "_read_own_in_thread", lambda *_: reads.append("own"))
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(url, key, **FILTERS[number % 4])) for number in range(20)]
        time.sleep(1.5)
        names = announce(session_factory, 3)
        assert [names_of(each.read(3)) for each in readers] == [names] * 20
    assert reads == ["shared"]


def test_a_slow_reader_stops_nobody_and_gets_all(
    url: str, key: str, feed: Feed, session_factory: Sessions, eventually: Eventually
) -> None:
    """What it has not taken is read again from its position when it goes on."""
    names: list[str] = []
    with Reader(url, key) as quick, slow_socket(url, key) as slow:
        for _ in range(8):
            names += announce(session_factory, MANY // 8, fill=LONG)
            assert names_of(quick.read(MANY // 8)) == names[-MANY // 8 :]
        assert is_stuck(feed)
        assert eventually(lambda: not any(each.feed.events for each in feed._listeners()), 5)
        received = b""
        while received.count(b'"name":') < len(names):
            chunk = slow.recv(65_536)
            assert chunk
            received += chunk
    assert re.findall(rb'"name":"(\d+)"', received) == [name.encode() for name in names]


def test_limits_are_its_own(
    url: str, key: str, new_key: MakeKey, feed: Feed, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """Of a key, of a tenant and of a process: 429 with Retry-After, and again room when one has gone."""
    monkeypatch.setattr("api.feed.OF_A_KEY", 2)
    monkeypatch.setattr("api.feed.OF_A_TENANT", 3)
    monkeypatch.setattr("api.feed.OF_A_PROCESS", 4)
    second, third, other = new_key("goals:read"), new_key("goals:read"), new_key("goals:read", tenant="other")
    with ExitStack() as stack:
        for each in (key, key, second, other):
            assert stack.enter_context(Reader(url, each)).status == 200
        for each, of_what in ((key, "key"), (third, "tenant"), (other, "process")):
            refused = stack.enter_context(Reader(url, each))
            assert (refused.status, refused.response.getheader("retry-after")) == (429, "2")
            assert f"of this {of_what} already" in refused.response.read().decode()
        assert feed.count == 4
    assert eventually(lambda: feed.count == 0, 5)
    assert status_of(url, key) == 200


def test_streams_leave_room_for_other_connections(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, feed: Feed
) -> None:
    """Nor do they take the turns of their tenant."""
    monkeypatch.setattr("api.connections.CONNECTIONS_MOST", 3)
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(url, key)) for _ in range(20)]
        assert {each.status for each in readers} == {200}
        assert eventually(lambda: feed.count == 20, 5)
        assert httpx2.get(f"{url}/goals", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_it_is_measured_and_logged(
    url: str, key: str, feed: Feed, capfd: pytest.CaptureFixture[str], eventually: Eventually
) -> None:
    """A gauge while it is open, a line in the log when it ends, and not as a request that took long."""
    headers = {"Authorization": f"Bearer {key}"}
    with Reader(url, key):
        assert "milepost_stream_listeners 1.0" in httpx2.get(f"{url}/metrics", headers=headers).text
        time.sleep(1.1)
    assert eventually(lambda: feed.count == 0, 5)
    metrics = httpx2.get(f"{url}/metrics", headers=headers).text
    assert "milepost_stream_listeners 0.0" in metrics
    assert 'milepost_http_requests_total{method="GET",route="/messages/stream",status="200"} 1.0' in metrics
    assert 'milepost_http_request_seconds_bucket{le="1.0",method="GET",route="/messages/stream"} 1.0' in metrics
    assert '"route": "/messages/stream"' in capfd.readouterr().err


def test_whoever_is_too_late_is_told_before_it_begins(url: str, key: str, session_factory: Sessions) -> None:
    """410 with the oldest cursor, which is one to begin after; one without a cursor begins with what is left."""
    announce(session_factory, 3)
    make_old(session_factory)
    with Reader(url, key) as reader:
        cursors = [each.id for each in reader.read(3)]
    forget_old(session_factory)
    names = announce(session_factory, 1)
    with Reader(url, key, cursors[0]) as late:
        assert late.status == 410
        oldest = httpx2.Response(410, content=late.response.read()).json()["oldest"]
    for after in (oldest, None):
        with Reader(url, key, after) as reader:
            assert names_of(reader.read(1)) == names


def test_what_is_deleted_before_a_slow_reader_took_it_ends_its_stream(
    url: str, key: str, feed: Feed, session_factory: Sessions, eventually: Eventually
) -> None:
    """It does not go on as if nothing was missing."""
    announce(session_factory, MANY, fill=LONG)
    make_old(session_factory)
    with slow_socket(url, key) as slow:
        assert eventually(lambda: is_stuck(feed), 15)
        forget_old(session_factory)
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            chunk = slow.recv(65_536)
            assert chunk
            received += chunk
    assert 0 < received.count(b'"name":') < MANY


@pytest.mark.parametrize("last_id", ["MQ.0000000000000000", "x", "\xe9"])
def test_a_forged_last_event_id_is_refused(api: TestClient, last_id: str) -> None:
    """With the name of the header."""
    refused = api.get("/messages/stream", headers={"Last-Event-ID": last_id.encode("latin-1")})  # type: ignore[dict-item]
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["header", "Last-Event-ID"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "x"}, "after"),
        ({"types": "goal.creatd"}, "types"),
        ({"limit": "5"}, "limit"),
        ({"type": "x"}, "type"),
    ],
)
def test_what_cannot_be_is_refused(api: TestClient, query: dict[str, str], field: str) -> None:
    """As in the list, before it begins."""
    refused = api.get("/messages/stream", params=query)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["query", field]


def test_it_needs_a_key_with_the_scope(client: MakeClient) -> None:
    """401 and 403, as elsewhere."""
    assert client("events:read").get("/messages/stream").status_code == 403
    nobody = client()
    del nobody.headers["Authorization"]
    assert nobody.get("/messages/stream").status_code == 401


def test_head_has_an_end(app: FastAPI, api: TestClient) -> None:
    """Status and type, and nobody listens."""
    head = api.head("/messages/stream")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert app.state.feed.count == 0


def test_a_stop_of_the_server_ends_it(database_url: str, redis_url: str, key: str, session_factory: Sessions) -> None:
    """Well within the time that `milepost up` gives the API, and as a stream ends and not as one that breaks off."""
    names = announce(session_factory, 1)
    with api_process(DATABASE_URL=database_url, REDIS_URL=redis_url) as (url, process), ExitStack() as stack:
        readers = [stack.enter_context(Reader(url, key)) for _ in range(20)]
        assert [names_of(each.read(1)) for each in readers] == [names] * 20
        process.terminate()
        began_s = time.monotonic()
        assert [each.read(1) for each in readers] == [[]] * 20
        process.wait(10)
        assert time.monotonic() - began_s < 2


def test_messages_that_wait_are_not_announced_early(url: str, key: str, session_factory: Sessions) -> None:
    """What is written comes when the relay has run, in the order of the feed."""
    first = write(session_factory, 2)
    with Reader(url, key) as reader:
        second = announce(session_factory, 2)
        assert names_of(reader.read(4)) == [*first, *second]


def test_a_listener_takes_little_memory(database_url: str, redis_url: str, new_key: MakeKey) -> None:
    """At most 30 KB of the process: 25 were measured of each of a thousand, and of each of two thousand."""
    keys = [new_key("goals:read") for _ in range(6)]
    with api_process(DATABASE_URL=database_url, REDIS_URL=redis_url) as (url, process), ExitStack() as stack:

        def resident_kb() -> int:
            status = Path(f"/proc/{process.pid}/status").read_text()
            return int(re.findall(r"VmRSS:\s*(\d+)", status)[0])

        for key in keys:
            assert status_of(url, key) == 200
        before = resident_kb()
        for key in keys * OF_A_KEY:
            connection = stack.enter_context(slow_socket(url, key))
            assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
        assert (resident_kb() - before) / (len(keys) * OF_A_KEY) < 30
