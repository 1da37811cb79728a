"""The OpenAPI text is one that clients are generated of: plain names for all, and nothing that is not described."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi import FastAPI
from openapi_spec_validator import validate
from sqlalchemy import CheckConstraint

import core
from api.app import make_app
from core.services.accounts import CurrencyFrom, FactType
from core.services.backlog import State
from core.settings import Settings
from core.store.dead_letters import STATES
from core.store.tables import metadata
from tests.api.openapi_text import Spec, followed, operations_of, subschemas

# What names are made of in generated clients, so that none of these may change.
OPERATION_IDS = {
    *("createGoal", "listGoals", "getGoal", "updateGoal", "deleteGoal", "reopenGoal", "getGoalProgress"),
    *("listMessages", "streamMessages"),
    *("createEndpoint", "listEndpoints", "getEndpoint", "updateEndpoint", "deleteEndpoint", "rotateSecret"),
    *("pingEndpoint", "resendMessage", "recoverEndpoint", "listAttempts"),
    *("addMilestone", "listMilestones", "updateMilestone", "deleteMilestone"),
    *("checkMilestones", "getNextMilestone", "getMilestoneProgress"),
    *("linkAccount", "listFunding", "updateAllocation", "removeAccount", "getGoalHistory", "getGoalSnapshots"),
    *("listAccounts", "getAccount", "getAllocations", "listReports", "listRelinks", "acceptRelink", "undoRelink"),
    *("sendEvents", "listUnappliedEvents", "listDeadLetters", "getDeadLetter"),
    *("replayDeadLetter", "replayDeadLetters", "discardDeadLetter", "listRefreshRequests", "finishRefreshRequest"),
    *("listProviderAccounts", "getProviderAccount", "putProviderAccount", "removeProviderAccount"),
    *("receiveWebhook", "receiveWebhookAtOnlyAddress", "getLiveness", "getReadiness", "getMetrics"),
}
EVENT_TYPES = {
    "milepost.account.changed": "AccountChanged",
    "milepost.balance.reported": "BalanceReported",
    "milepost.connection.changed": "ConnectionChanged",
    "milepost.provider.row": "ProviderRow",
    "milepost.transaction.recorded": "TransactionRecorded",
    "milepost.transaction.removed": "TransactionRemoved",
    "milepost.window.reported": "WindowReported",
}


@pytest.fixture(scope="module")
def spec() -> Spec:
    """The OpenAPI text; to make it, no server is needed."""
    app: FastAPI = make_app(Settings(database_url="postgresql+psycopg://nowhere/nothing"))
    text: Spec = json.loads(json.dumps(app.openapi()))
    return text


def test_the_text_is_valid(spec: Spec) -> None:
    """It is OpenAPI 3.1, with all references in it."""
    validate(spec)


def test_operations_have_the_names_of_what_they_do(spec: Spec) -> None:
    """A generated client has methods of these names, so they stay."""
    names = [operation["operationId"] for _, _, operation in operations_of(spec)]
    assert len(names) == len(set(names))
    assert set(names) == OPERATION_IDS


def test_every_object_has_a_name(spec: Spec) -> None:
    """A generated client would make names of its own for what is described in place."""
    for place, schema in _all_schemas(spec):
        is_object = schema.get("type") == "object" or {"properties", "additionalProperties"} & set(schema)
        assert len(place) == 1 or not is_object, place


def test_names_are_plain(spec: Spec) -> None:
    """No module, no suffix, and no schema twice."""
    schemas = spec["components"]["schemas"]
    assert [name for name in schemas if not re.fullmatch("([A-Z][a-z]+)+", name) or name.endswith("Body")] == []
    texts = [json.dumps(schema, sort_keys=True) for schema in schemas.values()]
    assert len(texts) == len(set(texts))


def test_every_component_is_used(spec: Spec) -> None:
    """By an operation or a webhook, or by a component that is."""
    pending, used = [json.dumps([spec["paths"], spec["webhooks"]])], set()
    while pending:
        for name in re.findall(r'"#/components/schemas/(\w+)"', pending.pop()):
            if name not in used:
                used.add(name)
                pending.append(json.dumps(spec["components"]["schemas"][name]))
    assert used == set(spec["components"]["schemas"])


def test_everything_is_described(spec: Spec) -> None:
    """Every schema, field, parameter, header and answer says what it is."""
    silent = []
    for name, schema in spec["components"]["schemas"].items():
        silent += [name] * ("description" not in schema)
        silent += [(name, field) for field, about in schema.get("properties", {}).items() if "description" not in about]
    for method, path, operation in operations_of(spec):
        named = {parameter["name"]: parameter for parameter in operation.get("parameters", ())}
        named |= operation["responses"]
        for status, answer in operation["responses"].items():
            named |= {f"{status} {name}": followed(spec, about) for name, about in answer["headers"].items()}
        named |= {"it": operation}
        silent += [(method, path, name) for name, about in named.items() if not about.get("description")]
    assert silent == []


def test_nothing_says_less_than_it_seems(spec: Spec) -> None:
    """No generated titles, no field that seems to be needed since it has a default, no parameter that is null."""
    for place, schema in _all_schemas(spec):
        assert "title" not in schema, place
        assert "default" not in schema or place[0] in {"get", "post"}, place
    for method, path, operation in operations_of(spec):
        for parameter in operation.get("parameters", ()):
            assert {"type": "null"} not in parameter["schema"].get("anyOf", ()), (method, path, parameter["name"])


def test_the_words_are_those_of_the_code(spec: Spec) -> None:
    """Every list of words that has no enumeration of its own has all words that can come."""
    words = {name: set(schema.get("enum", ())) for name, schema in spec["components"]["schemas"].items()}
    assert words["DeadLetterState"] == set(STATES)
    assert words["CurrencySaidBy"] == set(get_args(CurrencyFrom))
    assert words["FactType"] == set(get_args(FactType))
    states = {word for each in get_args(State) for word in (get_args(each) or (each,))}
    assert words["UnappliedState"] == states
    (causes,) = [each for each in metadata.tables["goal_entries"].constraints if isinstance(each, CheckConstraint)]
    assert words["HistoryCause"] == set(re.findall(r"'(\w+)'", str(causes.sqltext)))
    sources = "".join(path.read_text() for path in Path(core.__path__[0]).rglob("*.py"))
    raised = set(re.findall(r'(?:EventRejected|MalformedEvent)\(\s*"(\w+)"', sources))
    # Of a field that is an amount or a currency; and what an adapter needs and does not find.
    assert words["DeadLetterCode"] == raised | {"bad_amount", "bad_currency", "untold"}


def test_events_have_data_by_their_type(spec: Spec) -> None:
    """Each type of event that the parser knows has a schema, chosen by `type`, whose data has named fields."""
    event = spec["components"]["schemas"]["Event"]
    assert event["discriminator"]["propertyName"] == "type"
    mapping = {type: ref.rpartition("/")[2] for type, ref in event["discriminator"]["mapping"].items()}
    assert mapping == EVENT_TYPES
    assert {each["$ref"].rpartition("/")[2] for each in event["oneOf"]} == set(EVENT_TYPES.values())
    for type, name in EVENT_TYPES.items():
        properties = spec["components"]["schemas"][name]["properties"]
        assert properties["type"]["const"] == type
        assert followed(spec, properties["data"])["properties"], name


def _all_schemas(spec: Spec) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every schema of the text with its place; one that is a component has a place of one name."""
    found = []
    for name, schema in spec["components"]["schemas"].items():
        found += list(subschemas(schema, (name,)))
    for method, path, operation in operations_of(spec):
        for parameter in operation.get("parameters", ()):
            found += list(subschemas(parameter["schema"], (method, path, parameter["name"])))
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (each for body in bodies for each in body.get("content", {}).values()):
            found += list(subschemas(content["schema"], (method, path)))
    return found
