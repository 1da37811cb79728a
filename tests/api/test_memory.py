"""A process that serves hostile bodies stays about as large as it was: none makes it grow without end."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx2
import pytest

from core.providers.registry import Provider
from core.providers.sealing import Sealer
from core.services.webhooks import add_endpoint
from core.store.database import Sessions
from tests.api.conftest import SECRETS_KEY, MakeKey
from tests.serving import api_process
from tests.unit.providers.signatures import signing

LIMIT = 8_388_608
PATIENCE_S = 60
ANSWERED_WITHIN_S = 0.5
# It grew by 99 MB for the worst body of these, and by 68 MB for all that come in at once.
MOST_MORE_MB = 250


@dataclass(frozen=True, slots=True)
class Server:
    """A process of its own, since the memory of this one says nothing."""

    pid: int
    url: str

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    @property
    def peak_mb(self) -> int:
        """The most memory that it ever had."""
        lines = (Path("/proc") / str(self.pid) / "status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer."""
        return httpx2.post(f"{self.url}{path}", content=body, headers=headers, timeout=PATIENCE_S).status_code


@pytest.fixture
def server(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Server]:
    """`milepost api` against the servers of the test."""
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRETS_KEY": SECRETS_KEY,
        "DATA_DIR": str(tmp_path),
        "MAX_BODY_BYTES": str(LIMIT),
    }
    with api_process(**settings) as (url, process):
        yield Server(process.pid, url)


@pytest.fixture
def address(session_factory: Sessions, now: datetime) -> str:
    """Where MX delivers: its credentials stay the same whatever the body is."""
    with session_factory.begin() as session:
        endpoint, _ = add_endpoint(
            session, Sealer([SECRETS_KEY]), "default", Provider.MX, "t", signing.MX_SECRET, now, actor="test"
        )
    return f"/webhooks/mx/{endpoint.endpoint_id}"


def _filled(unit: bytes, head: bytes = b"[", tail: bytes = b"0]") -> bytes:
    """As much of `unit` as a body may have."""
    return head + unit * ((LIMIT - len(head) - len(tail)) // len(unit)) + tail


EVENT = json.dumps(
    {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "time": "2026-01-31T12:00:00Z", "data": {}}
).encode()
ROW = b'{"account_id":"a","transaction_id":"t","amount":1,"iso_currency_code":"USD","date":"2026-02-27"},'
BODIES = {
    "tiny events": _filled(b"{},"),
    "tiny lists": _filled(b"[],"),
    "numbers": _filled(b"1,"),
    "decimals": _filled(b"0.1,"),
    "a million events": _filled(EVENT + b","),
    "lines": b"\n" * LIMIT,
    "deep": b"[" * LIMIT,
    "deep objects": _filled(b'{"a":', b"", b""),
    "keys": b"{" + b",".join(b'"%d":1' % n for n in range(600_000)) + b"}",
    "rows": _filled(ROW, b'{"modified":[],"removed":[],"added":[', ROW[:-1] + b"]}"),
    "empty rows": _filled(b"{},", b'{"modified":[],"removed":[],"added":[', b"{}]}"),
    "text": b'"' + b"x" * (LIMIT - 2) + b'"',
    "not UTF-8": b"\xff" * LIMIT,
}


def test_hostile_bodies_do_not_make_a_process_grow(server: Server, address: str, new_key: MakeKey) -> None:
    """Bodies at the limit of every hostile kind, at every route: each is refused in seconds, and memory is bounded."""
    bearer = {"Authorization": f"Bearer {new_key('events:write')}"}
    paths_and_headers = [
        ("/events", bearer | {"Content-Type": "application/json"}),
        ("/events", bearer | {"Content-Type": "application/x-ndjson"}),
        ("/events?format=plaid-sync&pulled_at=2026-03-01T08:00:00Z", bearer),
        (address, signing.mx()),
        (address, {}),
    ]
    assert server.post("/events", EVENT, bearer) == 202
    before = server.peak_mb
    for name, body in BODIES.items():
        for path, headers in paths_and_headers:
            begun = time.monotonic()
            assert server.post(path, body, headers) in {401, 422}, (name, path)
            assert time.monotonic() - begun < PATIENCE_S / 2, (name, path)
    assert server.peak_mb - before < MOST_MORE_MB


def test_many_bodies_at_once_do_not_make_a_process_grow(server: Server, address: str) -> None:
    """Fifty clients without a key, each with a body at the limit that never ends, take no more room than eight."""
    before = server.peak_mb
    head = f"POST {address} HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT}\r\n\r\n".encode()
    with ExitStack() as held:
        connections = [
            held.enter_context(socket.create_connection(server.address, timeout=PATIENCE_S)) for _ in range(50)
        ]
        refused = 0
        for connection in connections:
            # One that is refused already takes no more.
            with suppress(ConnectionError):
                connection.sendall(head + bytes(LIMIT - 1))
        for connection in connections:
            # Those that are let in get no answer: their bodies do not end.
            connection.settimeout(ANSWERED_WITHIN_S)
            with suppress(ConnectionError, TimeoutError):
                refused += connection.recv(100).startswith(b"HTTP/1.1 503")
        assert refused > 30
        assert server.post("/webhooks/mx/none", b"{}", signing.mx()) == 401
    assert server.peak_mb - before < MOST_MORE_MB


def test_bombs_and_huge_headers_cost_nothing(server: Server, address: str) -> None:
    """What came as a few kilobytes is not inflated to many megabytes; headers of sixty kilobytes are refused."""
    before = server.peak_mb
    bomb = gzip.compress(bytes(2**26))
    for encoding in ("gzip", "deflate", "br"):
        assert server.post(address, bomb, signing.mx() | {"Content-Encoding": encoding}) == 415
    for name in ("Teller-Signature", "Authorization", "webhook-signature"):
        for provider in Provider:
            assert server.post(f"/webhooks/{provider}/none", b"{}", {name: "v1=" + "x" * 60_000}) in {401, 431}
    assert server.peak_mb - before < 30
