"""Statements belong to the session's transaction, and fail with the driver's own errors."""

from __future__ import annotations

from datetime import datetime

import pytest
from psycopg import OperationalError, ProgrammingError
from psycopg.errors import UniqueViolation

from core.store import driver
from core.store.database import Sessions, is_database_trouble, is_refused_value
from core.store.driver import Savepoint, Session, Sql

SECRET = "Rent of flat 12"
COLUMNS = {"tenant": driver.TEXT, "time_zone": driver.TEXT, "created_at": driver.TIMESTAMPTZ}
NUMBERS = Sql("SELECT n, -n FROM generate_series(1, CAST(:most AS int)) AS n ORDER BY n")


def tenants(sessions: Sessions) -> list[str]:
    """Those that are committed, but for the first."""
    with sessions() as session:
        return Sql("SELECT tenant FROM tenants WHERE tenant <> 'default' ORDER BY 1").values(session, {})


def add(session: Session, now: datetime, *names: str) -> None:
    """Add tenants by COPY."""
    driver.copy_rows(session, "tenants", COLUMNS, [(name, "UTC", now) for name in names])


def test_parameters_are_given_by_name_as_often_as_they_are_named(session_factory: Sessions, now: datetime) -> None:
    """The order of the statement counts, not that of the mapping; a cast and a time of day are no parameters."""
    with session_factory() as session:
        statement = Sql("SELECT :b, :a || :b, CAST(:at AS timestamptz), 'x'::text, :a, '12:30'")
        expected = [("2", "12", now, "x", "1", "12:30")]
        assert statement.rows(session, {"a": "1", "at": now, "b": "2", "unused": "3"}) == expected
        with pytest.raises(KeyError):
            statement.rows(session, {"a": "1", "b": "2"})


def test_rows_come_in_the_shape_that_is_asked_for(session_factory: Sessions) -> None:
    """All, the first, the only one, the first column of the first or of all; without rows there is no first one."""
    with session_factory() as session:
        assert NUMBERS.rows(session, {"most": 2}) == [(1, -1), (2, -2)]
        assert NUMBERS.first(session, {"most": 2}) == (1, -1)
        assert NUMBERS.first(session, {"most": 0}) is None
        assert NUMBERS.one(session, {"most": 1}) == (1, -1)
        for most in (0, 2):
            with pytest.raises(ValueError, match="values to unpack"):
                NUMBERS.one(session, {"most": most})
        assert NUMBERS.value(session, {"most": 2}) == 1
        assert NUMBERS.value(session, {"most": 0}) is None
        assert NUMBERS.values(session, {"most": 2}) == [1, 2]
        assert NUMBERS.values(session, {"most": 0}) == []


def test_a_statement_says_how_many_rows_it_concerned(session_factory: Sessions, now: datetime) -> None:
    """Also when it was run with several parameters before, and when there are none."""
    insert = Sql("INSERT INTO tenants (tenant, time_zone, created_at) VALUES (:tenant, 'UTC', :now)")
    with session_factory.begin() as session:
        insert.run_all(session, [{"tenant": name, "now": now} for name in "abc"])
        insert.run_all(session, [])
        assert insert.run(session, {"tenant": "d", "now": now}) == 1
        delete = Sql("DELETE FROM tenants WHERE tenant > :tenant AND tenant <> 'default'")
        assert (delete.run(session, {"tenant": "b"}), delete.run(session, {"tenant": "b"})) == (2, 0)
    assert tenants(session_factory) == ["a", "b"]


def test_they_see_and_share_the_fate_of_the_transaction(session_factory: Sessions, now: datetime) -> None:
    """Statements and COPY see what the others wrote, and a rollback takes all."""
    with session_factory() as session:
        Sql("INSERT INTO tenants VALUES ('a', 'UTC', :now)").run(session, {"now": now})
        add(session, now, "b")
        assert Sql("SELECT count(*) FROM tenants").rows(session, {}) == [(3,)]
        session.rollback()
    assert tenants(session_factory) == []


def test_an_undone_savepoint_leaves_what_was_before(session_factory: Sessions, now: datetime) -> None:
    """Also after an error, and more than once; what is kept is committed with the rest."""
    with session_factory.begin() as session:
        add(session, now, "before")
        for _ in range(2):
            attempt = Savepoint(session, "attempt")
            add(session, now, "undone")
            with pytest.raises(UniqueViolation):
                add(session, now, "undone")
            attempt.undo()
        Savepoint(session, "attempt")
        add(session, now, "kept")
    assert tenants(session_factory) == ["before", "kept"]


def test_a_refused_value_is_not_server_trouble(session_factory: Sessions, now: datetime) -> None:
    """Trouble is what any value would meet; its words are those of the server, without the parameters."""
    with session_factory() as session, pytest.raises(UniqueViolation) as refused:
        add(session, now, SECRET, SECRET)
    assert is_refused_value(refused.value)
    assert not is_database_trouble(refused.value)
    with session_factory() as session, pytest.raises(ProgrammingError) as unknown:
        driver.copy_rows(session, "nowhere", COLUMNS, [(SECRET, "UTC", now)])
    with session_factory() as session, pytest.raises(ProgrammingError) as unknown_here:
        Sql("SELECT :name FROM nowhere").rows(session, {"name": SECRET})
    with session_factory() as session, pytest.raises(ProgrammingError) as unknown_to_all:
        Sql("UPDATE nowhere SET name = :name").run_all(session, [{"name": SECRET}, {"name": SECRET}])
    for error in (unknown.value, unknown_here.value, unknown_to_all.value):
        assert is_database_trouble(error)
        assert not is_refused_value(error)
        assert SECRET not in str(error)


def test_a_server_that_ends_a_connection_is_database_trouble(session_factory: Sessions, now: datetime) -> None:
    """Whatever was under way, and the next session has another connection."""
    end = Sql("SELECT pg_terminate_backend(:pid)")
    for act in (
        lambda one: add(one, now, "lost"),
        lambda one: end.rows(one, {"pid": 0}),
        lambda one: Savepoint(one, "s"),
    ):
        with session_factory() as session, session_factory() as other:
            ((pid,),) = Sql("SELECT pg_backend_pid()").rows(session, {})
            end.rows(other, {"pid": pid})
            with pytest.raises(OperationalError) as failed:
                act(session)
            assert is_database_trouble(failed.value)
    assert tenants(session_factory) == []
    with session_factory.begin() as session:
        add(session, now, "after")
    assert tenants(session_factory) == ["after"]
