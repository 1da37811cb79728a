"""What runs with deliveries are made with: a receiver that fails, a reader of the feed, a deliverer that dies."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from threading import Event as Flag

import httpx2
import pytest

from core.delivery.addresses import AddressRules
from core.delivery.signatures import make_secret, signed_headers
from core.providers.sealing import Sealer
from core.services.endpoints import EndpointDraft, add_endpoint
from core.store.database import Sessions
from core.store.driver import Sql
from tests.chaos.crash_points import BEFORE_RECORD, DELIVERY_POINTS, VARIABLE
from tests.chaos.messages.feed import FeedReader
from tests.chaos.messages.receiver import Behaviour, Receiver
from tests.delivery.conftest import write

ROOT = Path(__file__).parents[2]
PATIENCE_S = 10
SECRET, SECRETS_KEY = make_secret(), "a key of tests that seals the secrets"
_NO_LEASES = Sql("UPDATE deliveries SET due_at = now() - interval '1 second', leased_until = NULL WHERE due_at > now()")
_STATES = Sql("SELECT status FROM deliveries")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that knows one secret."""
    receiver = Receiver({"/all": SECRET})
    receiver.start()
    yield receiver
    receiver.stop()


def post(receiver: Receiver, body: bytes = b"{}") -> tuple[int, bytes]:
    """Post a signed message on a connection of its own; the answer."""
    headers = signed_headers([SECRET], "m:1", int(datetime.now(UTC).timestamp()), b"{}")
    with closing(http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", "/all", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_requests_are_kept_with_what_was_answered(receiver: Receiver) -> None:
    """In their order, and whether they are signed."""
    assert post(receiver) == (204, b"")
    receiver.switch(Behaviour.ERROR)
    assert post(receiver, b"[]") == (500, b"")
    kept = [(each.path, each.message_id, each.body, each.is_signed, each.status) for each in receiver.received]
    assert kept == [("/all", "m:1", b"{}", True, 204), ("/all", "m:1", b"[]", False, 500)]
    assert [each.is_taken for each in receiver.received] == [True, False]


def raw_answer(receiver: Receiver) -> bytes:
    """All that comes back before the connection ends."""
    answer = b""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"POST /all HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
        while data := connection.recv(1_024):
            answer += data
    return answer


def test_a_receiver_that_is_down_refuses_connections_and_ends_those_that_it_has(receiver: Receiver) -> None:
    """And has the same port when it is up again."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE_S) as connected:
        connected.sendall(b"POST /all HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
        assert connected.recv(1_024).startswith(b"HTTP/1.1 204")
        receiver.switch(Behaviour.DOWN)
        assert connected.recv(1_024) == b""
    with pytest.raises(ConnectionRefusedError):
        post(receiver)
    receiver.switch(Behaviour.GOOD)
    assert post(receiver)[0] == 204


def test_a_cut_answer_counts_if_its_headers_were_complete(receiver: Receiver) -> None:
    """Every other one is cut before that. One that hangs up has read the request, and says nothing."""
    receiver.switch(Behaviour.CUT)
    answers = [raw_answer(receiver) for _ in range(2)]
    assert [b"\r\n\r\n" in answer for answer in answers] == [each.is_taken for each in receiver.received]
    assert {each.is_taken for each in receiver.received} == {True, False}
    receiver.switch(Behaviour.SILENT)
    assert raw_answer(receiver) == b""
    assert receiver.received[-1].status is None


def test_a_reader_goes_on_where_it_was_after_an_error() -> None:
    """It asks for the same page again, and gets each message once, whether it keeps all of a page or its beginning."""
    asked = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        if asked % 3 == 0:
            return httpx2.Response(503)
        first = int(request.url.params.get("after", "0"))
        last = min(first + int(request.url.params["limit"]), 40)
        messages = [{"id": str(n), "cursor": str(n + 1)} for n in range(first, last)]
        return httpx2.Response(200, json={"messages": messages, "next": str(last), "has_more": last < 40})

    is_over = Flag()
    is_over.set()
    with httpx2.Client(base_url="http://api", transport=httpx2.MockTransport(answer)) as client:
        reader = FeedReader("default", 1, client, is_over)
        for _ in range(20):
            reader.step()
        reader.read_to_end()
    assert [message["id"] for message in reader.messages] == [str(n) for n in range(40)]
    assert reader.wrong == []


@pytest.mark.parametrize("point", DELIVERY_POINTS)
def test_a_message_arrives_at_least_once_wherever_the_deliverer_dies(
    session_factory: Sessions, database_url: str, redis_url: str, tmp_path: Path, receiver: Receiver, point: str
) -> None:
    """Killed after the answer came it is sent once more, the same; killed before, it is sent once."""
    rules = AddressRules(allow_http=True, networks=(ip_network("127.0.0.1/32"),))
    with session_factory.begin() as session:
        draft = EndpointDraft(f"{receiver.url}/all", secret=SECRET)
        add_endpoint(session, Sealer([SECRETS_KEY]), rules, "default", draft, datetime.now(UTC), actor="test")
    write(session_factory, "a", at=datetime.now(UTC))
    settings = {
        "MILEPOST_DATABASE_URL": database_url,
        "MILEPOST_REDIS_URL": redis_url,
        "MILEPOST_SECRETS_KEY": SECRETS_KEY,
        "MILEPOST_ENDPOINT_HTTP": "true",
        "MILEPOST_ENDPOINT_NETWORKS": "127.0.0.1/32",
        VARIABLE: str(tmp_path),
    }

    def deliver() -> int:
        command = [sys.executable, "-m", "tests.faults.deliver_once"]
        return subprocess.run(command, cwd=ROOT, env=os.environ | settings, timeout=60).returncode

    def states() -> list[str]:
        with session_factory() as session:
            return [str(each) for each in _STATES.values(session, {})]

    (tmp_path / point).touch()
    assert deliver() == -signal.SIGKILL
    assert len(receiver.received) == (1 if point == BEFORE_RECORD else 0)
    assert states() == ["pending"]
    with session_factory.begin() as session:
        _NO_LEASES.run(session, {})
    assert deliver() == 0
    assert states() == ["delivered"]
    assert len(receiver.received) == (2 if point == BEFORE_RECORD else 1)
    assert {(each.message_id, each.body, each.is_signed) for each in receiver.received} == {
        (receiver.received[0].message_id, receiver.received[0].body, True)
    }
