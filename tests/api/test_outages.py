"""What the API answers when a server behind it is away, and whether it is ready."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import make_app
from core.settings import Settings
from core.store import ledger
from core.store.database import Sessions
from core.store.driver import Session, Sql

EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "test",
    "type": "milepost.transaction.recorded",
    "time": "2026-01-31T12:00:00Z",
    "data": {"account_id": "acct"},
}


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _client(database_url: str, redis_url: str, secret: str) -> Iterator[TestClient]:
    app = make_app(Settings(database_url=database_url, redis_url=redis_url))
    with TestClient(app, headers={"Authorization": f"Bearer {secret}"}) as client:
        yield client


@pytest.fixture
def without_stream(database_url: str, new_key: Any) -> Iterator[TestClient]:
    """A client of an API whose stream server is away."""
    url = f"redis://127.0.0.1:{_closed_port()}/0"
    with _client(database_url, url, new_key("admin")) as client:
        yield client


@pytest.fixture
def without_database(redis_url: str) -> Iterator[TestClient]:
    """A client of an API whose database is away."""
    url = f"postgresql://nobody:secret-word@127.0.0.1:{_closed_port()}/none"
    with _client(url, redis_url, "any key at all, twenty") as client:
        yield client


def test_without_the_stream_events_are_503_and_goals_go_on(without_stream: TestClient) -> None:
    """POST /events is 503 with Retry-After while the stream server is away; reading goals does not need it."""
    response = without_stream.post("/events", json=EVENT)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert list(response.json()) == ["detail"]
    assert without_stream.get("/goals").json() == []


def _goes_away(session: Session, other: Session) -> None:
    pid = Sql("SELECT pg_backend_pid()").value(session, {})
    Sql("SELECT pg_terminate_backend(:pid, 5000)").run(other, {"pid": pid})


def _keeps_waiting(session: Session, other: Session) -> None:
    Sql("LOCK TABLE goal_entries").run(other, {})
    Sql("SET LOCAL lock_timeout = '50ms'").run(session, {})


@pytest.mark.parametrize("trouble", [_goes_away, _keeps_waiting])
def test_a_database_in_trouble_in_the_middle_of_an_act_is_503(
    api: TestClient,
    session_factory: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Session, Session], None],
) -> None:
    """Also where the operation writes by COPY; nothing of it is kept, and the next request is served."""
    draft = {"user_id": "u", "name": "g", "type": "savings", "target_amount": "100.00"}
    goal_url = f"/goals/{api.post('/goals', json=draft).json()['id']}"
    writes = ledger.write_entries

    def writes_in_trouble(session: Session, entries: Sequence[ledger.Entry]) -> None:
        with session_factory() as other:
            trouble(session, other)
            writes(session, entries)

    monkeypatch.setattr(ledger, "write_entries", writes_in_trouble)
    response = api.patch(goal_url, json={"current_amount": "7.00"})
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    monkeypatch.undo()
    assert Decimal(str(api.get(goal_url).json()["current_amount"])) == 0
    assert api.patch(goal_url, json={"current_amount": "7.00"}).status_code == 200


def test_a_malformed_event_is_422_even_without_the_stream(without_stream: TestClient) -> None:
    """The envelopes are checked before the stream is asked."""
    assert without_stream.post("/events", json={**EVENT, "time": None}).status_code == 422


@pytest.mark.parametrize(("method", "url"), [("GET", "/goals"), ("POST", "/goals"), ("POST", "/events")])
def test_without_the_database_everything_is_503(without_database: TestClient, method: str, url: str) -> None:
    """Without Postgres no key can be checked: 503 with Retry-After, and nothing of the address is shown."""
    response = without_database.request(method, url, json=EVENT)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "database" in response.json()["detail"]
    assert "127.0.0.1" not in response.text


def test_the_log_says_why_the_database_is_away(
    without_database: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line of a 503 has the first line of what the database or its driver said."""
    for url in ("/goals", "/health/ready", "/metrics"):
        capsys.readouterr()
        assert without_database.get(url).status_code == 503
        (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
        assert line["cause"].startswith("OperationalError: connection failed"), line
        assert "\n" not in line["cause"]


def test_liveness_needs_neither(without_database: TestClient) -> None:
    """/health/live tells of the process alone."""
    assert without_database.get("/health/live").status_code == 200
    assert without_database.get("/health/ready").status_code == 503


def test_ready_names_what_is_away(without_stream: TestClient) -> None:
    """/health/ready is 503 and says that it is the stream."""
    response = without_stream.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["database"] == "ok"
    assert "stream" in response.json()["detail"]


def test_ready_takes_any_key(client: Callable[..., TestClient]) -> None:
    """With both servers there, any key gets 200."""
    response = client("events:write").get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "database": "ok", "stream": "ok"}
