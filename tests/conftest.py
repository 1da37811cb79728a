"""Real servers for the tests: one Postgres and one Valkey a run, a fresh database for each test that asks for one."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, make_url, text

from core.ingestion.apply import Applied, apply_events
from core.ingestion.decode import StreamEntry
from core.services.keys import bootstrap
from core.store.database import LIMITS, Sessions, connect_arguments, open_sessions
from core.store.migrate import migrate
from core.stream.stream import EventStream, connect
from milepost.cli import main
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.valkey import EmbeddedValkey
from tests.budget import examples

# No deadlines: the machines are noisy. The seed is fixed, so that a run can be repeated.
settings.register_profile(
    "milepost",
    deadline=None,
    derandomize=True,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("milepost")

# The files whose tests take longest, and mostly wait: begun last, they would keep one core busy and leave the others.
LONGEST = (
    "faults/test_slice.py",
    "faults/test_broken.py",
    "demo/test_up_demo.py",
    "embedded/",
    "verify/test_any_facts.py",
)

MEMORY = Path("/dev/shm")
ROOM_NEEDED_BYTES = 2 * 2**30
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
KEY = "mp_test_key_that_is_long_enough"

_numbers = itertools.count(1)
# The connection that makes and drops databases, by the server's pid.
_managing: dict[int, psycopg.Connection] = {}

Apply = Callable[..., Applied]
Run = Callable[..., tuple[int, str, str]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests wait for processes of their own."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others in their order."""

    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST))

    items.sort(key=place)


def _scratch_root() -> Path | None:
    """Memory where it is large enough (containers give 64 MB), else the usual place."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_NEEDED_BYTES:
        return MEMORY
    return None


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder for this run's servers."""
    folder = Path(tempfile.mkdtemp(prefix="milepost-tests-", dir=_scratch_root()))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[EmbeddedPostgres]:
    """The run's Postgres. Its disk safety is off: tests that need it start their own.

    Making and dropping a database looks through all buffers, so these are few.
    """
    settings = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "128MB"}
    server = EmbeddedPostgres.start(scratch / "postgres", settings=settings)
    _make_passwords_quick(server)
    yield server
    for connection in _managing.values():
        connection.close()
    _managing.clear()
    server.stop()


@pytest.fixture(scope="session")
def valkey(scratch: Path) -> Iterator[EmbeddedValkey]:
    """The run's stream server."""
    server = EmbeddedValkey.start(scratch / "valkey")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database with the tenant `default` and its key, which others are copied from."""
    _run(postgres, "CREATE DATABASE template_of_tests")
    url = _named(postgres, "template_of_tests")
    migrate(url)
    with open_sessions(url, application_name="tests") as sessions, sessions.begin() as session:
        bootstrap(session, key=KEY, now=NOW)
    return "template_of_tests"


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A fresh migrated database."""
    name = f"test_{next(_numbers)}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield _named(postgres, name)
    _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on the fresh database, for what tests ask it themselves."""
    engine = create_engine(
        database_url, max_overflow=10, pool_pre_ping=True, connect_args=connect_arguments("tests", LIMITS)
    )
    yield engine
    engine.dispose()


@pytest.fixture
def session_factory(database_url: str) -> Iterator[Sessions]:
    """Sessions on the fresh database, for a few at once."""
    with open_sessions(database_url, application_name="tests", connections=15, kept=5) as sessions:
        yield sessions


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """The stream server, emptied."""
    client = connect(valkey.url)
    client.flushall()
    client.close()
    return valkey.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the emptied stream server."""
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def stream(redis_client: redis.Redis) -> EventStream:
    """Two shards on the emptied stream server."""
    return EventStream(redis_client, 2)


@pytest.fixture
def now() -> datetime:
    """The moment at which tests happen."""
    return NOW


@pytest.fixture
def apply(session_factory: Sessions, now: datetime) -> Apply:
    """Applies events in one batch, as a drain would."""
    numbers = itertools.count(1)

    def apply(events: Iterable[bytes], tenant: str = "default", at: datetime = now) -> Applied:
        entries = [StreamEntry(0, f"{int(at.timestamp() * 1000)}-{next(numbers)}", at, tenant, body) for body in events]
        with session_factory.begin() as session:
            return apply_events(session, entries, at)

    return apply


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_url: str,
    redis_url: str,
) -> Run:
    """Runs `milepost` with arguments; returns status, output, errors."""
    monkeypatch.setenv("MILEPOST_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MILEPOST_DATABASE_URL", database_url)
    monkeypatch.setenv("MILEPOST_REDIS_URL", redis_url)

    def run_main(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["milepost", *arguments])
        capsys.readouterr()  # what drains logged before
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run_main


def _named(postgres: EmbeddedPostgres, database: str) -> str:
    return postgres.url.rpartition("/")[0] + f"/{database}"


def _run(postgres: EmbeddedPostgres, statement: str) -> None:
    """Over a connection that is kept: to connect takes longer than to make a database."""
    if postgres.pid not in _managing:
        url = _named(postgres, "postgres").replace("postgresql+psycopg://", "postgresql://")
        _managing[postgres.pid] = psycopg.connect(url, autocommit=True)
    _managing[postgres.pid].execute(statement)  # type: ignore[call-overload]  # names made here, no values


def _make_passwords_quick(postgres: EmbeddedPostgres) -> None:
    """Keep the password as one hash in place of 4,096: every connection of the tests works that out again."""
    password = make_url(postgres.url).password
    _run(postgres, "SET scram_iterations = 1")
    _run(postgres, f"ALTER USER CURRENT_USER PASSWORD '{password}'")


@pytest.fixture
def until_waiting(engine: Engine) -> Callable[[int], None]:
    """Comes back as soon as so many connections of this database wait for locks."""
    waiting = text(
        """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    )

    def wait(connections: int) -> None:
        deadline = time.monotonic() + 4
        with engine.connect() as connection:
            while connection.execute(waiting).scalar_one() < connections:
                connection.rollback()
                assert time.monotonic() < deadline, "no one waits"
                time.sleep(0.01)

    return wait


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], float], bool]:
    """Asks until the answer is true; False when it never was."""

    def ask(question: Callable[[], object], within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while not question():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    return ask
