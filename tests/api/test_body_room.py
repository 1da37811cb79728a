"""Bodies that come in slowly, or many at once, take neither unlimited memory nor unlimited time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from api.app import make_app
from api.bodies import LARGEST_AT_ONCE, ROOM, SMALL_BYTES, BodyRoom, TooManyBodies
from core.settings import Settings
from tests.serving import serving

LARGE = 1_900_000
PATIENCE_S = 10


@pytest.fixture
def served(settings: Settings) -> Iterator[str]:
    """The address of a real server."""
    app: FastAPI = make_app(settings)
    with serving(app) as url:
        yield url


def begin(url: str, declared: int, sent: bytes) -> socket.socket:
    """A request to an address of webhooks whose body has begun."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port or 0), timeout=PATIENCE_S)
    head = f"POST /webhooks/mx/none HTTP/1.1\r\nHost: x\r\nContent-Length: {declared}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def status_of(connection: socket.socket) -> int:
    """The status of the answer that comes."""
    return int(connection.recv(4096).split(b" ", 2)[1])


def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it is not so"
        time.sleep(0.01)


def test_large_bodies_at_once_have_a_most_and_small_ones_get_in(served: str) -> None:
    """What fills the room is refused with 503, small bodies go on, and the room is free again once they are gone."""
    with ExitStack() as held:
        for number in range(LARGEST_AT_ONCE):
            held.enter_context(begin(served, LARGE + 10, bytes(LARGE)))
            wanted = (number + 1) * (LARGE - SMALL_BYTES)
            until(lambda wanted=wanted: ROOM.reserved_bytes == wanted)  # type: ignore[misc]
        with begin(served, LARGE + 10, bytes(LARGE)) as one_too_many:
            assert status_of(one_too_many) == 503
        for size in (10, SMALL_BYTES):
            with begin(served, size, bytes(size)) as small:
                assert status_of(small) == 401
    until(lambda: ROOM.reserved_bytes == 0)
    with begin(served, LARGE, bytes(LARGE)) as large:
        assert status_of(large) == 401
    until(lambda: ROOM.reserved_bytes == 0)


def test_a_body_that_does_not_come_is_408(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time the connection is given up, whatever of the body has come."""
    monkeypatch.setattr("api.bodies.READ_LONGEST_S", 0.2)
    for sent in (b"", b"{", bytes(LARGE)):
        with begin(served, LARGE + 1, sent) as slow:
            assert status_of(slow) == 408
    until(lambda: ROOM.reserved_bytes == 0)


def test_what_is_refused_holds_no_more_than_before() -> None:
    """A body that grows too far keeps its reservation until it ends, and then nothing stays reserved."""
    room = BodyRoom()
    with room.reserve(SMALL_BYTES) as first, room.reserve(SMALL_BYTES) as second:
        first.grow(SMALL_BYTES)
        assert room.reserved_bytes == 0
        first.grow(SMALL_BYTES * (LARGEST_AT_ONCE + 1))
        with pytest.raises(TooManyBodies):
            second.grow(SMALL_BYTES + 1)
        assert room.reserved_bytes == SMALL_BYTES * LARGEST_AT_ONCE
    assert room.reserved_bytes == 0
