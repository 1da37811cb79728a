"""`milepost status`: what runs, what waits and what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, func, select

from core.errors import MilepostError
from core.settings import Settings
from core.store import tables
from core.store.engine import database_url, make_engine
from core.store.migrate import is_current
from core.store.stream import EventStream, ShardStatus, connect
from milepost.cli.connection import DataDirOption, JsonOption, connected_settings, running_servers
from milepost.cli.edge import explain
from milepost.cli.output import print_json
from milepost.embedded.strays import is_alive
from milepost.embedded.supervisor import answers

_COUNTED = {"accounts": tables.accounts, "goals": tables.goals, "dead_letters": tables.dead_letters}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Status:
    """One look at an installation. What could not be learned is None, and `troubles` says why."""

    database: str | None
    schema_is_current: bool | None
    counts: dict[str, int] | None
    stream: str | None
    shards: list[ShardStatus] | None
    processes: dict[str, str] | None
    troubles: list[str]

    @property
    def is_well(self) -> bool:
        """Whether the servers answer and the schema fits; processes may be stopped on purpose."""
        return not self.troubles and self.schema_is_current is True


def status(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show the servers, the schema, the backlog of each shard and the processes; exit status 1 if not well."""
    found = look(connected_settings(data_dir))
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    if not found.is_well:
        raise typer.Exit(1)


def look(settings: Settings) -> Status:
    """Ask every part; one that does not answer is a trouble, not an end."""
    troubles: list[str] = []
    engine = make_engine(settings, application_name="milepost status")
    try:
        database = _ask(troubles, lambda: _database_version(engine))
        current = _ask(troubles, lambda: is_current(engine)) if database else None
        counts = _ask(troubles, lambda: _counts(engine)) if current else None
    finally:
        engine.dispose()
    stream = _ask(troubles, lambda: _stream_version(settings))
    shards = _ask(troubles, lambda: _shards(settings)) if stream else None
    return Status(database, current, counts, stream, shards, _processes(settings), troubles)


def _ask(troubles: list[str], question: Callable[[], T]) -> T | None:
    try:
        return question()
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        troubles.append(line)
        return None


def _database_version(engine: Engine) -> str:
    with engine.connect() as connection:
        return f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar_one()}"


def _counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in _COUNTED.items()
        }


def _stream_version(settings: Settings) -> str:
    with connect(_redis_url(settings)) as client:
        info: dict[str, Any] = client.info("server")
        return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


def _shards(settings: Settings) -> list[ShardStatus]:
    with connect(_redis_url(settings)) as client:
        return EventStream(client, settings.shards).status()


def _processes(settings: Settings) -> dict[str, str] | None:
    """The state of each process of this data directory's supervisor; None where none runs."""
    running = running_servers(settings)
    if running is None or running.database_url != database_url(settings):
        return None
    states = {name: f"pid {pid}" if is_alive(pid) else "starting again" for name, pid in running.child_pids.items()}
    states["api"] = f"answers at {running.api_url}" if answers(running.api_url) else "does not answer"
    return states


def _redis_url(settings: Settings) -> str:
    if settings.redis_url is None:
        raise MilepostError("the settings name no stream server")
    return settings.redis_url.get_secret_value()


def _print(found: Status) -> None:
    console = Console(highlight=False)
    parts = Table("part", "state", box=None, header_style="bold", pad_edge=False)
    for name, state in _rows(found):
        parts.add_row(name, state)
    console.print(parts)
    if found.shards is not None:
        console.print(_shard_table(found.shards))
    for line in found.troubles:
        console.print(f"trouble: {line}", style="red", markup=False)


def _rows(found: Status) -> list[tuple[str, str]]:
    schema = {True: "current", False: "out of date: run `milepost migrate`", None: "unknown"}
    rows = [
        ("database", found.database or "does not answer"),
        ("schema", schema[found.schema_is_current]),
        ("stream", found.stream or "does not answer"),
        *sorted((found.processes or {"api, workers, beat": "not run by a supervisor of this folder"}).items()),
    ]
    return rows + [(name.replace("_", " "), str(count)) for name, count in (found.counts or {}).items()]


def _shard_table(shards: list[ShardStatus]) -> Table:
    table = Table("shard", "length", "pending", "lag", "oldest", box=None, header_style="bold", pad_edge=False)
    now = datetime.now(UTC)
    for shard in shards:
        lag = "unknown" if shard.lag is None else str(shard.lag)
        oldest = "-" if shard.oldest_at is None else f"{(now - shard.oldest_at).total_seconds():.1f} s"
        table.add_row(str(shard.shard), str(shard.length), str(shard.pending), lag, oldest)
    return table
