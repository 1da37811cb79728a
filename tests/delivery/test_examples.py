"""examples/receive.py and receive.mjs: they take what we sign, once, and refuse everything else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep

import pytest

from core.delivery.addresses import AddressRules
from core.delivery.deliverer import Deliverer
from core.delivery.signatures import make_secret, signed_headers
from core.providers.sealing import Sealer
from core.services.endpoints import EndpointDraft, add_endpoint, rotate_secret
from core.settings import Settings
from core.store.database import Sessions
from core.store.outbox import Message, write_messages
from milepost.embedded.programs import free_port
from tests.delivery.conftest import Clock

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE_S = 30
TYPE, USER, NAME = "milestone.reached", "user_123", "Reise nach Łódź ☃"
BODY = f'{{"type":"{TYPE}","timestamp":"2026-03-10T12:00:00Z","data":{{"user_id":"{USER}","name":"{NAME}","x":1.10}}}}'
LINE = f"{TYPE} {USER} {NAME}"


@dataclass
class Example:
    """A receiver that runs, with the secret that it verifies by."""

    process: subprocess.Popen[str]
    port: int
    secret: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def post(self, headers: dict[str, str], body: str) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", "/", body.encode(), headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def line(self) -> str:
        """The next line that it prints; if none comes in time it is killed."""
        assert self.process.stdout is not None
        is_late = threading.Timer(PATIENCE_S, self.process.kill)
        is_late.start()
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            is_late.cancel()

    def end(self) -> str:
        """End it; returns what else it has printed."""
        self.process.terminate()
        return self.process.communicate(timeout=PATIENCE_S)[0]


def listens(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.connect()
    except OSError:
        return False
    else:
        return True
    finally:
        connection.close()


def python(_: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "receive.py")]


def node(folder: Path) -> list[str]:
    """With the package that `make test-clients` installs."""
    (folder / "node_modules").symlink_to(Path(os.environ["CLIENTS"]) / "node" / "node_modules")
    return ["node", shutil.copy(EXAMPLES / "receive.mjs", folder)]


without_npm = pytest.mark.skipif("CLIENTS" not in os.environ, reason="make test-clients installs the npm package")


@pytest.fixture(params=[python, pytest.param(node, marks=without_npm)])
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Example]:
    """The example in each language, as a user starts it."""
    command: Callable[[Path], list[str]] = request.param
    port, secret = free_port(), make_secret()
    with subprocess.Popen(
        [*command(tmp_path), str(port)],
        env=os.environ | {"SECRET": secret, "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:
        try:
            deadline = monotonic() + PATIENCE_S
            while not listens(port):
                assert monotonic() < deadline, "it does not listen"
                sleep(0.05)
            yield Example(process, port, secret)
        finally:
            process.kill()


@pytest.fixture
def endpoint_id(example: Example, session_factory: Sessions, settings: Settings, sealer: Sealer, clock: Clock) -> str:
    """An endpoint that leads to the example. The clock is right: receivers refuse what is minutes old."""
    clock.now = datetime.now(UTC)
    draft = EndpointDraft(example.url, secret=example.secret)
    with session_factory.begin() as session:
        view, _ = add_endpoint(session, sealer, AddressRules.of(settings), "default", draft, clock.now, actor="test")
    return view.endpoint.endpoint_id


def announce(sessions: Sessions, now: datetime) -> None:
    with sessions.begin() as session:
        write_messages(session, [Message("default", "g", "milestone_reached:g:1", TYPE, USER, BODY, now, now)])


@pytest.mark.usefixtures("endpoint_id")
def test_it_takes_what_is_delivered(
    example: Example, session_factory: Sessions, deliverer: Deliverer, clock: Clock
) -> None:
    """A message that Milepost delivers is verified and printed."""
    announce(session_factory, clock.now)
    assert deliverer.work_through().delivered == 1
    assert example.line() == LINE


def test_it_takes_what_is_delivered_during_a_rotation(
    example: Example, endpoint_id: str, session_factory: Sessions, sealer: Sealer, deliverer: Deliverer, clock: Clock
) -> None:
    """While two secrets sign, a receiver that knows only the old one takes the message."""
    with session_factory.begin() as session:
        rotate_secret(session, sealer, "default", endpoint_id, None, clock.now, actor="test")
    announce(session_factory, clock.now)
    assert deliverer.work_through().delivered == 1
    assert example.line() == LINE


def test_it_refuses_what_we_did_not_sign(example: Example) -> None:
    """A changed body or id, another secret, an old time and no headers get a 401; a repeat is printed once."""
    now = int(datetime.now(UTC).timestamp())
    headers = signed_headers([example.secret], "a:1", now, BODY.encode())
    refused = [
        (headers, BODY.replace("1.10", "9.10")),
        (headers | {"webhook-id": "b:1"}, BODY),
        (signed_headers([make_secret()], "a:1", now, BODY.encode()), BODY),
        (signed_headers([example.secret], "a:1", now - 600, BODY.encode()), BODY),
        (headers | {"webhook-signature": "nonsense"}, BODY),
        ({}, BODY),
    ]
    assert [example.post(*each) for each in refused] == [401] * len(refused)
    assert [example.post(headers, BODY) for _ in range(2)] == [204, 204]
    assert example.line() == LINE
    assert example.end() == ""
