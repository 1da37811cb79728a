"""Connections that are slow or many on purpose keep nobody else out."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest

from api.app import make_app
from core.settings import Settings
from tests.serving import serving

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
NOT_HTTP = "The request is not valid HTTP, or its head is too long"
PATIENCE_S = 20.0


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real server that waits a second for what is missing, and has five connections at most."""
    monkeypatch.setattr("api.connections.HEAD_LONGEST_S", 1.0)
    monkeypatch.setattr("api.connections.UNREAD_LONGEST_MS", 1_000)
    monkeypatch.setattr("api.connections.CONNECTIONS_MOST", 5)
    with serving(make_app(settings)) as url:
        yield url


def connect(url: str) -> socket.socket:
    """A connection on which nothing was sent yet."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port or 0), timeout=PATIENCE_S)


def is_live(connection: socket.socket) -> bool:
    """Whether a request that was sent gets its answer."""
    received = b""
    while not received.endswith(b'{"status":"live"}'):
        chunk = connection.recv(4096)
        if not chunk:
            return False
        received += chunk
    return received.startswith(b"HTTP/1.1 200 ")


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    received = b""
    while chunk := connection.recv(4096):
        received += chunk
    return received


def answer_to(connection: socket.socket, head: bytes) -> bytes:
    """Send a head, and return the answer, whose length is declared."""
    connection.sendall(head)
    received = b""
    while True:
        above, end, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", above)
        if end and length and len(body) == int(length[1]):
            return received
        chunk = connection.recv(4096)
        assert chunk, "the connection ended before the answer did"
        received += chunk


def assert_refused(answer: bytes, code: int, detail: str) -> str:
    """Check an answer that the application did not give; returns its id."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert status.startswith(f"HTTP/1.1 {code} ")
    assert json.loads(body) == {"detail": detail}
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "private, no-cache"
    assert headers["connection"] == "close"
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
    return headers["x-request-id"]


def trickle(connection: socket.socket, head: bytes) -> bytes:
    """Send a head, and then a byte again and again, one by one for as long as they are taken; return the answer."""
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline:
            connection.sendall(head[:1] or b"a")
            head = head[1:]
            time.sleep(0.05)
    except OSError:  # the server has ended the connection
        pass
    try:
        return rest_of(connection)
    except ConnectionResetError:
        return b""


def test_a_head_that_trickles_is_ended(served: str) -> None:
    """However steadily its bytes come, on a new connection and on one that was used before."""
    for before in (0, 2):
        with connect(served) as connection:
            for _ in range(before):
                connection.sendall(LIVE)
                assert is_live(connection)
            began = time.monotonic()
            trickle(connection, b"GET /health/live HTTP/1.1\r\nX: ")
            assert time.monotonic() - began < PATIENCE_S / 2


def test_a_head_that_stops_gets_an_answer(served: str) -> None:
    """Half of a head, and none at all."""
    for part in (LIVE[:20], b""):
        with connect(served) as connection:
            connection.sendall(part)
            assert_refused(rest_of(connection), 408, "The head of the request did not come in time")


def test_a_head_that_never_ends_is_refused(served: str) -> None:
    """A megabyte of header lines, as fast as they are taken."""
    with connect(served) as connection:
        answer = b""
        with suppress(ConnectionError):  # the server ends the connection while the rest is on its way
            connection.sendall(LIVE[:-2] + b"X-Long: 1\r\n" * 100_000)
        with suppress(ConnectionError):
            answer = rest_of(connection)
    # Without a bound of its length it would be taken whole, and be ended by its time.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_many_requests_on_one_connection_have_time(served: str) -> None:
    """The time of a head begins with its first byte, not with the connection, which lasts longer than that time."""
    with connect(served) as connection:
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            connection.sendall(LIVE[:10])
            connection.sendall(LIVE[10:])
            assert is_live(connection)


def test_a_body_that_trickles_after_the_answer_is_ended(served: str) -> None:
    """However steadily its bytes come, whether its length was declared or not."""
    for framing, part in ((b"Content-Length: 100000", b""), (b"Transfer-Encoding: chunked", b"186a0\r\n")):
        with connect(served) as connection:
            answer = answer_to(connection, b"GET /goals HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + part)
            assert answer.startswith(b"HTTP/1.1 401 ")
            began = time.monotonic()
            assert trickle(connection, b"") == b""
            assert time.monotonic() - began < PATIENCE_S / 2


def test_a_body_that_is_complete_after_the_answer_keeps_the_connection(served: str) -> None:
    """Its sender reads the answer, sends the rest, and has the connection for longer than the time of one rest."""
    with connect(served) as connection:
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            connection.sendall(LIVE[:-2] + b"Content-Length: 20000\r\n\r\n" + bytes(10_000))
            assert is_live(connection)
            for _ in range(2):  # the time begins with the first part
                time.sleep(0.1)
                connection.sendall(bytes(5_000))
            connection.sendall(LIVE)
            assert is_live(connection)


def test_a_body_that_is_malformed_after_the_answer_gets_no_second_one(
    served: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection ends, and that is no fault of ours."""
    with caplog.at_level(logging.ERROR), connect(served) as connection:
        assert b"401" in answer_to(connection, LIVE.replace(b"/health/live", b"/goals")[:-2] + CHUNKED)
        connection.sendall(b"no length\r\n")
        assert rest_of(connection) == b""
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize(
    "head",
    [
        LIVE[:-2] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        LIVE.replace(b"Host", b"Guest"),
        b"no request\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_as_everything_else_is(served: str, head: bytes) -> None:
    """The refusal is JSON, and has the headers of every answer and an id of its own."""
    ids = set()
    for _ in range(2):
        with connect(served) as connection:
            connection.sendall(head)
            ids.add(assert_refused(rest_of(connection), 400, NOT_HTTP))
    assert len(ids) == 2


def test_a_connection_too_many_is_refused_until_there_is_room(served: str) -> None:
    """Those that are there go on."""
    with ExitStack() as held:
        connections = []
        for _ in range(5):
            connections.append(held.enter_context(connect(served)))
            connections[-1].sendall(LIVE)
            assert is_live(connections[-1])
        with connect(served) as one_too_many:
            assert_refused(rest_of(one_too_many), 503, "Too many connections; try again")
        connections[0].sendall(LIVE)
        assert is_live(connections[0])
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with connect(served) as again:
            again.sendall(LIVE)
            if is_live(again):
                return
        assert time.monotonic() < deadline


@pytest.mark.skipif(sys.platform != "linux", reason="the option is Linux's")
def test_callers_who_read_no_answers_are_given_up(
    served: str, eventually: Callable[[Callable[[], object], float], bool]
) -> None:
    """They ask for more than fits on the way to them; each leaves its place to the next one."""
    parts = urlsplit(served)

    def is_served() -> bool:
        try:
            with connect(served) as connection:
                connection.sendall(LIVE)
                return is_live(connection)
        except ConnectionError:  # one that gets no place may be reset
            return False

    with ExitStack() as opened:
        for _ in range(6):
            connection = opened.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((parts.hostname, parts.port))
            connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        assert eventually(is_served, PATIENCE_S)
