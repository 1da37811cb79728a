"""Which servers a command talks to: those of the environment, else those of the running `milepost up`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from core.errors import MilepostError
from core.settings import PREFIX, Settings, load_settings
from core.store.database import Sessions, open_sessions
from core.store.driver import Session
from milepost.embedded.datadir import DataDir, RunningServers

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        # The code that reads the directory reports it, and what to do about it, if it may not.
        readable=False,
        help="Where `milepost up` keeps its servers.",
        show_default="MILEPOST_DATA_DIR, else the user's data folder",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# The actor that the table `audit` names for commands.
COMMAND_LINE = "command line"


class NoServers(MilepostError):
    """Neither the environment nor a running supervisor names servers."""

    def __init__(self) -> None:
        super().__init__("no servers: start `milepost up` or set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL")


def connected_settings(data_dir: Path | None = None, **overrides: Any) -> Settings:
    """The settings, in which both servers are named; raises NoServers, SettingsError, Untrusted."""
    settings = load_settings(data_dir=data_dir, **overrides)
    running = running_servers(settings)
    names_both = settings.database_url is not None and settings.redis_url is not None
    if running is None or (names_both and not _are_servers_of(running, settings)):
        if not names_both:
            raise NoServers
        return settings
    _require_together("DATABASE_URL", settings.database_url, running.database_url, settings.data_dir)
    _require_together("REDIS_URL", settings.redis_url, running.redis_url, settings.data_dir)
    if settings.secrets_key is None:
        overrides["secrets_key"] = DataDir(settings.data_dir).secrets_key()
    return load_settings(
        data_dir=data_dir,
        database_url=settings.database_url or running.database_url,
        redis_url=settings.redis_url or running.redis_url,
        **overrides,
    )


def running_servers(settings: Settings) -> RunningServers | None:
    """The servers that the supervisor of the data directory runs; None if no supervisor runs there."""
    return DataDir(settings.data_dir).servers()


@contextmanager
def command_sessions(data_dir: Path | None) -> Iterator[Sessions]:
    """Sessions for a command that commits more than once; raises NoServers."""
    with open_sessions(connected_settings(data_dir), application_name="milepost") as sessions:
        yield sessions


@contextmanager
def command_session(data_dir: Path | None) -> Iterator[Session]:
    """A session that commits when the block ends without an error; raises NoServers."""
    with command_sessions(data_dir) as sessions, sessions.begin() as session:
        yield session


def _are_servers_of(running: RunningServers, settings: Settings) -> bool:
    """Whether the settings name the same servers that the supervisor of the data directory uses."""
    named = [None if url is None else url.get_secret_value() for url in (settings.database_url, settings.redis_url)]
    return named == [running.database_url, running.redis_url]


def _require_together(name: str, configured: SecretStr | None, running: str, data_dir: Path) -> None:
    """Refuse a mix, in which events of one system would be applied to the database of another."""
    if configured is not None and configured.get_secret_value() != running:
        raise MilepostError(
            f"{PREFIX}{name} names another server than what runs in {data_dir} uses: set both {PREFIX}DATABASE_URL "
            f"and {PREFIX}REDIS_URL, or neither"
        )
