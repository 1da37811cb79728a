"""Waiting for what happens in the database, by LISTEN, or in a thread of this process."""

import os
import time
from contextlib import suppress
from select import POLLIN, poll

import psycopg
from psycopg import sql

from core.store.database import connect_arguments, driver_url

_CONNECT_AGAIN_S = 1.0


class Wakeups:
    """Waits until somebody notifies a channel, or calls `wake`. One thread waits, any may wake it.

    While there is no connection, every wait ends as if there were a notification: something may have been missed.
    """

    def __init__(self, url: str, channel: str, application_name: str) -> None:
        self._url, self._channel, self._name = driver_url(url), channel, application_name
        self._connection: psycopg.Connection | None = None
        self._connect_at_s = 0.0
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def wake(self) -> None:
        """End the wait, or the next one if nobody waits."""
        # A full pipe wakes it too.
        with suppress(BlockingIOError):
            os.write(self._write, b"1")

    def wait(self, most_s: float) -> bool:
        """Wait at most so long; whether there was a notification, or may have been."""
        connection, is_new = self._connected()
        waiting = poll()
        waiting.register(self._read, POLLIN)
        if connection is not None:
            waiting.register(connection.fileno(), POLLIN)
        found = {number for number, _ in waiting.poll(0 if is_new else max(0.0, most_s) * 1000)}
        if self._read in found:
            os.read(self._read, 65_536)
        if connection is None or is_new:
            return True
        return connection.fileno() in found and self._take(connection)

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        for end in (self._read, self._write):
            os.close(end)

    def _connected(self) -> tuple[psycopg.Connection | None, bool]:
        """The connection, if there is one, and whether it is new."""
        if self._connection is not None or time.monotonic() < self._connect_at_s:
            return self._connection, False
        self._connect_at_s = time.monotonic() + _CONNECT_AGAIN_S
        try:
            self._connection = psycopg.connect(self._url, autocommit=True, **connect_arguments(self._name, {}))
            self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        except psycopg.OperationalError:
            self._disconnect()
        return self._connection, self._connection is not None

    def _take(self, connection: psycopg.Connection) -> bool:
        """Read what came, which is at least one notification, or the end of the connection."""
        try:
            for _ in connection.notifies(timeout=0):
                pass
        except psycopg.OperationalError:
            self._disconnect()
        return True

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
