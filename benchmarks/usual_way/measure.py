"""Measures the usual way: all tasks are sent, then a worker with two processes runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import psycopg

from benchmarks.pipeline.baseline_rows import driver_url
from benchmarks.usual_way.tasks import TASK, make_app
from core.errors import MilepostError
from core.settings import PREFIX, Settings
from core.store.database import database_url
from core.store.tenants import DEFAULT
from milepost.embedded.process import end, spawn

_POLL_S = 0.05
_STALLED_S = 60.0
_END_S = 20.0

_DONE = "SELECT count(*) FROM transactions"
# A row has the moment at which its task began: from the first to the last is the time of all tasks but one.
_SPAN = "SELECT min(recorded_at), max(recorded_at) FROM goal_entries WHERE cause = 'events'"


class WorkerStalled(MilepostError):
    """The worker ended, or applied nothing for a long time."""

    def __init__(self, done: int, events: int, last_log_line: str) -> None:
        super().__init__(f"the worker of the usual way stopped at {done:,} of {events:,} events: {last_log_line}")


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def last_log_line(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it printed nothing")


def send_all(settings: Settings, events: Sequence[bytes]) -> None:
    """Send one message for each event."""
    assert settings.redis_url is not None, "the caller names both servers"
    app = make_app(database_url(settings), settings.redis_url.get_secret_value())
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for event in events:
            app.send_task(TASK, args=(DEFAULT, json.loads(event)), producer=producer)


def run_all(settings: Settings, events: int, reached: Callable[[int], object]) -> float:
    """Run a worker, which finds all tasks on the queue; the seconds from the first task to the last."""
    with (
        psycopg.connect(driver_url(database_url(settings)), autocommit=True, options="-c timezone=UTC") as connection,
        _worker(settings) as worker,
    ):
        done, progressed_at = 0, time.monotonic()
        while done < events:
            (found,) = connection.execute(_DONE).fetchone() or (0,)
            if found > done:
                done, progressed_at = found, time.monotonic()
                reached(done)
            if worker.process.poll() is not None or time.monotonic() - progressed_at > _STALLED_S:
                raise WorkerStalled(done, events, worker.last_log_line())
            time.sleep(_POLL_S)
        began, ended = _span(connection)
    return (ended - began).total_seconds()


def _span(connection: psycopg.Connection[tuple[datetime, datetime]]) -> tuple[datetime, datetime]:
    row = connection.execute(_SPAN).fetchone()
    assert row is not None, "an aggregate has one row"
    return row


@contextmanager
def _worker(settings: Settings) -> Iterator[_Worker]:
    """A worker with its processes."""
    assert settings.redis_url is not None, "the caller names both servers"
    addresses = {"DATABASE_URL": database_url(settings), "REDIS_URL": settings.redis_url.get_secret_value()}
    environment = os.environ | {PREFIX + name: value for name, value in addresses.items()}
    command = [sys.executable, "-m", "benchmarks.usual_way", "--worker"]
    with TemporaryFile() as log:
        process = spawn(command, death_signal=signal.SIGTERM, cwd=Path.cwd(), output=log, environment=environment)
        try:
            yield _Worker(process, log)
        finally:
            end(process, grace_s=_END_S)
