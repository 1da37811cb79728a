"""What the demo's tests use: a life of two years, and a running `milepost up --demo`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from milepost.demo.life import Life, TimedEvent
from milepost.demo.people import PEOPLE
from tests.embedded.conftest import place, processes_in
from tests.embedded.test_up import Up, milepost

__all__ = ["place", "processes_in"]

StartDemo = Callable[..., Up]
TODAY = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
BEGIN = TODAY.date().replace(year=2024)


@pytest.fixture(scope="session")
def timed_events() -> list[TimedEvent]:
    """All events of two years of the demo's people."""
    return Life(PEOPLE, BEGIN).through(TODAY)


@pytest.fixture
def start_demo(place: Path) -> Iterator[StartDemo]:
    """Starts `milepost up --demo` in one data directory, and reads its output up to the key; kills it at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Up:
        command = milepost("up", "--demo", "--port", "0", "--data-dir", str(place / "data"), *options)
        process = subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        up = Up(place / "data", process)
        up.read_to("key ")
        return up

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
