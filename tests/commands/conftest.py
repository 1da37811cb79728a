"""Commands run in this process on a fresh database and stream, and a drain that applies what they send."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.pipeline.drain import ShardDrain
from core.store.stream import EventStream
from milepost.cli import main

Run = Callable[..., tuple[int, str, str]]
Drain = Callable[[], int]
Rows = Callable[..., list[Any]]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_url: str,
    redis_url: str,
) -> Run:
    """Runs `milepost` with arguments; returns status, output, errors."""
    monkeypatch.setenv("MILEPOST_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MILEPOST_DATABASE_URL", database_url)
    monkeypatch.setenv("MILEPOST_REDIS_URL", redis_url)

    def run_main(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["milepost", *arguments])
        capsys.readouterr()  # what drains logged before
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run_main


@pytest.fixture
def drain(session_factory: sessionmaker[Session], stream: EventStream) -> Drain:
    """Applies all that lies on the stream, as workers do now; how many events."""

    def drain() -> int:
        shards = range(stream.shards)
        drains = [ShardDrain(session_factory, stream, shard, 100, lambda: datetime.now(UTC)) for shard in shards]
        return sum(each.drain().events for each in drains)

    return drain


@pytest.fixture
def rows(session_factory: sessionmaker[Session]) -> Rows:
    """What a query gives."""

    def ask(query: str, **parameters: object) -> list[Any]:
        with session_factory() as session:
            return list(session.execute(text(query), parameters).all())

    return ask
