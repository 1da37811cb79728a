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
from api.bodies import OF_ONE_SENDER, ROOM, SMALL_BYTES, BodyRoom, TooManyBodies
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


def begin(url: str, declared: int, sent: bytes, *, key: str | None = None, path: str = "/events") -> socket.socket:
    """A request whose body has begun: with this key, or a delivery to an address of webhooks without one."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port or 0), timeout=PATIENCE_S)
    path = "/webhooks/mx/none" if key is None else path
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {declared}\r\n"
    head += "" if key is None else f"Authorization: Bearer {key}\r\n"
    connection.sendall(f"{head}\r\n".encode() + sent)
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


def hold(held: ExitStack, served: str, key: str | None) -> None:
    """Fill the share of one sender."""
    for _ in range(OF_ONE_SENDER):
        wanted = ROOM.reserved_bytes + LARGE - SMALL_BYTES
        held.enter_context(begin(served, LARGE + 10, bytes(LARGE), key=key))
        until(lambda wanted=wanted: ROOM.reserved_bytes == wanted)  # type: ignore[misc]


def test_a_sender_fills_its_share_and_no_more(served: str, new_key: Callable[..., str]) -> None:
    """What is over it gets 503. Small bodies go on, so do the large ones of another key, and all once there is room."""
    first, second = new_key("events:write"), new_key("events:write")
    for sender, other in ((None, first), (first, second), (second, None)):
        with ExitStack() as held:
            hold(held, served, sender)
            with begin(served, LARGE + 10, bytes(LARGE), key=sender) as one_too_many:
                assert status_of(one_too_many) == 503
            with begin(served, LARGE, bytes(LARGE), key=other) as of_another:
                assert status_of(of_another) == (401 if other is None else 422)
            for size in (10, SMALL_BYTES):
                with begin(served, size, bytes(size), key=sender) as small:
                    assert status_of(small) == (401 if sender is None else 422)
        until(lambda: ROOM.reserved_bytes == 0)
        with begin(served, LARGE, bytes(LARGE), key=sender) as large:
            assert status_of(large) == (401 if sender is None else 422)
        until(lambda: ROOM.reserved_bytes == 0)


def test_all_senders_together_fill_the_room(served: str, new_key: Callable[..., str]) -> None:
    """Then a third one has to wait."""
    with ExitStack() as held:
        for sender in (new_key("events:write"), None):
            hold(held, served, sender)
        with begin(served, LARGE, bytes(LARGE), key=new_key("events:write")) as one_too_many:
            assert status_of(one_too_many) == 503
    until(lambda: ROOM.reserved_bytes == 0)


def test_a_key_is_checked_before_the_body_is_read(served: str, new_key: Callable[..., str]) -> None:
    """An unknown key, and one without the scope, are answered while nothing of the body has come."""
    for size in (1, LARGE):
        for key, status in (("junk", 401), (new_key("goals:read"), 403)):
            with begin(served, size, b"", key=key) as refused:
                assert status_of(refused) == status
        with begin(served, size, b"", key="junk", path="/goals") as refused:
            assert status_of(refused) == 401
    assert ROOM.reserved_bytes == 0


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
    with room.reserve(SMALL_BYTES, "a") as first, room.reserve(SMALL_BYTES, "a") as second:
        first.grow(SMALL_BYTES)
        assert room.reserved_bytes == 0
        first.grow(SMALL_BYTES * (OF_ONE_SENDER + 1))
        with pytest.raises(TooManyBodies):
            second.grow(SMALL_BYTES + 1)
        assert room.reserved_bytes == SMALL_BYTES * OF_ONE_SENDER
    assert room.reserved_bytes == 0
