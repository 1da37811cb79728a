"""Fixtures of the verification's tests: one database with data of every kind, of which each test gets a copy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from core.store.database import Sessions, open_sessions
from milepost.embedded.postgres import EmbeddedPostgres
from tests.conftest import _named, _run
from tests.verify.world import fill

_numbers = itertools.count(1)


@dataclass
class Filled:
    """A database with tenants, and the ids of the goals of the default one by name."""

    url: str
    sessions: Sessions
    goals: dict[str, str]


@pytest.fixture(scope="session")
def filled_template(postgres: EmbeddedPostgres, template: str) -> tuple[str, dict[str, str]]:
    """The database that is copied, and its goals."""
    # Another folder that uses this fixture has a template of its own on the same server.
    name = f"filled_template_{next(_numbers)}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    with sessions_on(_named(postgres, name)) as sessions:
        towns = fill(sessions)
    return name, towns[0].goals


@pytest.fixture
def filled(postgres: EmbeddedPostgres, filled_template: tuple[str, dict[str, str]]) -> Iterator[Filled]:
    """A copy of the database that `tests.verify.world` fills."""
    source, goals = filled_template
    name = f"filled_{next(_numbers)}"
    _run(postgres, f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
    with sessions_on(_named(postgres, name)) as sessions:
        yield Filled(_named(postgres, name), sessions, goals)
    _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def sessions_on(url: str) -> Sessions:
    """Sessions on a database, for a few at once."""
    return open_sessions(url, application_name="tests", connections=15, kept=5)
