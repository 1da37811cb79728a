"""A connection that is lost is given up or replaced, and a session on it is a transaction of its own."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.errors import ReadOnlySqlTransaction, UniqueViolation

from core.store import database
from core.store.database import NoFreeConnection, Sessions, is_database_trouble, open_sessions
from core.store.driver import Session, Sql

PID = Sql("SELECT pg_backend_pid()")
END = Sql("SELECT pg_terminate_backend(:pid, 5000)")
TENANTS = Sql("SELECT tenant FROM tenants WHERE tenant <> 'default' ORDER BY 1")
ADD_TENANT = Sql("INSERT INTO tenants (tenant, time_zone, created_at) VALUES (:tenant, 'UTC', now())")


class Stopped(Exception):
    """Raised by a test inside a session."""


@pytest.fixture
def single(database_url: str) -> Iterator[Sessions]:
    """Sessions on one connection, which is kept."""
    with open_sessions(database_url, application_name="single", connections=1) as sessions:
        yield sessions


def pid_of(sessions: Sessions) -> int:
    """The server's process of the connection that the next session gets."""
    with sessions() as session:
        return int(PID.value(session, {}))


def add(session: Session, tenant: str) -> None:
    """Add a tenant."""
    ADD_TENANT.run(session, {"tenant": tenant})


def tenants(sessions: Sessions) -> list[str]:
    """Those that are committed, but for the first."""
    with sessions() as session:
        return TENANTS.values(session, {})


@pytest.mark.skipif(sys.platform != "linux", reason="the names of these options are Linux's")
def test_the_kernel_gives_up_a_server_that_says_nothing_for_half_a_minute(session_factory: Sessions) -> None:
    """It asks after ten seconds of silence, three times, and does not wait longer for what was sent to arrive."""
    with session_factory() as session, socket.socket(fileno=session.fileno()) as link:
        found = [
            link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
            link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
            link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        ]
        # It is the driver's to close.
        link.detach()
    assert found == [1, 10, 5, 3, 25_000]


