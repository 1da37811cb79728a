"""Servers whose parent is killed: they end, and the next start finds everything in order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from milepost.embedded.postgres import EmbeddedPostgres

Question = Callable[[], object]

START = """
import sys
from pathlib import Path
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.valkey import EmbeddedValkey
place = Path(sys.argv[1])
valkey = EmbeddedValkey.start(place / "valkey")
print("valkey started", flush=True)
postgres = EmbeddedPostgres.start(place / "pg", settings={"fsync": "off"})
print("postgres started", flush=True)
sys.stdin.read()
"""


@contextmanager
def parent(place: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", START, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_servers_end_with_their_parent(
    place: Path, processes_in: Callable[[Path], list[int]], eventually: Callable[[Question, float], bool]
) -> None:
    """kill -9 of the process that started the servers ends them within seconds."""
    with parent(place) as process:
        assert lines(process, 2) == ["valkey started\n", "postgres started\n"]
        assert len(processes_in(place)) > 2
        process.kill()
        assert eventually(lambda: not processes_in(place), 5), processes_in(place)


def test_initdb_killed_half_way_is_recovered(
    place: Path, processes_in: Callable[[Path], list[int]], eventually: Callable[[Question, float], bool]
) -> None:
    """A first start that is killed in the middle of making the database does not spoil the second."""
    with parent(place) as process:
        assert lines(process, 1) == ["valkey started\n"]
        assert eventually((place / "pg" / "data.new" / "PG_VERSION").exists, 10)
        process.kill()
        assert eventually(lambda: not processes_in(place), 5)
    assert not (place / "pg" / "data").exists()
    server = EmbeddedPostgres.start(place / "pg", settings={"fsync": "off"})
    try:
        with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("milepost",)
    finally:
        server.stop()
