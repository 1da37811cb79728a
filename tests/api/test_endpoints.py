"""Endpoints over REST: made, changed and deleted; secrets shown once; messages tested, sent again and recovered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import make_app
from core.jobs.deliver import make_deliverer
from core.settings import Settings
from core.store.database import Sessions
from core.store.driver import Sql
from tests.api.conftest import MakeClient, MakeKey
from tests.api.paging import refused_fields, walk
from tests.delivery.receiver import receiving

URL = "https://app.example/milepost"
BROUGHT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings under which a receiver on this machine may be an endpoint."""
    return settings.model_copy(update={"endpoint_http": True, "endpoint_networks": "127.0.0.0/8"})


@pytest.fixture
def admin(client: MakeClient) -> TestClient:
    """A client that may do all."""
    return client("admin")


def made(admin: TestClient, **body: Any) -> dict[str, Any]:
    """An endpoint, as it was answered."""
    answer = admin.post("/endpoints", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def deliver(sessions: Sessions, settings: Settings) -> None:
    """What the worker does: announce, and deliver all that is due."""
    deliverer = make_deliverer(sessions, settings)
    deliverer.work_through()
    deliverer.close()


def test_an_endpoint_is_made_read_changed_and_deleted(admin: TestClient) -> None:
    """Its secret is shown once."""
    answer = admin.post("/endpoints", json={"url": URL, "types": ["goal.reached"], "description": "ours", "rate": 5})
    body = answer.json()
    secret = body.pop("secret")
    assert secret.startswith("whsec_")
    assert answer.headers["location"] == f"/endpoints/{body['id']}"
    assert admin.get(f"/endpoints/{body['id']}").json() == body
    assert admin.get("/endpoints").json() == [body]
    assert {name: body[name] for name in ("url", "types", "description", "rate", "enabled", "pending", "secrets")} == {
        "url": URL,
        "types": ["goal.reached"],
        "description": "ours",
        "rate": 5,
        "enabled": True,
        "pending": 0,
        "secrets": 1,
    }
    changes = {"types": None, "rate": None, "description": None, "enabled": False, "url": f"{URL}/2"}
    changed = admin.patch(f"/endpoints/{body['id']}", json=changes).json()
    assert {name: changed[name] for name in changes} == changes
    assert changed["disabled_reason"] == "request"
    enabled = admin.patch(f"/endpoints/{body['id']}", json={"enabled": True}).json()
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["disabled_at"]) == (True, None, None)
    assert admin.delete(f"/endpoints/{body['id']}").status_code == 204
    assert admin.get(f"/endpoints/{body['id']}").status_code == 404
    assert admin.delete(f"/endpoints/{body['id']}").status_code == 404


def test_secrets_are_never_stored_in_clear(admin: TestClient, session_factory: Sessions) -> None:
    """Not in its row and not in the answer that is kept for its Idempotency-Key, which a repeat gets all the same."""
    key = {"Idempotency-Key": "k1"}
    first = admin.post("/endpoints", json={"url": URL}, headers=key)
    again = admin.post("/endpoints", json={"url": URL}, headers=key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    rotated = admin.post(f"/endpoints/{first.json()['id']}/rotate", json={}, headers={"Idempotency-Key": "k2"})
    secrets = [first.json()["secret"], rotated.json()["secret"]]
    with session_factory() as session:
        stored = Sql("SELECT CAST(e AS text) FROM endpoints e").values(session, {})
        stored += Sql("SELECT encode(body, 'escape') FROM idempotency_keys").values(session, {})
        stored += Sql("SELECT CAST(a AS text) FROM audit a").values(session, {})
    assert len(stored) >= 5
    assert not any(secret in text or secret.encode().hex() in text for secret in secrets for text in stored)


def test_a_secret_can_be_brought(admin: TestClient) -> None:
    """It is not given back."""
    body = made(admin, secret=BROUGHT)
    assert "secret" not in body
    assert "secret" not in admin.post(f"/endpoints/{body['id']}/rotate", json={"secret": BROUGHT}).json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://user:password@app.example/"}, "url"),
        ({"url": 5}, "url"),
        ({"url": URL, "types": []}, "types"),
        ({"url": URL, "types": ["goal.rached"]}, "types"),
        ({"url": URL, "types": ["endpoint.ping"]}, "types"),
        ({"url": URL, "types": "goal.reached"}, "types"),
        ({"url": URL, "rate": 0}, "rate"),
        ({"url": URL, "rate": 1_001}, "rate"),
        ({"url": URL, "rate": 1.5}, "rate"),
        ({"url": URL, "secret": "whsec_short"}, "secret"),
        ({"url": URL, "secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret"),
        ({"url": URL, "description": " "}, "description"),
        ({"url": URL, "enabled": "yes"}, "enabled"),
        ({"url": URL, "uri": URL}, "uri"),
    ],
)
def test_what_cannot_be_is_refused(admin: TestClient, body: dict[str, Any], field: str) -> None:
    """The field is named, and nothing is made."""
    answer = admin.post("/endpoints", json=body)
    assert answer.status_code == 422, answer.text
    assert all(place[:2] == ["body", field] for place in refused_fields(answer))
    assert admin.get("/endpoints").json() == []


