"""The whole examination: part after part; a part whose server is away is one finding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from sqlalchemy import Engine

from core.errors import SettingsError
from core.settings import Settings, load_settings
from core.store.engine import make_engine
from core.store.migrate import is_current
from core.store.stream import connect
from milepost.cli.connection import NoServers, connected_settings, running_servers
from milepost.cli.edge import explain
from milepost.doctor.database import examine_database
from milepost.doctor.finding import Finding, problem, warning
from milepost.doctor.machine import examine_machine
from milepost.doctor.place import examine_place
from milepost.doctor.stream import examine_stream
from milepost.doctor.work import examine_drains, examine_rows


def examine(data_dir: Path | None) -> Iterator[Finding]:
    """Yield every finding as soon as it is known."""
    try:
        settings = load_settings(data_dir=data_dir)
    except SettingsError as error:
        yield problem("settings", str(error), "mend or unset it; nothing starts with it")
        return
    yield from examine_machine(settings)
    yield from examine_place(settings, running_servers(settings))
    try:
        connected = connected_settings(data_dir)
    except NoServers:
        yield warning(
            "servers",
            "none is running, so nothing more can be checked",
            "start `milepost up`, or set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL",
        )
        return
    yield from _examine_servers(connected)


def _examine_servers(settings: Settings) -> Iterator[Finding]:
    engine = make_engine(settings, application_name="milepost doctor")
    try:
        yield from _unless_away("database", _examine_database(engine))
    finally:
        engine.dispose()
    assert settings.redis_url is not None, "connected_settings names both servers"
    with connect(settings.redis_url.get_secret_value()) as client:
        yield from _unless_away(
            "stream server", chain(examine_stream(client, settings), examine_drains(client, settings))
        )


def _examine_database(engine: Engine) -> Iterator[Finding]:
    yield from examine_database(engine)
    if is_current(engine):
        yield from examine_rows(engine)


def _unless_away(server: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings about a server; where it does not answer that is the last."""
    try:
        yield from findings
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        yield problem(server, line, "see that it runs and that its address, user and password are right")
