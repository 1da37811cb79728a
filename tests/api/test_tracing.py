"""What every request leaves behind: an id, one log line without secrets, and no traceback for the caller."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

SECRETS = ("12345.67", "A private name", "user_secret", "Traceback")


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


@pytest.fixture
def traced(capsys: pytest.CaptureFixture[str], api: TestClient) -> Callable[..., list[dict[str, Any]]]:
    """Sends a request and gives the log lines that it left."""

    def request(method: str, url: str, **arguments: Any) -> list[dict[str, Any]]:
        capsys.readouterr()
        api.request(method, url, **arguments)
        return _lines(capsys)

    return request


def test_a_request_leaves_one_line(traced: Callable[..., list[dict[str, Any]]], new_goal: Callable[..., str]) -> None:
    """The line has method, route template, status, milliseconds, tenant and key, not the raw path or its query."""
    goal_id = new_goal()
    (line,) = traced("GET", f"/goals/{goal_id}/snapshots?to=2026-01-31")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/goals/{goal_id}/snapshots", 200)
    assert line["tenant"] == "default"
    assert line["key_id"]
    assert line["ms"] >= 0
    assert goal_id not in json.dumps(line)
    assert "2026-01-31" not in json.dumps(line)


def test_a_line_holds_neither_body_nor_key_nor_amount(
    api: TestClient, traced: Callable[..., list[dict[str, Any]]]
) -> None:
    """What a body holds, and the key, stay out of the log."""
    goal = {"user_id": "user_secret", "name": "A private name", "type": "savings", "target_amount": 12345.67}
    text = json.dumps(traced("POST", "/goals", json=goal))
    for secret in (*SECRETS, api.headers["Authorization"].removeprefix("Bearer ")):
        assert secret not in text


def test_unknown_paths_do_not_get_into_the_log(traced: Callable[..., list[dict[str, Any]]]) -> None:
    """A path that is no route is not repeated in the log."""
    (line,) = traced("GET", "/secret/12345.67")
    assert (line["status"], line["route"]) == (404, None)


def test_every_answer_has_a_request_id(api: TestClient, app: FastAPI) -> None:
    """Good answers and all kinds of refusals carry X-Request-Id, each its own."""
    answers = [
        api.get("/goals"),
        api.get("/goals/none"),
        api.post("/goals", content=b"{"),
        api.post("/goals", content=b" " * 2_000_001),
        api.put("/goals"),
        api.get("/nothing"),
        TestClient(app).get("/goals"),
        TestClient(app).get("/openapi.json"),
    ]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == len(answers)


@pytest.mark.parametrize(
    ("given", "is_kept"), [("trace-1.2_3", True), ("a b", False), ("x" * 65, False), ("{}", False)]
)
def test_a_fit_request_id_of_the_caller_is_kept(api: TestClient, given: str, is_kept: bool) -> None:
    """The caller's own id comes back if it is short and plain; else one is made."""
    answer = api.get("/goals", headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"] == given) is is_kept


def test_a_fault_of_ours_is_a_plain_500(app: FastAPI, api: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception gives 500 with the request's id; its traceback is in the log alone."""

    @app.get("/fault")
    def fault() -> None:
        raise RuntimeError("the private text of a fault")

    response = api.get("/fault")
    assert response.status_code == 500
    request_id = response.headers["X-Request-Id"]
    assert response.json() == {"detail": "Internal error", "request_id": request_id}
    error_line, line = _lines(capsys)[-2:]
    assert "the private text of a fault" in error_line["exception"]
    assert error_line["request_id"] == line["request_id"] == request_id
    assert line["status"] == 500


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/goals", 200),
        ("GET", "/goals/none", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/goals", 405),
        ("POST", "/goals", 422),
        ("GET", "/goals?user=x", 422),
        ("GET", "/health/live", 200),
        ("GET", "/openapi.json", 200),
        ("HEAD", "/goals", 200),
    ],
)
def test_every_answer_says_who_may_keep_it(api: TestClient, method: str, path: str, status: int) -> None:
    """Whatever its status is."""
    response = api.request(method, path)
    assert response.status_code == status
    assert response.headers["X-Request-Id"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "private, no-cache"
