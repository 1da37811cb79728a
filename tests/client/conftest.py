"""Managers on a fresh database, and a client of a real server in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from api.app import make_app
from core.ingestion.drain import ShardDrain
from core.services.keys import create_key
from core.services.tenants import create_tenant
from core.settings import Settings
from core.store.database import Sessions
from core.stream.stream import EventStream
from milepost import Client, GoalManager, easy_goals, sync
from milepost.client import local
from tests.client.callers import AnyInterface
from tests.conftest import KEY, NOW
from tests.serving import serving


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Every manager that a test makes is closed at its end, so that it cannot disturb the next test."""
    yield
    assert not local.server_configs()


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    """What the server reads instead of its environment."""
    return Settings(database_url=database_url, redis_url=redis_url, log_level="ERROR")


@pytest.fixture
async def manager(database_url: str) -> AsyncIterator[GoalManager]:
    """A manager of the tenant `default`."""
    async with easy_goals(database_url=database_url) as manager:
        yield manager


@pytest.fixture
def sync_manager(database_url: str) -> Iterator[sync.GoalManager]:
    """The same manager in milepost.sync."""
    with sync.easy_goals(database_url=database_url) as manager:
        yield manager


@pytest.fixture
def server(settings: Settings) -> Iterator[str]:
    """The address of a real server on the same database."""
    with serving(make_app(settings)) as url:
        yield url


@pytest.fixture
async def client(server: str) -> AsyncIterator[Client]:
    """A client of that server, whose key may do everything in the tenant `default`."""
    async with Client(server, KEY) as client:
        yield client


@pytest.fixture
def new_tenant(session_factory: Sessions) -> Callable[..., str]:
    """Makes a tenant and gives its name."""

    def make(name: str, time_zone: str = "UTC") -> str:
        with session_factory.begin() as session:
            create_tenant(session, name, time_zone, NOW)
        return name

    return make


@pytest.fixture
def new_key(session_factory: Sessions) -> Callable[..., str]:
    """Makes a key of a tenant, `default` unless named, with some scopes, and gives its secret."""

    def make(*scopes: str, tenant: str = "default") -> str:
        with session_factory.begin() as session:
            return create_key(session, tenant, scopes, "test", NOW)[1]

    return make


@pytest.fixture
async def interfaces(
    server: str, database_url: str, redis_url: str, new_tenant: Callable[..., str], new_key: Callable[..., str]
) -> AsyncIterator[dict[str, AnyInterface]]:
    """Both transports, async and sync, by name; each has a tenant of that name, and they share the stream."""
    names = ("manager", "client", "sync_manager", "sync_client")
    tenants = {name: new_tenant(name) for name in names}
    keys = {name: new_key("admin", tenant=tenant) for name, tenant in tenants.items()}
    stored = {"database_url": database_url, "redis_url": redis_url}
    async with AsyncExitStack() as open_ones:
        yield {
            "manager": await open_ones.enter_async_context(easy_goals(**stored, tenant=tenants["manager"])),
            "client": await open_ones.enter_async_context(Client(server, keys["client"])),
            "sync_manager": open_ones.enter_context(sync.easy_goals(**stored, tenant=tenants["sync_manager"])),
            "sync_client": open_ones.enter_context(sync.Client(server, keys["sync_client"])),
        }


@pytest.fixture
def apply_stream(session_factory: Sessions, stream: EventStream) -> Callable[[], None]:
    """Applies everything that is on the stream, as workers would."""

    def drain() -> None:
        for shard in range(2):
            ShardDrain(session_factory, stream, shard, 4_000, lambda: datetime.now(UTC)).drain()

    return drain
