"""A connection to Postgres whose other end has vanished is given up, and not waited for."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import text

from core.store.engine import make_engine


@pytest.mark.skipif(sys.platform != "linux", reason="the names of these options are Linux's")
def test_the_kernel_gives_up_a_server_that_says_nothing_for_half_a_minute(database_url: str) -> None:
    """It asks after ten seconds of silence, three times, and does not wait longer for what was sent to arrive."""
    engine = make_engine(database_url, application_name="tests")
    try:
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            with socket.socket(fileno=driver.fileno()) as link:
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
    finally:
        engine.dispose()


FIRST_AN_ENGINE = """
import sys
from core.store.engine import make_engine
engine = make_engine(sys.argv[1], application_name="tests")
with engine.connect() as connection:
    from sqlalchemy import text
    from core.store.driver import int8s
    print(connection.execute(text("SELECT sum(n) FROM unnest(:n) AS n"), {"n": int8s([2, 3])}).scalar_one())
"""


def test_an_engine_takes_arrays_whatever_is_imported_after_it(database_url: str) -> None:
    """Commands import what they run once they are connected; the arrays of its statements are known all the same."""
    command = [sys.executable, "-c", FIRST_AN_ENGINE, database_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("5\n", "")


LONG_WORK = """
import sys
from sqlalchemy import text
from core.store.engine import make_engine
with make_engine(sys.argv[1], application_name="tests", limits={}).begin() as connection:
    connection.execute(text("SELECT pg_advisory_xact_lock(77)"))
    print("locked", flush=True)
    connection.execute(text("SELECT pg_sleep(120)"))
"""


def test_the_locks_of_a_killed_client_are_free_after_seconds(database_url: str) -> None:
    """Postgres gives up a statement whose client is gone, however long the statement would have gone on."""
    command = [sys.executable, "-c", LONG_WORK, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "locked\n"
        client.kill()
    # Whoever wants the lock waits for it; were it kept for longer, this would raise.
    engine = make_engine(database_url, application_name="tests", limits={"lock_timeout": "30s"})
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(77)"))
    finally:
        engine.dispose()
