"""The OpenAPI text describes what the documentation promises, and what is really taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from tests.api.conftest import MakeClient
from tests.api.openapi_text import ENDLESS, Spec, answer_schema, body_schema, operations_of

SUMMARIES = {
    ("post", "/goals"): "Create goal",
    ("get", "/goals"): "List goals",
    ("get", "/goals/{goal_id}"): "Get goal details",
    ("patch", "/goals/{goal_id}"): "Update goal",
    ("delete", "/goals/{goal_id}"): "Delete goal",
    ("get", "/goals/{goal_id}/progress"): "Get progress",
    ("post", "/goals/{goal_id}/milestones"): "Add milestone",
    ("get", "/goals/{goal_id}/milestones"): "List milestones",
    ("get", "/goals/{goal_id}/milestones/progress"): "Milestone progress",
    ("post", "/goals/{goal_id}/funding"): "Link account",
    ("get", "/goals/{goal_id}/funding"): "List funding sources",
    ("patch", "/goals/{goal_id}/funding/{account_id}"): "Update allocation",
    ("delete", "/goals/{goal_id}/funding/{account_id}"): "Remove account",
}


# What takes no body.
# Lists of what takes more than requests to make.
EMPTY = {"/goals/{goal_id}/snapshots", "/endpoints/{endpoint_id}/attempts"}
BODILESS = {
    "/goals/{goal_id}/milestones/check",
    "/goals/{goal_id}/reopen",
    "/dead-letters/replay",
    "/dead-letters/{shard}/{entry_id}/replay",
    "/endpoints/{endpoint_id}/ping",
}
_LETTER = text(
    """INSERT INTO dead_letters (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at)
    VALUES ('default', 0, :name, 'c', 'r', '', now(), now())"""
)
_MESSAGE = text(
    """INSERT INTO outbox (tenant, message_id, type, payload, happened_at, created_at, position)
    VALUES ('default', 'milestone_reached:goal_019c0000:250000:1', 'goal.created', '{}', now(), now(), 1)
    ON CONFLICT DO NOTHING"""
)
_REFRESH = text(
    """INSERT INTO refresh_requests
        (tenant, request_id, provider, subject, kind, reason, opened_at, requested_at, count)
    VALUES ('default', :name, 'plaid', 'item', 'transactions', 'r', now(), now(), 1)"""
)

_ACCOUNTS = text(
    """INSERT INTO accounts (tenant, account_id, currency, currency_from, stated_currency, stated_currency_rank)
    SELECT 'default', id, 'USD', 'statement', 'USD', '0' FROM unnest(ARRAY['savings_001', 'savings_002']) AS id
    ON CONFLICT DO NOTHING"""
)


@pytest.fixture
def spec(api: TestClient) -> dict[str, Any]:
    """The OpenAPI text."""
    text: dict[str, Any] = api.get("/openapi.json").json()
    return text


def test_the_thirteen_documented_operations_are_there(spec: dict[str, Any]) -> None:
    """Each documented endpoint is described under its documented purpose."""
    found = {(method, path): spec["paths"][path][method]["summary"] for method, path in SUMMARIES}
    assert found == SUMMARIES


def test_every_operation_but_liveness_and_deliveries_needs_a_key(spec: dict[str, Any]) -> None:
    """The security schemes are declared and asked for everywhere but at /health/live and where providers post."""
    schemes = set(spec["components"]["securitySchemes"])
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            asked = {name for one in operation.get("security", []) for name in one}
            assert asked == (set() if path == "/health/live" or _is_delivery(path) else schemes), path


@pytest.fixture
def api(client: MakeClient) -> TestClient:
    """A client that may do all."""
    return client("admin")


def test_every_writing_operation_describes_its_body(spec: dict[str, Any]) -> None:
    """POST and PATCH declare a required JSON body with properties, but for those that take none."""
    for path, operations in spec["paths"].items():
        if path in BODILESS:
            assert "requestBody" not in operations["post"]
            continue
        for method in operations.keys() & {"post", "patch"}:
            body = operations[method]["requestBody"]
            assert body["required"], path
            if not _is_delivery(path):
                schema = body_schema(spec, method, path)
                assert schema.get("properties") or schema.get("anyOf"), path
            assert all("example" in content for content in body["content"].values()), path


def test_the_examples_are_taken(
    app: FastAPI, api: TestClient, dump: Callable[[], str], new_goal: Callable[..., str], engine: Engine
) -> None:
    """Each example of each operation's body, sent as it stands, gets the documented success."""
    sent = set()
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for media_type, content in operation.get("requestBody", {"content": {}})["content"].items():
                # A goal of its own with a milestone and a funding source, so that no example depends on another one.
                goal_id = new_goal()
                link = {"account_id": "account_1", "allocation_percent": 5}
                assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
                milestone_id = api.post(f"/goals/{goal_id}/milestones", json={"amount": 10}).json()["id"]
                with engine.begin() as connection:
                    connection.execute(_LETTER, {"name": goal_id})
                    connection.execute(_REFRESH, {"name": goal_id})
                    connection.execute(_ACCOUNTS)
                    connection.execute(_MESSAGE)
                    connection.execute(text("DELETE FROM endpoints"))
                endpoint_id = api.post("/endpoints", json={"url": "https://app.example/"}).json()["id"]
                before = dump()
                example = content["example"]
                if path.endswith("/recover"):
                    # What was announced is kept for 90 days, so no day of the text stays good.
                    example = {"since": datetime.now(UTC).date().isoformat()}
                raw = example if isinstance(example, str) else json.dumps(example)
                if _is_delivery(path):
                    continue  # it would have to be signed
                accounts = {"account_id": "account_1", "provider": "teller", "provider_account_id": "acc_1"}
                ids = {"goal_id": goal_id, "milestone_id": milestone_id, "entry_id": goal_id, "request_id": goal_id}
                url = path.format(shard=0, endpoint_id=endpoint_id, **ids, **accounts)
                answer = api.request(method, url, content=raw, headers={"Content-Type": media_type})
                assert [str(answer.status_code)] == _successes(operation), (method, path, answer.text)
                changes = path.startswith(("/goals", "/relinks", "/provider-accounts"))
                assert (dump() != before) is changes, "an example that changes nothing shows nothing"
                sent.add((method, path))
    assert sent >= {what for what in SUMMARIES if what[0] in {"post", "patch"}} | {("post", "/events")}


