"""The bounds in the OpenAPI text hold: what is at a bound is taken, and what is just beyond it is refused."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from api.app import make_app
from core.settings import Settings
from tests.api.conftest import MakeClient
from tests.api.openapi_text import ENDLESS, Spec, followed, operations_of
from tests.api.provider_bodies import FORMATS, MX

# What a pattern refuses. What it takes are the examples beside it.
MISMATCHES = {
    r"^[^\u0000-\u001f\u007f-\u009f]*$": "a\u0007b",
    r"^[A-Z]{3}$": "usd",
    r"^\d{4}-\d\d-\d\d$": "31.01.2026",
    r"^\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?)?$": "2026-01-31 12:00:00",
    r"^[+-]?[0-9]+(\.[0-9]+)?$": "1,250.50",
    r"^\+?[0-9]+(\.[0-9]+)?$": "-1",
    r"^[hH][tT][tT][pP][sS]://[!-~]+$": "http://example.com/a",
    r"^[hH][tT][tT][pP][sS]?://[!-~]+$": "ftp://example.com/a",
    r"^whsec_[A-Za-z0-9+/]{32,}={0,2}$": "whsec_short",
    r"^[ -~]*$": "\u00fc",
}
# Of an amount the examples have decimals, and only a currency without any can have the largest amount.
TAKEN = {r"^[+-]?[0-9]+(\.[0-9]+)?$": ["1250.00", "+7", "-7"]}
GOAL = {"user_id": "u", "name": "n", "type": "net_worth", "target_amount": 1000, "currency": "JPY"}
LARGEST = 10**15


class Case(NamedTuple):
    """A value for a field, as a body would have it, and whether it is taken."""

    field: str
    value: Any
    is_taken: bool


def _application() -> FastAPI:
    return make_app(Settings(database_url="postgresql+psycopg://nowhere/nothing"))


SPEC: Spec = json.loads(json.dumps(_application().openapi()))
SCHEMAS: dict[str, Any] = SPEC["components"]["schemas"]


def cases_of(schema: dict[str, Any]) -> Iterator[Case]:
    """Those of each field of an object."""
    for field, described in schema["properties"].items():
        choices = [followed(SPEC, choice) for choice in described.get("anyOf", [described])]
        examples = [example for choice in (*choices, described) for example in choice.get("examples", ())]
        for choice in choices:
            for value, is_taken in _of_choice(choice, examples):
                yield Case(field, value, is_taken)
        yield Case(field, None, {"type": "null"} in choices)


def _of_choice(schema: dict[str, Any], examples: list[Any]) -> Iterator[tuple[Any, bool]]:
    """Values of one schema at its bounds and beyond."""
    head = "https://e.example/" if "https" in str(examples) and schema.get("format") == "uri" else ""
    if "maxLength" in schema:
        yield head + "x" * (schema["maxLength"] - len(head)), True
        yield head + "x" * (schema["maxLength"] + 1 - len(head)), False
    if "minLength" in schema:
        yield "x" * schema["minLength"], True
        yield "", False
    if "pattern" in schema:
        pattern, wrong = schema["pattern"], MISMATCHES[schema["pattern"]]
        assert not re.search(pattern, wrong, re.ASCII)
        yield wrong, False
        for example in TAKEN.get(pattern, [each for each in examples if isinstance(each, str)]):
            assert re.search(pattern, example, re.ASCII), example
            yield example, True
    for key, step in (("minimum", -1), ("maximum", 1)):
        if key in schema:
            yield int(schema[key]), True
            yield int(schema[key]) + step, False
    if "exclusiveMinimum" in schema:
        yield schema["exclusiveMinimum"] + 0.0001, True
        yield schema["exclusiveMinimum"], False
    if "enum" in schema or "const" in schema:
        words = schema.get("enum", [schema.get("const")])
        yield from ((word, True) for word in words)
        yield "none of these", False
    if schema.get("type") == "array" and "maxItems" in schema:
        for number in (schema.get("minItems", 1), schema["maxItems"]):
            yield _items(schema["items"], number), True
        yield _items(schema["items"], schema["maxItems"] + 1), False
        if schema.get("minItems"):
            yield _items(schema["items"], schema["minItems"] - 1), False


def _items(schema: dict[str, Any], number: int) -> list[Any]:
    if schema.get("$ref", "").endswith("/NewMilestone"):
        return [{"amount": each + 1} for each in range(number)]
    return [f"a{each}" for each in range(number)]


BASES: dict[str, dict[str, Any]] = {
    "NewGoal": GOAL,
    "GoalChanges": {},
    "NewMilestone": {"amount": 7},
    "MilestoneChanges": {},
    "NewLink": {"account_id": "a", "allocation_percent": 5},
    "AllocationChange": {"allocation_percent": 6},
    "DiscardReason": {"reason": "r"},
    "NewProviderAccount": {},
    "NewRelink": {"old_account_id": "old", "new_account_id": "new"},
    "UndoneRelink": {"old_account_id": "old"},
    "DoneRefresh": {"count": 1},
    "NewEndpoint": {"url": "https://app.example/"},
    "EndpointChanges": {},
    "NewSecret": {},
    "ResentMessage": {"message_id": "endpoint_ping:e:1"},
    "RecoveredTime": {"since": datetime.now(UTC).date().isoformat()},
}


@pytest.fixture
def api(client: MakeClient) -> TestClient:
    """A client that may do all."""
    return client("admin")


@pytest.fixture
def send(api: TestClient, engine: Engine, new_goal: Callable[..., str]) -> Callable[[str, dict[str, Any]], Any]:
    """Sends a body of that name where it belongs, to something new each time."""

    numbers = itertools.count(1)

    def goal() -> str:
        return new_goal(**{**GOAL, "target_amount": LARGEST, "tracking": "change", "start_date": "2026-01-01"})

    def make(statement: str, **values: Any) -> None:
        with engine.begin() as connection:
            connection.execute(text(statement), values)

    def account(name: Any) -> None:
        if isinstance(name, str) and 0 < len(name) <= 200 and "\u0007" not in name:
            make(
                """INSERT INTO accounts (tenant, account_id, currency, currency_from, stated_currency,
                    stated_currency_rank) VALUES ('default', :name, 'USD', 'statement', 'USD', '0')
                ON CONFLICT DO NOTHING""",
                name=name,
            )

    def endpoint() -> str:
        make("DELETE FROM endpoints")
        return f"/endpoints/{api.post('/endpoints', json=BASES['NewEndpoint']).json()['id']}"

    def message(name: Any) -> None:
        if isinstance(name, str) and name:
            make(
                """INSERT INTO outbox (tenant, message_id, type, payload, happened_at, created_at, position)
                VALUES ('default', :name, 'goal.created', '{}', now(), now(), :position) ON CONFLICT DO NOTHING""",
                name=name,
                position=next(numbers),
            )

    def prepare(name: str, body: dict[str, Any]) -> tuple[str, str]:
        match name:
            case "NewGoal":
                return "POST", "/goals"
            case "GoalChanges":
                return "PATCH", f"/goals/{goal()}"
            case "NewMilestone":
                return "POST", f"/goals/{goal()}/milestones"
            case "MilestoneChanges":
                goal_id = goal()
                milestone = api.post(f"/goals/{goal_id}/milestones", json={"amount": 7}).json()
                return "PATCH", f"/goals/{goal_id}/milestones/{milestone['id']}"
            case "NewLink":
                return "POST", f"/goals/{goal()}/funding"
            case "AllocationChange":
                goal_id = goal()
                link = {"account_id": "a", "allocation_percent": 5, "from": "2026-01-01"}
                assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
                return "PATCH", f"/goals/{goal_id}/funding/a"
            case "DiscardReason":
                entry_id = f"1-{next(numbers)}"
                make(
                    """INSERT INTO dead_letters (tenant, shard, entry_id, code, reason, event, arrived_at, recorded_at)
                    VALUES ('default', 0, :entry_id, 'c', 'r', '', now(), now())""",
                    entry_id=entry_id,
                )
                return "POST", f"/dead-letters/0/{entry_id}/discard"
            case "NewProviderAccount":
                return "PUT", "/provider-accounts/teller/acc_1"
            case "NewRelink":
                account(body.get("old_account_id"))
                account(body.get("new_account_id"))
                return "POST", "/relinks"
            case "UndoneRelink":
                account(body.get("old_account_id"))
                account("new")
                api.post("/relinks", json={**body, "new_account_id": "new"})
                return "POST", "/relinks/undo"
            case "NewEndpoint":
                make("DELETE FROM endpoints")
                return "POST", "/endpoints"
            case "EndpointChanges":
                return "PATCH", endpoint()
            case "NewSecret":
                return "POST", f"{endpoint()}/rotate"
            case "ResentMessage":
                message(body.get("message_id"))
                return "POST", f"{endpoint()}/resend"
            case "RecoveredTime":
                return "POST", f"{endpoint()}/recover"
        request_id = f"r{next(numbers)}"
        make(
            """INSERT INTO refresh_requests
                (tenant, request_id, provider, subject, kind, reason, opened_at, requested_at, count)
            VALUES ('default', :request_id, 'plaid', :request_id, 'transactions', 'r', now(), now(), 1)""",
            request_id=request_id,
        )
        return "POST", f"/refresh-requests/{request_id}/done"

    def send_it(name: str, body: dict[str, Any]) -> Any:
        method, path = prepare(name, body)
        return api.request(method, path, json=body)

    return send_it


def test_every_request_body_is_checked() -> None:
    """Those with fields, which are all but events and deliveries."""
    bodies = set()
    for _, _, operation in operations_of(SPEC):
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            bodies.add(content["schema"].get("$ref", "").rpartition("/")[2])
    assert bodies - {"", "Event", "EventBatch", "Delivery"} == set(BASES)


@pytest.mark.parametrize("name", BASES)
def test_the_bounds_of_a_body_hold(send: Callable[[str, dict[str, Any]], Any], name: str) -> None:
    """Each value of each field in a body that is good otherwise."""
    wrong = []
    for case in cases_of(SCHEMAS[name]):
        # A share is needed, unless the whole account counts.
        beside = {"whole": True} if case == Case("allocation_percent", None, True) else {}
        answer = send(name, {**copy.deepcopy(BASES[name]), **beside, case.field: case.value})
        # What was announced is kept for 90 days, so no day of the text stays good.
        is_too_old = name == "RecoveredTime" and ("90 days" in answer.text or "before until" in answer.text)
        if not is_too_old and answer.status_code not in ({200, 201, 202} if case.is_taken else {400, 422}):
            wrong.append((case, answer.status_code, answer.text))
    assert wrong == []


@pytest.mark.parametrize("name", BASES)
def test_what_is_required_is(send: Callable[[str, dict[str, Any]], Any], name: str) -> None:
    """The body with all that is required is taken, and without any of it refused."""
    required = SCHEMAS[name].get("required", [])
    assert send(name, BASES[name]).status_code < 300
    for field in required:
        left = {key: value for key, value in BASES[name].items() if key != field}
        assert send(name, left).status_code == 422, field


EVENT = {"specversion": "1.0", "id": "e", "source": "s", "time": "2026-03-10T12:00:00Z"}
DATA: dict[str, dict[str, Any]] = {
    "TransactionRecorded": {
        "account_id": "a",
        "transaction_id": "t",
        "amount": 1,
        "currency": "JPY",
        "posted_at": "2026-01-31",
    },
    "TransactionRemoved": {"account_id": "a", "transaction_id": "t"},
    "BalanceReported": {"account_id": "a", "current": 1, "currency": "JPY", "as_of": "2026-01-31"},
    "AccountChanged": {"account_id": "a", "replaced_by": "b", "closed": False},
    "ConnectionChanged": {"account_ids": ["a"], "state": "healthy"},
    "WindowReported": {"account_id": "a", "from": "2026-01-01", "through": "2026-02-01"},
    "ProviderRow": {"part": "mx/transaction", "order": "", "row": MX["transactions"][0], "context": {}},
}
# Where the fields of a schema are in an event.
PLACES = [
    *((name, name, ()) for name in DATA),
    *((name, f"{name}Data", ("data",)) for name in DATA),
    ("ProviderRow", "ProviderRowContext", ("data", "context")),
    ("ProviderRow", "ProviderRowAccount", ("data", "context", "accounts", "acc_1")),
]


def _event(name: str) -> dict[str, Any]:
    type = SCHEMAS[name]["properties"]["type"]["const"]
    return copy.deepcopy({**EVENT, "type": type, "data": DATA[name]})


def _taken(api: TestClient, event: dict[str, Any]) -> bool:
    answer = api.post("/events?strict=true", json=event)
    assert answer.status_code in {202, 422}, answer.text
    return answer.status_code == 202


def test_every_event_is_checked() -> None:
    """All that the text has."""
    mapping = SCHEMAS["Event"]["discriminator"]["mapping"]
    assert {ref.rpartition("/")[2] for ref in mapping.values()} == set(DATA)


@pytest.mark.parametrize(("name", "schema", "place"), PLACES, ids=[schema for _, schema, _ in PLACES])
def test_the_bounds_of_an_event_hold(api: TestClient, name: str, schema: str, place: tuple[str, ...]) -> None:
    """Each value of each field in an event that is good otherwise, with `strict`."""
    wrong = []
    for case in cases_of(SCHEMAS[schema]):
        if case.field == "data" and case.value is not None:
            continue
        event = _event(name)
        holder: Any = event
        for key in place:
            holder = holder.setdefault(key, {"account_id": "a"} if key == "acc_1" else {})
        holder[case.field] = case.value
        if _taken(api, event) is not case.is_taken:
            wrong.append(case)
    assert wrong == []


@pytest.mark.parametrize("name", DATA)
def test_what_an_event_requires_is(api: TestClient, name: str) -> None:
    """The event is taken, without something that is required refused, and an unknown field is ignored."""
    assert _taken(api, _event(name))
    assert _taken(api, {**_event(name), "colour": 1, "data": {**DATA[name], "colour": 1}})
    for field in SCHEMAS[name]["required"]:
        assert not _taken(api, {key: value for key, value in _event(name).items() if key != field}), field
    for field in SCHEMAS[f"{name}Data"]["required"]:
        event = _event(name)
        del event["data"][field]
        assert not _taken(api, event), field
    least = SCHEMAS[f"{name}Data"].get("minProperties")
    if least is not None:
        data = dict(list(DATA[name].items())[:least])
        assert _taken(api, {**_event(name), "data": data})
        data.popitem()
        assert not _taken(api, {**_event(name), "data": data})


def test_the_bounds_of_parameters_hold(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Each value of each parameter of each query."""
    ids = {"account_id": "a", "provider": "teller", "provider_account_id": "p", "shard": 0, "entry_id": "e"}
    ids["endpoint_id"] = api.post("/endpoints", json=BASES["NewEndpoint"]).json()["id"]
    wrong, checked = [], set()
    for method, path, operation in operations_of(SPEC):
        for parameter in (each for each in operation.get("parameters", ()) if each["in"] == "query"):
            name, schema = parameter["name"], followed(SPEC, parameter["schema"])
            for value, is_taken in _of_choice(schema, schema.get("examples", [])):
                goal_id = new_goal(start_date="2026-01-01")
                link = {"account_id": "a", "allocation_percent": 1}
                assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
                query, body = _query(path, name, value)
                answer = api.request(
                    "head" if path == ENDLESS else method, path.format(goal_id=goal_id, **ids), params=query, json=body
                )
                checked.add(name)
                if answer.status_code not in ({200, 202, 204} if is_taken else {422}):
                    wrong.append((method, path, query, answer.status_code, answer.text))
    assert wrong == []
    assert {"limit", "type", "status", "state", "format", "kind", "currency", "complete_from"} <= checked


def _query(path: str, name: str, value: object) -> tuple[dict[str, str], Any]:
    """A query in which nothing else is wrong, and the body for it."""
    if path == "/dead-letters/replay":
        return {"code": "c", name: str(value)}, None
    if path != "/events":
        return {name: str(value)}, None
    format = str(value) if name == "format" and value in FORMATS else "gocardless"
    body, query = FORMATS[format]
    query = {"format": format, "pulled_at": "2026-03-01T08:00:00Z", **query}
    days = {"complete_from": "2026-01-01", "complete_through": "2026-02-28"} if name.startswith("complete_") else {}
    return {**query, **days, name: str(value)}, body


def test_the_bounds_of_an_idempotency_key_hold(api: TestClient) -> None:
    """The one header that has any."""
    (header,) = [each for each in SPEC["paths"]["/goals"]["post"]["parameters"] if each["in"] == "header"]
    for value, is_taken in _of_choice(header["schema"], header["schema"]["examples"]):
        headers = [(header["name"].encode(), value.encode("latin-1"))]
        answer = api.post("/goals", json=GOAL, headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == (201 if is_taken else 422), value
