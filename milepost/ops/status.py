"""The status of an installation: every part is asked, and a part that does not answer becomes one of the troubles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from core.errors import MilepostError
from core.goals.money import to_decimal
from core.goals.progress import percent_complete
from core.services.metrics import (
    STATEMENT_LONGEST_S,
    DatabaseStats,
    LastRun,
    days_behind,
    is_delivery_late,
    is_drain_alive,
    is_overdue,
    read_database_stats,
)
from core.settings import Settings
from core.store import monitoring
from core.store.database import Sessions, database_url, open_sessions
from core.store.driver import Session
from core.store.migrate import NotMigrated, require_current
from core.store.positions import Position
from core.stream.server import StreamServer, ask_stream_server
from core.stream.stats import DrainStats, read_drain_stats
from core.stream.stream import EventStream, ShardStatus, connect
from milepost.cli.connection import running_servers
from milepost.cli.output import explain
from milepost.embedded.orphans import is_alive
from milepost.embedded.supervisor import answers

GOALS_MOST = 20
REPAIR = "`milepost verify` names the rows; once they are repaired, `milepost run verify` stores a new result"
TENANTS_SHOWN = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TenantDays:
    """Through which day a tenant is closed, and how many days are not closed yet."""

    tenant: str
    time_zone: str
    closed_through: date | None
    days_behind: int


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What is in the database. `counts` stop at COUNTED_MOST; `tenants` are those with the most days to close."""

    counts: dict[str, int]
    goals: tuple[monitoring.MovedGoal, ...]
    tenants: tuple[TenantDays, ...]
    stats: DatabaseStats


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """What is on the stream, and what the drains have done. `shards` is empty where the positions are not known."""

    server: StreamServer
    shards: tuple[ShardStatus, ...]
    drains: dict[int, DrainStats]


@dataclass(frozen=True, slots=True)
class Status:
    """The status at one moment. A part that did not answer is None; `troubles` says why, and what else is wrong."""

    at: datetime
    database: str | None
    schema_is_current: bool | None
    contents: DatabaseStatus | None
    stream: StreamStatus | None
    processes: dict[str, str] | None
    troubles: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        """Whether the servers answer, the schema fits, events get applied and the last audit found nothing.

        Processes may be stopped on purpose.
        """
        return not self.troubles and self.schema_is_current is True


def collect_status(settings: Settings) -> Status:
    """Ask every part."""
    troubles: list[str] = []
    now = datetime.now(UTC)
    with open_sessions(settings, application_name="milepost status") as sessions:
        database = _ask(troubles, lambda: _database_version(sessions))
        current = _ask(troubles, lambda: _is_current(sessions)) if database else None
        contents = _ask(troubles, lambda: _collect_from_database(sessions, now)) if current else None
    positions = None if contents is None else contents.stats.positions
    stream = _ask(troubles, lambda: _collect_from_stream(settings, positions))
    troubles += _wrong_in_database(contents, now) + _wrong_on_stream(stream, now)
    return Status(now, database, current, contents, stream, _processes(settings), tuple(troubles))


def status_as_json(found: Status) -> dict[str, Any]:
    """The whole status as JSON shows it: amounts and percentages as decimal strings."""
    contents, stream = found.contents, found.stream
    stats = None if contents is None else contents.stats
    return {
        "at": found.at,
        "is_well": found.is_well,
        "database": found.database,
        "schema_is_current": found.schema_is_current,
        "counts": None if contents is None else contents.counts,
        "stream": None if stream is None else f"{stream.server.product} {stream.server.version}",
        "shards": None if stream is None else _shards_as_json(stream, found.at),
        "goals": None if contents is None else [_goal_as_json(goal) for goal in contents.goals],
        "tenants": None if contents is None else [asdict(tenant) for tenant in contents.tenants],
        "jobs": None if stats is None else [asdict(run) | {"is_ok": run.is_ok} for run in stats.runs],
        "job_tenants_unseen": None if stats is None else stats.tenants_unseen,
        "outbox": None if stats is None else asdict(stats.outbox),
        "deliveries": None if stats is None else asdict(stats.deliveries),
        "dead_letters": None if stats is None else stats.dead_letters,
        "accounts_with_difference": None if stats is None else stats.accounts_with_difference,
        "waiting_facts": None if stats is None else asdict(stats.waiting_facts),
        "processes": found.processes,
        "troubles": list(found.troubles),
    }


def percent_of(goal: monitoring.MovedGoal) -> str:
    """The percentage that GET /goals/{id}/progress shows; a dash where that is null."""
    percent = percent_complete(goal.type, goal.span, goal.target_minor, goal.amount_minor)
    return "-" if percent is None else str(percent)


