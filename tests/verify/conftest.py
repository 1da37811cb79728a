"""Fixtures of the verification's tests: one database with data of every kind, of which each test gets a copy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from core.store.engine import make_engine
from core.store.engine import session_factory as make_sessions
from milepost.embedded.postgres import EmbeddedPostgres
from tests.conftest import _named, _run
from tests.verify.world import fill

_numbers = itertools.count(1)


@dataclass
class Filled:
    """A database with tenants, and the ids of the goals of the default one by name."""

    url: str
    sessions: sessionmaker[Session]
    goals: dict[str, str]


@pytest.fixture(scope="session")
def filled_template(postgres: EmbeddedPostgres, template: str) -> tuple[str, dict[str, str]]:
    """The database that is copied, and its goals."""
    # Another folder that uses this fixture has a template of its own on the same server.
    name = f"filled_template_{next(_numbers)}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    engine = _engine(_named(postgres, name))
    sessions = make_sessions(engine)
    towns = fill(sessions)
    engine.dispose()
    return name, towns[0].goals


@pytest.fixture
def filled(postgres: EmbeddedPostgres, filled_template: tuple[str, dict[str, str]]) -> Iterator[Filled]:
    """A copy of the database that `tests.verify.world` fills."""
    source, goals = filled_template
    name = f"filled_{next(_numbers)}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
    engine = _engine(_named(postgres, name))
    yield Filled(_named(postgres, name), make_sessions(engine), goals)
    engine.dispose()
    _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def _engine(url: str) -> Engine:
    return make_engine(url, application_name="tests", pool_size=5, max_overflow=10)