def test_a_tenant_has_twenty_at_most_and_sees_no_others(admin: TestClient, client: MakeClient) -> None:
    """Another tenant's endpoint is not there."""
    ids = [made(admin)["id"] for _ in range(20)]
    assert admin.post("/endpoints", json={"url": URL}).status_code == 409
    other = client("admin", tenant="other")
    assert other.get("/endpoints").json() == []
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/ping"),
        ("GET", "/attempts"),
    ):
        body = {} if method in {"PATCH", "POST"} else None
        assert other.request(method, f"/endpoints/{ids[0]}{path}", json=body).status_code == 404
    assert other.post(f"/endpoints/{ids[0]}/resend", json={"message_id": "a"}).status_code == 404
    assert other.post(f"/endpoints/{ids[0]}/recover", json={"since": "2026-01-01"}).status_code in {404, 422}


def test_only_admin_may(client: MakeClient) -> None:
    """An endpoint gets all of a tenant's messages."""
    api = client()
    assert api.get("/endpoints").status_code == 403
    assert api.post("/endpoints", json={"url": URL}).status_code == 403


def test_a_ping_shows_what_the_receiver_answers(
    admin: TestClient, session_factory: Sessions, settings: Settings
) -> None:
    """Only the endpoint that is tested gets it, signed as all others."""
    with receiving() as receiver:
        receiver.says(503, body=b"x" * 2_000)
        made(admin, url=receiver.url + "/other")
        endpoint = made(admin, url=receiver.url + "/")
        answer = admin.post(f"/endpoints/{endpoint['id']}/ping")
        assert answer.status_code == 202
        deliver(session_factory, settings)
        (received,) = receiver.received
        received.verify(endpoint["secret"])
        assert (received.message_id, received.type) == (answer.json()["message_id"], "endpoint.ping")
    (attempt,) = admin.get(f"/endpoints/{endpoint['id']}/attempts").json()
    assert (attempt["status"], attempt["delivery"], attempt["type"]) == (503, "pending", "endpoint.ping")
    assert attempt["answer"] == "x" * 1_024
    assert attempt["next_at"] > attempt["at"]
    shown = admin.get(f"/endpoints/{endpoint['id']}").json()
    assert (shown["pending"], shown["failing_since"]) == (1, attempt["at"])
    admin.patch(f"/endpoints/{endpoint['id']}", json={"enabled": False})
    assert admin.post(f"/endpoints/{endpoint['id']}/ping").status_code == 409
    (attempt,) = admin.get(f"/endpoints/{endpoint['id']}/attempts").json()
    assert (attempt["delivery"], attempt["next_at"]) == ("failed", None)


def test_what_was_missed_is_recovered_and_one_is_resent(
    admin: TestClient, api: TestClient, session_factory: Sessions, settings: Settings
) -> None:
    """What was delivered is not sent again by a recovery, and is by a resend."""
    with receiving() as receiver:
        endpoint = made(admin, url=receiver.url, types=["goal.created"])
        path = f"/endpoints/{endpoint['id']}"
        body = {"user_id": "u", "name": "n", "type": "savings", "target_amount": 100}
        first = api.post("/goals", json=body).json()["id"]
        deliver(session_factory, settings)
        admin.patch(path, json={"enabled": False})
        second = api.post("/goals", json=body).json()["id"]
        deliver(session_factory, settings)
        since = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
        assert admin.post(f"{path}/recover", json={"since": since}).status_code == 409
        admin.patch(path, json={"enabled": True})
        assert admin.post(f"{path}/recover", json={"since": since}).json() == {"messages": 1}
        assert admin.post(f"{path}/recover", json={"since": since}).json() == {"messages": 0}
        deliver(session_factory, settings)
        assert receiver.ids() == [f"goal_created:{first}:1", f"goal_created:{second}:1"]
        resent = admin.post(f"{path}/resend", json={"message_id": f"goal_created:{first}:1"})
        assert resent.status_code == 202
        deliver(session_factory, settings)
        assert receiver.ids()[2:] == [f"goal_created:{first}:1"]
        assert receiver.received[0].body == receiver.received[2].body
        assert admin.post(f"{path}/resend", json={"message_id": "goal_created:none:1"}).status_code == 404
    pages = walk(admin, f"{path}/attempts?limit=1")
    assert [(each["message_id"], each["attempt"]) for page in pages for each in page] == [
        (f"goal_created:{first}:1", 2),
        (f"goal_created:{second}:1", 1),
        (f"goal_created:{first}:1", 1),
    ]
    of_one = admin.get(f"{path}/attempts?message_id=goal_created:{second}:1").json()
    assert [each["attempt"] for each in of_one] == [1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "since"),
        ({"since": "2026-03-10", "until": "2026-03-09"}, "since"),
        ({"since": "2020-01-01"}, "since"),
        ({"since": "2999-01-01", "until": "3000-01-01"}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": None}, "since"),
        ({"since": "2026-03-10", "until": 5}, "until"),
    ],
)
def test_a_time_that_cannot_be_recovered_is_refused(admin: TestClient, body: dict[str, Any], field: str) -> None:
    """Backwards, older than messages are kept, ahead, and what is no time."""
    endpoint = made(admin)
    answer = admin.post(f"/endpoints/{endpoint['id']}/recover", json=body)
    assert answer.status_code == 422, answer.text
    assert refused_fields(answer) == [["body", field]]


def test_without_a_key_to_seal_secrets_none_is_made(settings: Settings, new_key: MakeKey) -> None:
    """The answer is a 503, and the log says which setting is missing."""
    app = make_app(settings.model_copy(update={"secrets_key": None}))
    with TestClient(app, headers={"Authorization": f"Bearer {new_key('admin')}"}) as admin:
        assert admin.post("/endpoints", json={"url": URL}).status_code == 503
        assert admin.get("/endpoints").json() == []