def violations_of(runs: Sequence[LastRun]) -> int:
    """The number of values that the last audit found wrong."""
    return sum(run.violations or 0 for run in runs)


def _ask(troubles: list[str], question: Callable[[], T]) -> T | None:
    try:
        return question()
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        troubles.append(line)
        return None


def _database_version(sessions: Sessions) -> str:
    with sessions() as session:
        return f"PostgreSQL {monitoring.ask_database(session).version_text}"


def _collect_from_database(sessions: Sessions, now: datetime) -> DatabaseStatus:
    with sessions.reading() as session:
        monitoring.limit_statements(session, STATEMENT_LONGEST_S)
        stats = read_database_stats(session, now)
        return DatabaseStatus(
            counts=_counts(session, stats),
            goals=tuple(monitoring.goals_moved_last(session, GOALS_MOST)),
            tenants=tuple(
                TenantDays(each.tenant, each.time_zone, each.closed_through, days_behind(each, now))
                for each in monitoring.closed_days(session)[:TENANTS_SHOWN]
            ),
            stats=stats,
        )


def _is_current(sessions: Sessions) -> bool:
    """Raises UnknownRevision."""
    try:
        require_current(sessions)
    except NotMigrated:
        return False
    return True


def _counts(session: Session, stats: DatabaseStats) -> dict[str, int]:
    return {
        "accounts": monitoring.count_accounts(session),
        "goals": monitoring.count_goals(session),
        "dead_letters": sum(stats.dead_letters.values()),
    }


def _collect_from_stream(settings: Settings, positions: Mapping[int, Position] | None) -> StreamStatus:
    if settings.redis_url is None:
        raise MilepostError("the settings name no stream server")
    with connect(settings.redis_url.get_secret_value()) as client:
        shards = () if positions is None else tuple(EventStream(client, settings.shards).status(positions))
        drains = read_drain_stats(client, (each.shard for each in shards))
        return StreamStatus(ask_stream_server(client), shards, drains)


def _wrong_in_database(contents: DatabaseStatus | None, now: datetime) -> list[str]:
    if contents is None:
        return []
    violations = violations_of(contents.stats.runs)
    wrong = [f"the last audit found {violations:,} wrong values: {REPAIR}"] if violations else []
    if is_delivery_late(contents.stats.deliveries, now):
        wrong.append(
            "messages are due and not sent: is a worker for deliveries running? `milepost run deliver` sends them"
        )
    if is_overdue(contents.stats.waiting_facts, now):
        wrong.append("facts are due and do not count: is a worker for drains running? `milepost run due` counts them")
    return wrong


def _wrong_on_stream(stream: StreamStatus | None, now: datetime) -> list[str]:
    if stream is None:
        return []
    wrong = [
        f"shard {each.shard}: events wait, and none was applied for 30 s: is a worker for drains running?"
        for each in stream.shards
        if not is_drain_alive(each, stream.drains[each.shard], now)
    ]
    if stream.server.is_last_write_ok is False:
        wrong.append("the stream server cannot write its append-only file: see its log and the disk")
    return wrong


def _processes(settings: Settings) -> dict[str, str] | None:
    """The state of each process of this data directory's supervisor; None if no supervisor runs."""
    running = running_servers(settings)
    if running is None or running.database_url != database_url(settings):
        return None
    states = {name: f"pid {pid}" if is_alive(pid) else "starting again" for name, pid in running.child_pids.items()}
    states["api"] = f"answers at {running.api_url}" if answers(running.api_url) else "does not answer"
    return states


def _shards_as_json(stream: StreamStatus, now: datetime) -> list[dict[str, Any]]:
    return [
        asdict(each)
        | {
            "is_drain_alive": is_drain_alive(each, stream.drains[each.shard], now),
            "last_commit_at": stream.drains[each.shard].last_commit_at,
            "batches": stream.drains[each.shard].batches,
            "events": stream.drains[each.shard].events,
            "duplicates": stream.drains[each.shard].duplicates,
        }
        for each in stream.shards
    ]


def _goal_as_json(goal: monitoring.MovedGoal) -> dict[str, Any]:
    return {
        "tenant": goal.tenant,
        "goal_id": goal.goal_id,
        "user_id": goal.user_id,
        "name": goal.name,
        "type": goal.type.value,
        "tracking": goal.tracking.value,
        "status": goal.status.value,
        "currency": goal.currency,
        "current_amount": str(to_decimal(goal.amount_minor, goal.currency)),
        "target_amount": str(to_decimal(goal.target_minor, goal.currency)),
        "percent_complete": percent_of(goal),
        "updated_at": goal.updated_at,
        "projected_completion_date": goal.completion_at,
    }
