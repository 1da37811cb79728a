"""A server that ended and cannot be started again at once is tried again."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.errors import MilepostError
from core.settings import load_settings
from milepost.embedded.datadir import DataDir
from milepost.embedded.errors import ServerFailed
from milepost.embedded.servers import Servers
from milepost.embedded.valkey import EmbeddedValkey

WITHIN_S = 30


class Place:
    """Servers of which only the stream server is embedded, and the lines that they report."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        settings = load_settings(database_url="postgresql://nowhere/x")
        self.servers = Servers(DataDir(folder).open(), settings, self.said.append)

    def kill(self) -> None:
        """kill -9 of the stream server."""
        assert self.servers._valkey is not None
        os.kill(self.servers._valkey.pid, signal.SIGKILL)

    def check_until_it_runs(self) -> None:
        """Check, as the supervisor does, until the server runs again."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            self.servers.check()
            assert self.servers._valkey is not None
            if self.servers._valkey.exit_status() is None and len(self.said) > 2:
                return
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A running stream server."""
    monkeypatch.delenv("MILEPOST_REDIS_URL", raising=False)
    place = Place(tmp_path / "data")
    place.servers.start()
    yield place
    place.servers.stop_valkey(timeout_s=5)


@pytest.mark.parametrize(
    "trouble",
    [
        OSError(errno.ENOSPC, "No space left on device", "lock"),
        ServerFailed("Valkey did not start"),
        MilepostError("something else"),
        psycopg.OperationalError("the database system is in recovery mode"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_a_server_that_cannot_be_started_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """An error of any kind is reported and does not end the supervisor; once it has passed, the server runs again."""
    start, troubles = EmbeddedValkey.start, [trouble]

    def start_in_trouble(*arguments: Any, **named: Any) -> EmbeddedValkey:
        if troubles:
            raise troubles.pop()
        return start(*arguments, **named)

    monkeypatch.setattr(EmbeddedValkey, "start", start_in_trouble)
    place.kill()
    place.check_until_it_runs()
    assert [line for line in place.said if str(trouble) in line and "trying again in 2 s" in line]
