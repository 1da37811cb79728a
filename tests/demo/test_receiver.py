"""The receiver of the demo: one endpoint while it runs, and a line for each message that is signed."""

from __future__ import annotations

from datetime import UTC, datetime
from http.client import HTTPConnection

import pytest
import simplejson

from core.jobs.deliver import make_deliverer
from core.services.endpoints import EndpointView, list_endpoints, ping_endpoint
from core.settings import Settings
from core.store.database import Sessions
from core.store.endpoints import add_endpoint
from core.store.outbox import Message, write_messages
from milepost.demo.receiver import DESCRIPTION, describe, missing_settings, receiving
from tests.conftest import NOW

GOAL = {"user_id": "demo-ana", "name": "Trip", "type": "savings", "current_amount": 2510, "target_amount": 5000}
DATA = {**GOAL, "currency": "USD", "milestone_amount": 2500, "description": "Half"}


@pytest.fixture
def settings(database_url: str) -> Settings:
    """What the supervisor of a demo gives its children."""
    return Settings(
        database_url=database_url,
        secrets_key="a key of tests that seals the secrets",
        endpoint_http=True,
        endpoint_networks="127.0.0.1",
    )


def endpoints(sessions: Sessions) -> list[EndpointView]:
    with sessions() as session:
        return list_endpoints(session, "default")


def deliver(sessions: Sessions, settings: Settings) -> int:
    """How many messages arrive."""
    deliverer = make_deliverer(sessions, settings)
    try:
        return deliverer.work_through().delivered
    finally:
        deliverer.close()


def test_a_message_is_a_line(session_factory: Sessions, settings: Settings) -> None:
    """What is delivered is said, and a test of the endpoint too; afterwards there is no endpoint."""
    said: list[str] = []
    with receiving(session_factory, settings, said.append):
        (view,) = endpoints(session_factory)
        assert f"its receiver at {view.endpoint.url} prints" in said.pop()
        now = datetime.now(UTC)
        body = simplejson.dumps({"type": "milestone.reached", "timestamp": now.isoformat(), "data": DATA})
        with session_factory.begin() as session:
            write_messages(session, [Message("default", "g", "m:1", "milestone.reached", "u", body, now, now)])
        assert deliver(session_factory, settings) == 1
        assert said == ["message  milestone.reached  demo-ana: Trip reached 2,500 of 5,000 USD"]
        with session_factory.begin() as session:
            ping_endpoint(session, "default", view.endpoint.endpoint_id, now)
        assert deliver(session_factory, settings) == 1
        assert said[1:] == ["message  endpoint.ping  a test"]
    assert endpoints(session_factory) == []


def test_what_a_killed_demo_left_is_replaced(session_factory: Sessions, settings: Settings) -> None:
    """The next start has one endpoint, with its own address."""
    with receiving(session_factory, settings, lambda _: None):
        (left,) = endpoints(session_factory)
    with session_factory.begin() as session:
        add_endpoint(session, left.endpoint)
    with receiving(session_factory, settings, lambda _: None):
        (view,) = endpoints(session_factory)
        assert view.endpoint.description == left.endpoint.description == DESCRIPTION
        assert view.endpoint.endpoint_id != left.endpoint.endpoint_id


def test_without_an_endpoint_the_demo_goes_on(session_factory: Sessions, settings: Settings) -> None:
    """Where the user's settings refuse the address, one line says so."""
    said: list[str] = []
    with receiving(session_factory, settings.model_copy(update={"endpoint_http": False}), said.append):
        assert endpoints(session_factory) == []
    (line,) = said
    assert line.startswith("demo: it receives no messages: url: must begin with https://")


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's processes get the settings that its receiver needs, but for those that are set, to whatever."""
    assert missing_settings(Settings()) == {"ENDPOINT_HTTP": "true", "ENDPOINT_NETWORKS": "127.0.0.1"}
    monkeypatch.setenv("MILEPOST_ENDPOINT_NETWORKS", "")
    assert missing_settings(Settings()) == {"ENDPOINT_HTTP": "true"}


def test_what_is_not_signed_is_no_line(session_factory: Sessions, settings: Settings) -> None:
    """It is answered 401; what is too long, or has no length, is not read."""
    said: list[str] = []
    with receiving(session_factory, settings, said.append):
        port = int(endpoints(session_factory)[0].endpoint.url.rpartition(":")[2].rstrip("/"))
        said.clear()
        found = []
        for headers in ({"Content-Length": "2"}, {"Content-Length": "70000"}, {"Content-Length": "-1"}):
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/", b"{}", headers)
            found.append(connection.getresponse().status)
            connection.close()
        assert found == [401, 413, 411]
    assert said == []


@pytest.mark.parametrize(
    ("kind", "changed", "line"),
    [
        ("milestone.reached", {"type": "debt", "milestone_amount": 15000}, "demo-ana: Trip is down to 15,000 USD"),
        ("goal.reached", {}, "demo-ana: Trip is reached, at 2,510 USD"),
        ("goal.completed", {}, "demo-ana: Trip is completed, at 2,510 USD"),
        ("goal.created", {"name": "A\x1b[2J"}, r"demo-ana: A\x1b[2J"),
    ],
)
def test_a_line_says_what_happened(kind: str, changed: dict[str, object], line: str) -> None:
    """Each type has its sentence, and a name cannot control the terminal."""
    message = {"type": kind, "timestamp": NOW.isoformat(), "data": DATA | changed}
    assert describe(message) == f"message  {kind}  {line}"