def test_every_operation_documents_its_answers(spec: dict[str, Any]) -> None:
    """Each has one success and all refusals that can come, of one model, but for readiness, which says more."""
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            assert len(_successes(operation)) == 1, (method, path)
            if "security" in operation:
                assert {"401", "422", "503"} <= set(answers), (method, path)
                assert ("403" in answers) is (path not in {"/metrics", "/health/ready"}), (method, path)
            assert {"500", "503", "default"} <= set(answers), (method, path)
            assert ("429" in answers) is ("security" in operation or _is_delivery(path)), (method, path)
            if "requestBody" in operation:
                assert {"408", "413", "415", "422"} <= set(answers), (method, path)
            needs_stream = path.startswith(("/events", "/metrics", "/webhooks")) or path.endswith("/replay")
            assert ("501" in answers) is needs_stream, (method, path)
            for status, answer in answers.items():
                assert "X-Request-Id" in answer["headers"], (method, path, status)
                if status[0] in "45d":
                    schema = answer["content"]["application/json"]["schema"]
                    name = "NotReady" if (path, status) == ("/health/ready", "503") else "Problem"
                    assert schema == {"$ref": f"#/components/schemas/{name}"}, (method, path, status)
    assert not {"HTTPValidationError", "ValidationError"} & set(spec["components"]["schemas"])


def test_the_headers_are_documented(spec: dict[str, Any]) -> None:
    """What changes anything takes a key for doing it once, a goal takes If-Match, lists give the next page."""
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            where = (method, path)
            asked = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "header"}
            given = operation["responses"][_successes(operation)[0]].get("headers", {})
            # A provider sends no Idempotency-Key; what it states has keys of its own.
            changes = method in {"post", "patch", "delete"} and not _is_delivery(path)
            assert ("Idempotency-Key" in asked, "Idempotency-Replayed" in given) == (changes, changes), where
            if changes:
                assert "Retry-After" in operation["responses"]["409"]["headers"], where
            changes_a_goal = method in {"post", "patch", "delete"} and "{goal_id}" in path
            assert ("If-Match" in asked, "412" in operation["responses"]) == (changes_a_goal, changes_a_goal), where
            if changes_a_goal:
                assert "ETag" in operation["responses"]["412"]["headers"], where
            parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert ("cursor" in parameters) is ("Link" in given), where
    goal = spec["paths"]["/goals/{goal_id}"]
    for operation in (spec["paths"]["/goals"]["post"], goal["get"], goal["patch"]):
        assert "ETag" in operation["responses"][_successes(operation)[0]]["headers"]
    assert "ETag" in goal["get"]["responses"]["304"]["headers"]
    assert "If-None-Match" in {parameter["name"] for parameter in goal["get"]["parameters"]}


