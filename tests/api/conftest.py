"""The API on a fresh database and a real stream, and clients with keys of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from api.app import make_app
from core.ingestion.apply import Applied, apply_events
from core.ingestion.decode import StreamEntry
from core.services.keys import create_key
from core.services.tenants import create_tenant
from core.settings import Settings
from core.store.database import Sessions
from core.store.tenants import read_tenants
from core.stream.entries import stream_key, tenant_of
from core.stream.stream import arrival, connect
from tests.api.backlog import Harness
from tests.dumping import dump as dump_tables

SECRETS_KEY = "a key of more than thirty-two characters"
ALL_BUT_ADMIN = ("goals:read", "goals:write", "events:read", "events:write")


class MakeKey(Protocol):
    """Makes a key and gives its secret."""

    def __call__(self, *scopes: str, tenant: str = "default") -> str: ...


class MakeClient(Protocol):
    """Makes a client with a new key."""

    def __call__(self, *scopes: str, tenant: str = "default") -> TestClient: ...


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    """Settings as a process would read them, but for the environment."""
    return Settings(database_url=database_url, redis_url=redis_url, max_body_bytes=2_000_000, secrets_key=SECRETS_KEY)


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    """The application, started and in the end stopped."""
    app = make_app(settings)
    with TestClient(app):
        yield app


@pytest.fixture
def client(app: FastAPI, new_key: MakeKey) -> MakeClient:
    """A client for each set of scopes, all but admin if none are named."""

    def make(*scopes: str, tenant: str = "default") -> TestClient:
        secret = new_key(*(scopes or ALL_BUT_ADMIN), tenant=tenant)
        return TestClient(app, headers={"Authorization": f"Bearer {secret}"})

    return make


@pytest.fixture
def api(client: MakeClient) -> TestClient:
    """The client of the default tenant."""
    return client()


@pytest.fixture
def new_key(session_factory: Sessions, now: datetime) -> MakeKey:
    """Makes keys, and the tenants that they are for."""

    def make(*scopes: str, tenant: str = "default") -> str:
        with session_factory.begin() as session:
            if not read_tenants(session, [tenant]):
                create_tenant(session, tenant, "UTC", now)
            return create_key(session, tenant, list(scopes), "test", now)[1]

    return make


@pytest.fixture
def apply_stream(session_factory: Sessions, redis_url: str, settings: Settings) -> Callable[[], Applied]:
    """Applies everything on the stream, as a worker would."""

    def apply() -> Applied:
        entries = []
        with connect(redis_url) as redis:
            for shard in range(settings.shards):
                rows: Any = redis.xrange(stream_key(shard))
                entries += [_entry(shard, *row) for row in rows]
        with session_factory.begin() as session:
            return apply_events(session, entries, datetime.now(UTC))

    return apply


def _entry(shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    name = entry_id.decode()
    return StreamEntry(shard, name, arrival(name), tenant_of(fields.get(b"tenant")), fields[b"event"])


@pytest.fixture
def dump(engine: Engine) -> Callable[[], str]:
    """An ordered dump of the business tables."""
    return partial(dump_tables, engine)


SAVINGS = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}


@pytest.fixture
def new_goal(api: TestClient) -> Callable[..., str]:
    """Creates a goal, 10,000.00 of savings unless said otherwise, and gives its id."""

    def create(**fields: Any) -> str:
        response = api.post("/goals", json={**SAVINGS, **fields})
        assert response.status_code == 201, response.text
        goal_id: str = response.json()["id"]
        return goal_id

    return create


@pytest.fixture
def exact() -> Callable[[Any], Any]:
    """Reads a body with its numbers as they were written: 10000.00 is Decimal("10000.00")."""

    def read(response: Any) -> Any:
        return json.loads(response.text, parse_float=Decimal, parse_int=Decimal)

    return read


@pytest.fixture
def harness(session_factory: Sessions, redis_client: redis.Redis, api: TestClient) -> Harness:
    """An empty stream."""
    return Harness(session_factory, redis_client, api)