def test_times_are_utc_and_every_wait_has_a_limit(session_factory: Sessions) -> None:
    """As the server has it, in sessions of every kind."""
    names = ("timezone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    for begin in (session_factory, session_factory.begin, session_factory.reading):
        with begin() as session:
            found = [Sql("SELECT current_setting(:name)").value(session, {"name": name}) for name in names]
        assert found == ["UTC", "15s", "5s", "10s"]


FIRST_SESSIONS = """
import sys
from core.store.database import open_sessions
with open_sessions(sys.argv[1], application_name="tests") as sessions, sessions() as session:
    session.execute("SELECT 1")
    from core.store.driver import Sql, int8s
    print(Sql("SELECT sum(n) FROM unnest(:n) AS n").value(session, {"n": int8s([2, 3])}))
"""


def test_a_session_takes_arrays_whatever_is_imported_after_it(database_url: str) -> None:
    """Commands import what they run once they are connected; the arrays of its statements are known all the same."""
    command = [sys.executable, "-c", FIRST_SESSIONS, database_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("5\n", "")


LONG_WORK = """
import sys
from core.store.database import open_sessions
with open_sessions(sys.argv[1], application_name="tests", limits={}) as sessions, sessions.begin() as session:
    session.execute("SELECT pg_advisory_xact_lock(77)")
    print("locked", flush=True)
    session.execute("SELECT pg_sleep(120)")
"""


def test_the_locks_of_a_killed_client_are_free_after_seconds(database_url: str) -> None:
    """Postgres gives up a statement whose client is gone, however long the statement would have gone on."""
    command = [sys.executable, "-c", LONG_WORK, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "locked\n"
        client.kill()
    # Whoever wants the lock waits for it; were it kept for longer, this would raise.
    with (
        open_sessions(database_url, application_name="tests", limits={"lock_timeout": "30s"}) as sessions,
        sessions.begin() as session,
    ):
        Sql("SELECT pg_advisory_xact_lock(77)").run(session, {})


def test_a_connection_that_the_server_has_closed_meanwhile_is_replaced(
    single: Sessions, session_factory: Sessions
) -> None:
    """The next session does not notice it, as often as it happens."""
    for number in range(3):
        before = pid_of(single)
        assert pid_of(single) == before
        with session_factory() as other:
            assert END.value(other, {"pid": before})
        with single.begin() as session:
            assert PID.value(session, {}) != before
            add(session, f"t{number}")
    assert tenants(session_factory) == ["t0", "t1", "t2"]


def test_a_killed_backend_is_database_trouble_and_the_next_session_works(
    single: Sessions, session_factory: Sessions
) -> None:
    """Nothing of the session is left, neither after an error in it nor when its end is all that fails."""

    def lose(*more: str) -> None:
        with single.begin() as session:
            add(session, "lost")
            with session_factory() as other:
                assert END.value(other, {"pid": PID.value(session, {})})
            for tenant in more:
                add(session, tenant)

    for more in (["lost too"], []):
        with pytest.raises(psycopg.OperationalError) as failed:
            lose(*more)
        assert is_database_trouble(failed.value)
        assert tenants(single) == []
    with single.begin() as session:
        add(session, "after")
    assert tenants(session_factory) == ["after"]


def test_a_server_that_is_away_is_database_trouble() -> None:
    """Sessions can be opened all the same: they connect when the first one begins."""
    with (
        open_sessions("postgresql+psycopg://a:b@127.0.0.1:1/c", application_name="tests") as sessions,
        pytest.raises(psycopg.OperationalError) as failed,
        sessions(),
    ):
        pass
    assert is_database_trouble(failed.value)


def test_no_free_connection_is_database_trouble(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds all connections in use waits for one, and not for ever; once one is free, sessions begin again."""
    monkeypatch.setattr(database, "_WAIT_FOR_CONNECTION_S", 0.1)
    with open_sessions(database_url, application_name="tests", connections=2, kept=1) as sessions:
        with sessions(), sessions():
            for begin in (sessions, sessions.begin, sessions.reading):
                with pytest.raises(NoFreeConnection) as failed, begin():
                    pass
                assert is_database_trouble(failed.value)
        with sessions(), sessions():
            pass


def test_a_session_that_is_not_committed_leaves_nothing(single: Sessions, session_factory: Sessions) -> None:
    """Only the end of a session that was begun commits, and an error in it goes on to the caller."""

    def stop() -> None:
        with single.begin() as session:
            add(session, "given up")
            raise Stopped

    def add_twice() -> None:
        with single.begin() as session:
            add(session, "refused")
            add(session, "refused")

    with single() as session:
        add(session, "rolled back")
    with pytest.raises(Stopped):
        stop()
    with pytest.raises(UniqueViolation):
        add_twice()
    assert tenants(session_factory) == []
    with single.begin() as session:
        add(session, "kept")
        assert tenants(session_factory) == []
    assert tenants(session_factory) == ["kept"]


def test_a_reading_session_sees_one_moment_and_cannot_write(single: Sessions, session_factory: Sessions) -> None:
    """And the next session on its connection, which is none of these, can write and sees what is new."""
    with single.reading() as session:
        assert TENANTS.values(session, {}) == []
        with session_factory.begin() as other:
            add(other, "meanwhile")
        assert TENANTS.values(session, {}) == []
        with pytest.raises(ReadOnlySqlTransaction) as refused:
            add(session, "refused")
    assert is_database_trouble(refused.value)
    with single.begin() as session:
        assert TENANTS.values(session, {}) == ["meanwhile"]
        with session_factory.begin() as other:
            add(other, "new")
        assert TENANTS.values(session, {}) == ["meanwhile", "new"]
        add(session, "written")
    assert tenants(session_factory) == ["meanwhile", "new", "written"]


def test_closed_sessions_leave_no_connection(
    database_url: str, session_factory: Sessions, eventually: Callable[[Callable[[], object], float], bool]
) -> None:
    """One that is in use is closed when its session ends, committed as ever; sessions begun later have new ones."""
    opened = Sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closing'")

    def count() -> int:
        with session_factory() as session:
            return int(opened.value(session, {}))

    with open_sessions(database_url, application_name="closing", kept=2) as sessions:
        with sessions.begin() as session:
            add(session, "kept")
            with sessions() as other:
                add(other, "rolled back")
            assert count() == 2
            sessions.close()
            assert eventually(lambda: count() == 1, 5)
        assert eventually(lambda: count() == 0, 5)
        assert tenants(sessions) == ["kept"]
        assert count() == 1
    assert eventually(lambda: count() == 0, 5)


@pytest.mark.parametrize("is_single", [True, False])
def test_a_statement_that_an_exception_leaves_running_is_given_up(
    single: Sessions, is_single: bool, eventually: Callable[[Callable[[], object], float], bool]
) -> None:
    """As the time limit of a task does. The connection is not used again, and the exception is what the caller gets."""

    def stop(*_: object) -> None:
        raise Stopped

    before = pid_of(single)
    handler = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Stopped), single.single() if is_single else single() as session:
            Sql("SELECT pg_sleep(600)").value(session, {})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert pid_of(single) != before
    alive = Sql("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")

    def has_ended() -> bool:
        with single() as session:
            assert not session.autocommit
            return alive.value(session, {"pid": before}) == 0

    # The server notices within two seconds that nobody waits for the answer.
    assert eventually(has_ended, 60)


FORKED = """
import os, sys
from core.store.database import open_sessions
from core.store.driver import Sql
PID = Sql("SELECT pg_backend_pid()")
sessions = open_sessions(sys.argv[1], application_name="tests", connections=1)
with sessions() as session:
    before = PID.value(session, {})
child = os.fork()
if child == 0:
    sessions.forget()
    with sessions() as session:
        is_own = PID.value(session, {}) != before
    sessions.close()
    sys.exit(0 if is_own else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with sessions() as session:
    print(PID.value(session, {}) == before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_fork_leaves_the_connections_of_its_parent_alone(database_url: str) -> None:
    """A child that forgets them has its own, and its end closes only that one."""
    command = [sys.executable, "-c", FORKED, database_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("0\nTrue\n", "")


MANY_FILES = """
import os, resource, sys
from core.store.database import open_sessions
from core.store.driver import Sql
resource.setrlimit(resource.RLIMIT_NOFILE, (2_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
with open_sessions(sys.argv[1], application_name="tests", connections=1) as sessions:
    for _ in range(2):
        with sessions() as session:
            print(session.fileno() > 1_100, Sql("SELECT 1").value(session, {}))
"""


def test_a_process_may_have_many_files_open(database_url: str) -> None:
    """A server that has more than a thousand sockets open begins sessions like any other."""
    if 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2_000:
        pytest.skip("this system allows a process too few files")
    command = [sys.executable, "-c", MANY_FILES, database_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True 1\nTrue 1\n", "")