def _is_delivery(path: str) -> bool:
    return path.startswith("/webhooks/")


def _successes(operation: dict[str, Any]) -> list[str]:
    return [status for status in operation["responses"] if status.startswith("2")]


def test_answers_have_the_described_keys(api: TestClient, spec: Spec, new_goal: Callable[..., str]) -> None:
    """The keys of the real answers are the ones that the OpenAPI text gives."""
    goal_id = new_goal()
    api.post(f"/goals/{goal_id}/milestones", json={"amount": 1})
    api.post(f"/goals/{goal_id}/funding", json={"account_id": "a", "allocation_percent": 1})
    for path in ("/goals/{goal_id}", "/goals/{goal_id}/progress", "/goals/{goal_id}/milestones/progress"):
        described = answer_schema(spec, "get", path, "200")["properties"]
        assert set(api.get(path.format(goal_id=goal_id)).json()) == set(described)
    for path in ("/goals?include=progress", "/goals/{goal_id}/milestones", "/goals/{goal_id}/funding"):
        described = answer_schema(spec, "get", path.partition("?")[0], "200")["properties"]
        assert set(api.get(path.format(goal_id=goal_id)).json()[0]) == set(described)


def test_answers_are_as_described(
    api: TestClient, spec: Spec, new_goal: Callable[..., str], engine: Engine, apply_stream: Callable[[], Any]
) -> None:
    """Every field of the answer of each GET has the described type, and each that is always there is there."""
    goal_id = new_goal(metadata={"a": 1}, deadline="2030-01-01", external_id="e", milestones=[{"amount": 1}])
    link = {"account_id": "savings_001", "allocation_percent": 5}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    event = spec["paths"]["/events"]["post"]["requestBody"]["content"]["application/json"]["example"]
    wrong = {**event, "id": "wrong", "data": {}}
    report = {**event, "id": "report", "type": "milepost.balance.reported"}
    report["data"] = {"account_id": "savings_001", "current": "5.00", "currency": "USD", "as_of": "2026-01-31"}
    assert api.post("/events", json=[event, wrong, report]).status_code == 202
    _check_answer(api, spec, "/events/unapplied", "/events/unapplied")
    apply_stream()
    api.put("/provider-accounts/teller/acc_1", json={"account_id": "savings_001", "kind": "asset", "currency": "USD"})
    with engine.begin() as connection:
        connection.execute(_REFRESH, {"name": goal_id})
        entry = connection.execute(text("SELECT shard, entry_id FROM dead_letters")).one()
    ids = {"goal_id": goal_id, "account_id": "savings_001", "shard": entry.shard, "entry_id": entry.entry_id}
    ids |= {"provider": "teller", "provider_account_id": "acc_1"}
    ids["endpoint_id"] = api.post("/endpoints", json={"url": "https://app.example/"}).json()["id"]
    checked = set()
    for method, path, _ in operations_of(spec):
        if method == "get" and path not in {"/metrics", "/relinks", ENDLESS}:
            checked.add(path)
            _check_answer(api, spec, path, path.format(**ids), is_list_empty=path in EMPTY)
    assert len(checked) > 20
    refused = api.post("/goals", json={"name": 1, "colour": 2})
    problem = spec["paths"]["/goals"]["post"]["responses"]["422"]["content"]["application/json"]["schema"]
    jsonschema.validate(refused.json(), {**problem, "components": spec["components"]})


def _check_answer(api: TestClient, spec: Spec, path: str, address: str, *, is_list_empty: bool = False) -> None:
    answer = api.get(address)
    assert answer.status_code == 200, (address, answer.text)
    schema = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer.json() != [] or is_list_empty, address
    validator = jsonschema.Draft202012Validator(
        {**schema, "components": spec["components"]}, format_checker=jsonschema.FormatChecker()
    )
    validator.validate(answer.json())
    known = set(answer_schema(spec, "get", path, "200").get("properties", ()))
    for item in answer.json() if isinstance(answer.json(), list) else [answer.json()]:
        assert set(item or ()) <= known or not known, path
