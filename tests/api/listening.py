"""A reader of server-sent events over a real connection, and messages for it to read."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from time import monotonic
from typing import NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import simplejson

from core.jobs.relay import relay
from core.store.database import Sessions
from core.store.outbox import Message, write_messages

PATIENCE_S = 20.0
_numbers = count(1)


class Event(NamedTuple):
    """An event with data."""

    type: str
    id: str
    data: str


class Reader:
    """An open GET /messages/stream, or the answer that refused it."""

    def __init__(self, url: str, key: str, last_id: str | None = None, **query: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {key}"} | ({} if last_id is None else {"Last-Event-ID": last_id})
        self._connection.request("GET", f"/messages/stream?{urlencode(query)}", headers=headers)
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self.last_id = last_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()

    def events(self) -> Iterator[Event]:
        """All events with data, as they come, until the stream ends."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            name, _, value = line.removesuffix("\n").partition(": ")
            if line == "\n":
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    yield Event(fields["event"], fields["id"], fields["data"])
                fields = {}
            elif name:
                fields[name] = value

    def read_through(self, expected: str) -> None:
        """Read until what was sent since ends like this."""
        deadline_s = monotonic() + PATIENCE_S
        received = b""
        while not received.endswith(expected.encode()):
            assert monotonic() < deadline_s, f"it did not send {expected!r}"
            received += self.response.readline()

    def read(self, number: int) -> list[Event]:
        """The next events."""
        return list(islice(self.events(), number))


def slow_socket(url: str, key: str) -> socket.socket:
    """A stream of which nothing is read, and little fits into the buffers."""
    parts = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
    connection.settimeout(PATIENCE_S)
    connection.connect((parts.hostname, parts.port))
    connection.sendall(f"GET /messages/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    return connection


def write(
    sessions: Sessions, number: int, *, tenant: str = "default", user_id: str = "u", goal_id: str = "g", fill: int = 0
) -> list[str]:
    """So many messages that are not announced yet; their goals' names, in order."""
    now = datetime.now(UTC)
    names = [f"{next(_numbers):06}" for _ in range(number)]
    with sessions.begin() as session:
        write_messages(
            session,
            [
                Message(
                    tenant, goal_id, f"goal.changed:{name}", "goal.changed", user_id, _payload(name, fill), now, now
                )
                for name in names
            ],
        )
    return names


def announce(sessions: Sessions, number: int, **about: object) -> list[str]:
    """As `write`, and announce them."""
    names = write(sessions, number, **about)  # type: ignore[arg-type]
    relay(sessions, datetime.now(UTC) + timedelta(seconds=1))
    return names


def names_of(events: list[Event]) -> list[str]:
    """The goals' names."""
    return [simplejson.loads(each.data)["data"]["name"] for each in events]


def _payload(name: str, fill: int) -> str:
    data = {"name": name, "fill": "x" * fill}
    return str(simplejson.dumps({"type": "goal.changed", "timestamp": "2026-03-10T12:00:00Z", "data": data}))
