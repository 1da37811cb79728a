"""Checks of the servers: whether they answer, are new enough, store durably, and have memory left."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import redis

from core.errors import CANNOT
from core.settings import Settings
from core.store import monitoring
from core.store.database import VERSION_NEEDED, DatabaseTooOld, Sessions, refuse_old
from core.store.driver import Session
from core.store.migrate import NotMigrated, UnknownRevision, require_current
from core.stream.server import FULL_AT, SERVERS_NEEDED, StreamServer, ask_stream_server
from milepost.ops.finding import Finding, State, compare_clocks, ok, problem, warning

# Checked in addition to the zones of the tenants: a zone that is in every release of the time zone data.
_ANY_ZONE = "Europe/Prague"
# Redis 7.0 and 7.1 are enough with appendfsync always, which _sync() checks.
STREAM_VERSION_LEAST = {"Valkey": (8,), "Redis": (7,)}
_TIGHT_AT = 0.7
_HIDDEN = "the server does not show this setting"


def examine_database(sessions: Sessions) -> Iterator[Finding]:
    """Check the server, then its schema and time zones; raises the database's own error if it does not answer."""
    with sessions() as session:
        before = datetime.now(UTC)
        server = monitoring.ask_database(session)
        version = _postgres_version(server)
        yield version
        if version.state is State.PROBLEM:
            return  # one that is too old does not know the other statements
        yield _durability(server)
        yield compare_clocks("clock of the database", before, server.now, datetime.now(UTC))
        schema = _schema(sessions)
        yield schema
        yield _time_zones(session, has_tenants=schema.state is State.OK)


def examine_stream(client: redis.Redis, settings: Settings) -> Iterator[Finding]:
    """Check the server; raises StreamUnavailable if it does not answer."""
    before = datetime.now(UTC)
    server = ask_stream_server(client)
    yield compare_clocks("clock of the stream server", before, server.now, datetime.now(UTC))
    yield from assess(server, settings)


def assess(server: StreamServer, settings: Settings) -> Iterator[Finding]:
    """Check what a server reports about itself."""
    yield _stream_version(server)
    yield _file(server)
    yield _sync(server, settings)
    yield _policy(server)
    yield _memory(server)
    yield _scripts(server)


def _postgres_version(server: monitoring.DatabaseServer) -> Finding:
    try:
        refuse_old(server.version, server.version_text)
    except DatabaseTooOld:
        return problem("database", f"PostgreSQL {server.version_text} is too old", f"use {VERSION_NEEDED}")
    return ok("database", f"PostgreSQL {server.version_text}")


def _durability(server: monitoring.DatabaseServer) -> Finding:
    if not server.is_durable:
        return problem(
            "durability of the database",
            "fsync, full_page_writes or synchronous_commit is off: a crash loses what was applied",
            "set all three to on",
        )
    return ok("durability of the database", "a commit outlives a crash")


def _schema(sessions: Sessions) -> Finding:
    try:
        require_current(sessions)
    except NotMigrated:
        return problem("schema", "not that of this version", "run `milepost migrate`")
    except UnknownRevision as error:
        remedy = "keep it for the Milepost that made it, and use a new, empty database or data directory"
        return problem("schema", f"at revision {error.revision}, {CANNOT}", remedy)
    return ok("schema", "current")


def _time_zones(session: Session, *, has_tenants: bool) -> Finding:
    wanted = {_ANY_ZONE} | ({each.time_zone for each in monitoring.closed_days(session)} if has_tenants else set())
    missing = sorted(zone for zone in wanted if not monitoring.knows_time_zone(session, zone))
    if missing:
        return problem(
            "time zones",
            f"the database does not know {', '.join(missing)}",
            "install the time zone data (tzdata) where PostgreSQL runs, and restart it",
        )
    return ok("time zones", "the database knows those of all tenants")


def _stream_version(server: StreamServer) -> Finding:
    found, least = f"{server.product} {server.version}", STREAM_VERSION_LEAST[server.product]
    if _number(server) < least:
        return problem("stream server", f"{found} is too old", f"use {SERVERS_NEEDED}")
    return ok("stream server", found)


def _number(server: StreamServer) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", server.version)[:3])


def _file(server: StreamServer) -> Finding:
    check = "append-only file"
    if server.appendonly is None:
        return warning(check, _HIDDEN, "make sure that appendonly is yes")
    if server.appendonly != "yes":
        return problem(check, "appendonly is off: a restart loses every event on the stream", "set appendonly yes")
    if server.is_last_write_ok is False:
        return problem(check, "its last write failed", "see the stream server's log and its disk")
    return ok(check, "on, and its last write worked")


def _sync(server: StreamServer, settings: Settings) -> Finding:
    check, value = "appendfsync", server.appendfsync
    if value == "always":
        return ok(check, "always: an event is on disk before it is accepted")
    if value == "no":
        return problem(check, "no: accepted events may be lost", "set appendfsync to always or everysec")
    if settings.stream_durability in {"always", "none"}:
        return problem(
            check,
            f"{value or 'unknown'}, and MILEPOST_STREAM_DURABILITY={settings.stream_durability} does not wait for it",
            "unset MILEPOST_STREAM_DURABILITY, or set appendfsync always",
        )
    if not server.knows_waitaof:
        return problem(
            check,
            f"{value or 'unknown'}, and {server.product} {server.version} cannot say when an event is on disk",
            f"set appendfsync always, or use {SERVERS_NEEDED}",
        )
    if value is None:
        return ok(check, "not shown; each append waits until the server says that it is on disk")
    return warning(check, f"{value}: each append waits a second or two for the disk", "set appendfsync always")


def _policy(server: StreamServer) -> Finding:
    check, value = "maxmemory-policy", server.maxmemory_policy
    if value is None:
        return warning(check, _HIDDEN, "make sure that maxmemory-policy is noeviction")
    if value != "noeviction":
        return problem(check, f"{value}: a full server throws events away", "set maxmemory-policy noeviction")
    return ok(check, "noeviction: a full server refuses, and loses nothing")


def _memory(server: StreamServer) -> Finding:
    check = "memory of the stream server"
    used = f"{server.used_bytes / 2**20:.0f} MiB used"
    if not server.max_bytes:
        return warning(
            check, f"{used}, no limit", "set maxmemory, so that it refuses before the machine is out of memory"
        )
    found = f"{used} of {server.max_bytes / 2**20:.0f}"
    remedy = "see that drains run (`milepost status`), or raise maxmemory"
    if server.used_bytes > server.max_bytes * FULL_AT:
        return problem(check, f"{found}: no event is accepted any more", remedy)
    if server.used_bytes > server.max_bytes * _TIGHT_AT:
        return warning(check, found, remedy)
    return ok(check, found)


def _scripts(server: StreamServer) -> Finding:
    check = "scripts of the stream server"
    if server.runs_scripts:
        return ok(check, "EVAL works")
    return problem(
        check,
        "EVAL is refused: tasks of a worker that died stay undelivered",
        "let the user of MILEPOST_REDIS_URL use EVAL",
    )
