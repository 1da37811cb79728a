"""Statements that go straight to the driver belong to the session's transaction, and fail as all others do."""

from __future__ import annotations

from datetime import datetime

import pytest
from psycopg.errors import UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from core.store import driver
from core.store.driver import Direct, Savepoint
from core.store.engine import is_database_trouble, is_refused_value

Sessions = sessionmaker[Session]
SECRET = "Rent of flat 12"
COLUMNS = {"tenant": driver.TEXT, "time_zone": driver.TEXT, "created_at": driver.TIMESTAMPTZ}


def tenants(sessions: Sessions) -> list[str]:
    """Those that are committed, but for the first."""
    with sessions() as session:
        return list(session.execute(text("SELECT tenant FROM tenants WHERE tenant <> 'default' ORDER BY 1")).scalars())


def add(session: Session, now: datetime, *names: str) -> None:
    """Add tenants by COPY."""
    driver.copy_rows(session, "tenants", COLUMNS, [(name, "UTC", now) for name in names])


def test_parameters_are_given_by_name_as_often_as_they_are_named(session_factory: Sessions, now: datetime) -> None:
    """The order of the statement counts, not that of the mapping."""
    with session_factory() as session:
        statement = Direct("SELECT :b, :a || :b, CAST(:at AS timestamptz), 'x'::text, :a")
        assert statement.rows(session, {"a": "1", "at": now, "b": "2"}) == [("2", "12", now, "x", "1")]
        with pytest.raises(KeyError):
            statement.rows(session, {"a": "1", "b": "2"})


def test_they_see_and_share_the_fate_of_the_transaction(session_factory: Sessions, now: datetime) -> None:
    """What SQLAlchemy wrote is seen, and a rollback takes all."""
    with session_factory() as session:
        session.execute(text("INSERT INTO tenants VALUES ('a', 'UTC', :now)"), {"now": now})
        add(session, now, "b")
        assert Direct("SELECT count(*) FROM tenants").rows(session, {}) == [(3,)]
        session.rollback()
    assert tenants(session_factory) == []


def test_an_undone_savepoint_leaves_what_was_before(session_factory: Sessions, now: datetime) -> None:
    """Also after an error, and more than once; what is kept is committed with the rest."""
    with session_factory.begin() as session:
        add(session, now, "before")
        for _ in range(2):
            attempt = Savepoint(session, "attempt")
            add(session, now, "undone")
            with pytest.raises(IntegrityError):
                add(session, now, "undone")
            attempt.undo()
        Savepoint(session, "attempt")
        add(session, now, "kept")
    assert tenants(session_factory) == ["before", "kept"]


def test_a_refused_value_is_not_server_trouble(session_factory: Sessions, now: datetime) -> None:
    """In SQLAlchemy's words, with the driver's error behind them, and without the parameters."""
    with session_factory() as session, pytest.raises(IntegrityError) as refused:
        add(session, now, SECRET, SECRET)
    assert isinstance(refused.value.orig, UniqueViolation)
    assert is_refused_value(refused.value)
    with session_factory() as session, pytest.raises(ProgrammingError) as unknown:
        driver.copy_rows(session, "nowhere", COLUMNS, [(SECRET, "UTC", now)])
    with session_factory() as session, pytest.raises(ProgrammingError) as unknown_here:
        Direct("SELECT :name FROM nowhere").rows(session, {"name": SECRET})
    assert is_database_trouble(unknown.value)
    assert is_database_trouble(unknown_here.value)
    assert SECRET not in str(unknown.value)
    assert SECRET not in str(unknown_here.value)


def test_a_server_that_ends_a_connection_is_database_trouble(session_factory: Sessions, now: datetime) -> None:
    """Whatever was under way, and the next session has another connection."""
    end = Direct("SELECT pg_terminate_backend(:pid)")
    for act in (
        lambda one: add(one, now, "lost"),
        lambda one: end.rows(one, {"pid": 0}),
        lambda one: Savepoint(one, "s"),
    ):
        with session_factory() as session, session_factory() as other:
            ((pid,),) = Direct("SELECT pg_backend_pid()").rows(session, {})
            end.rows(other, {"pid": pid})
            with pytest.raises(OperationalError) as failed:
                act(session)
            assert is_database_trouble(failed.value)
    assert tenants(session_factory) == []
    with session_factory.begin() as session:
        add(session, now, "after")
    assert tenants(session_factory) == ["after"]
