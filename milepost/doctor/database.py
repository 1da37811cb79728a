"""The database: reachable, new enough, migrated, durable, with time zones and a clock that agrees."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from core.store import watch
from core.store.engine import session_factory
from core.store.migrate import is_current
from milepost.doctor.clocks import compare_clocks
from milepost.doctor.finding import Finding, ok, problem

VERSION_LEAST = 160_000
# Beside the zones of the tenants: one that has been told by every release of the data.
_ANY_ZONE = "Europe/Prague"


def examine_database(engine: Engine) -> Iterator[Finding]:
    """Check the server, then what lies in it; raises the database's own error if it is away."""
    with session_factory(engine)() as session:
        before = datetime.now(UTC)
        server = watch.ask_database(session)
        yield _version(server)
        yield _durability(server)
        yield compare_clocks("clock of the database", before, server.now, datetime.now(UTC))
        is_ours = is_current(engine)
        yield _schema(is_ours)
        yield _time_zones(session, is_ours)


def _version(server: watch.DatabaseServer) -> Finding:
    if server.version < VERSION_LEAST:
        return problem("database", f"PostgreSQL {server.version_text} is too old", "use PostgreSQL 16 or newer")
    return ok("database", f"PostgreSQL {server.version_text}")


def _durability(server: watch.DatabaseServer) -> Finding:
    if not server.is_durable:
        return problem(
            "durability of the database",
            "fsync, full_page_writes or synchronous_commit is off: a crash loses what was applied",
            "set all three to on",
        )
    return ok("durability of the database", "a commit outlives a crash")


def _schema(is_ours: bool) -> Finding:
    if not is_ours:
        return problem("schema", "not that of this version", "run `milepost migrate`")
    return ok("schema", "current")


def _time_zones(session: Session, has_tenants: bool) -> Finding:
    wanted = {_ANY_ZONE} | ({each.time_zone for each in watch.closed_days(session)} if has_tenants else set())
    missing = sorted(zone for zone in wanted if not watch.knows_time_zone(session, zone))
    if missing:
        return problem(
            "time zones",
            f"the database does not know {', '.join(missing)}",
            "install the time zone data (tzdata) where PostgreSQL runs, and restart it",
        )
    return ok("time zones", "the database knows those of all tenants")
