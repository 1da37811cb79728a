"""Connections that are slow or many on purpose keep nobody else out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import pytest

from api.app import make_app
from core.settings import Settings
from tests.serving import serving

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE_S = 20.0


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real server that waits a second for a head, and has five connections at most."""
    monkeypatch.setattr("api.connections.HEAD_LONGEST_S", 1.0)
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


def trickle(connection: socket.socket, head: bytes) -> bytes:
    """Send a head byte by byte for as long as it is taken, and return the answer."""
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
            answer = rest_of(connection)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert answer.endswith(b'{"detail":"The head of the request did not come in time"}')


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


def test_a_connection_too_many_is_refused_until_there_is_room(served: str) -> None:
    """Those that are there go on."""
    with ExitStack() as held:
        connections = []
        for _ in range(5):
            connections.append(held.enter_context(connect(served)))
            connections[-1].sendall(LIVE)
            assert is_live(connections[-1])
        with connect(served) as one_too_many:
            assert rest_of(one_too_many).startswith(b"HTTP/1.1 503 ")
        connections[0].sendall(LIVE)
        assert is_live(connections[0])
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with connect(served) as again:
            again.sendall(LIVE)
            if is_live(again):
                return
        assert time.monotonic() < deadline
