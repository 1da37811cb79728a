"""The catalogue of messages: one entry for each type, whose example and whose real messages are as it says."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import make_app
from api.schemas.catalogue import CATALOGUE
from core.jobs.relay import relay
from core.jobs.relinks import run_relinks
from core.jobs.snapshot import run_snapshot
from core.jobs.sweep import write_dead_letter_messages
from core.messages.others import endpoint_disabled, endpoint_ping
from core.messages.types import MessageType
from core.providers.contracts import Refresh
from core.services.deliveries import record_refreshes
from core.settings import Settings
from core.store.database import Sessions
from core.store.outbox import write_messages
from tests.api.openapi_text import Spec, followed

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def spec() -> Spec:
    """The OpenAPI text, of which no object may have what is not described."""
    app: FastAPI = make_app(Settings(database_url="postgresql+psycopg://nowhere/nothing"))
    text: Spec = copy.deepcopy(json.loads(json.dumps(app.openapi())))
    for schema in text["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return text


def check(spec: Spec, body: dict[str, Any]) -> None:
    """Raise ValidationError unless this is the body of a message as the entry of its type describes it."""
    request = spec["webhooks"][body["type"]]["post"]["requestBody"]["content"]["application/json"]
    schema = {**request["schema"], "components": spec["components"]}
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(body)


def test_every_type_has_an_entry(spec: Spec) -> None:
    """With what it follows from, the headers, an answer for each outcome, and an example that is one of its type."""
    assert list(spec["webhooks"]) == list(CATALOGUE) == list(MessageType)
    for name, methods in spec["webhooks"].items():
        operation = methods["post"]
        assert operation["description"].startswith("Follows from: "), name
        assert [each["name"] for each in operation["parameters"]] == [
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
        ]
        assert set(operation["responses"]) == {"2XX", "410", "default"}
        content = operation["requestBody"]["content"]["application/json"]
        assert content["example"]["type"] == name
        assert followed(spec, content["schema"])["properties"]["type"]["const"] == name
        check(spec, content["example"])


def test_the_feed_has_the_data_of_every_type(spec: Spec) -> None:
    """As one of the same schemas."""
    schemas = spec["components"]["schemas"]
    in_feed = {each["$ref"] for each in schemas["MessageData"]["anyOf"]}
    bodies = [schemas[entry.body.__name__]["properties"]["data"]["$ref"] for entry in CATALOGUE.values()]
    assert len(set(bodies)) == len(bodies)
    assert in_feed == set(bodies)


def test_the_page_has_every_type_and_its_example() -> None:
    """docs/messages.md shows the examples of the catalogue, in its order, and each type has a row."""
    page = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
    blocks = [json.loads(block) for block in re.findall(r"```json\n(\{\"type.*?)```", page, re.DOTALL)]
    assert blocks == [entry.example for entry in CATALOGUE.values()]
    assert re.findall(r"^\| `([a-z_]+\.[a-z_.]+)` \|", page, re.MULTILINE) == list(MessageType)


class Life:
    """Makes each thing happen once, over REST and by the jobs."""

    def __init__(self, api: TestClient, apply: Callable[[], Any], sessions: Sessions) -> None:
        self._api, self._apply, self._sessions, self._events = api, apply, sessions, 0

    def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """A request that is answered well."""
        answer = self._api.request(method, path, json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def tell(self, type: str, at: datetime, **data: Any) -> None:
        """An event, and its application."""
        self._events += 1
        envelope = {"specversion": "1.0", "source": "bank", "type": f"milepost.{type}", "data": data}
        self.ask("POST", "/events", **envelope, id=str(self._events), time=at.isoformat())
        self._apply()

    def goals(self) -> None:
        """A goal and its milestone are reached, completed and taken back."""
        goal = {"user_id": "ann", "name": "Trip", "type": "savings", "target_amount": 100, "tracking": "change"}
        path = "/goals/" + self.ask("POST", "/goals", **goal, deadline="2099-01-31")["id"]
        self.ask("POST", "/goals", **goal, deadline="2099-01-31T12:00:00+02:00")
        self.ask("POST", "/goals", **goal)
        self.ask("POST", f"{path}/milestones", amount=50, description="Half")
        self.ask("POST", f"{path}/funding", account_id="a", allocation_percent=100)
        paid = {"account_id": "a", "transaction_id": "t", "amount": 100, "currency": "USD"}
        self.tell("transaction.recorded", datetime.now(UTC), **paid, posted_at=datetime.now(UTC).isoformat())
        self.ask("PATCH", path, status="completed")
        self.announce()
        self.ask("POST", f"{path}/reopen")
        self.tell("transaction.removed", datetime.now(UTC), account_id="a", transaction_id="t")
        run_snapshot(self._sessions, datetime.now(UTC) + DAY)

    def others(self) -> None:
        """What is about no goal."""
        for name, days in (("old", 9), ("new", 1)):
            at = NOW - days * DAY
            about = {"user_id": "bob", "current": 1000, "currency": "USD", "as_of": at.isoformat()}
            self.tell("balance.reported", at, account_id=name, **about)
        self.tell("nonsense", NOW)
        write_dead_letter_messages(self._sessions, datetime.now(UTC))
        run_relinks(self._sessions, datetime.now(UTC))
        with self._sessions.begin() as session:
            record_refreshes(session, "default", "plaid", [Refresh("item_1", "transactions", "SYNC")], NOW)
            write_messages(session, [endpoint_ping("default", "ep_1", None, NOW)])
            gone = endpoint_disabled("default", "ep_1", "https://example.com", "failing", NOW - 3 * DAY, NOW)
            write_messages(session, [gone])

    def announce(self) -> None:
        """All that is due."""
        relay(self._sessions, datetime.now(UTC) + DAY)


def test_real_messages_are_as_described(
    api: TestClient, apply_stream: Callable[[], Any], session_factory: Sessions, spec: Spec
) -> None:
    """Each thing happens, and the body of its message is as the entry of its type says, with no key more."""
    life = Life(api, apply_stream, session_factory)
    life.goals()
    life.others()
    life.announce()
    found = api.get("/messages?limit=200").json()["messages"]
    assert {each["type"] for each in found} == set(MessageType)
    for each in found:
        assert re.fullmatch(r"[a-z_]+(:[A-Za-z0-9_-]+)*:\d+", each["id"]), each["id"]
        check(spec, {key: each[key] for key in ("type", "timestamp", "data")})
