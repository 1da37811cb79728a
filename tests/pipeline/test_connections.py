"""A connection to Postgres whose other end has vanished is given up, and not waited for."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

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
