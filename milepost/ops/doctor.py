"""All checks of `milepost doctor`, one part after the other; each finding says what to do about it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import psycopg
import redis

from core.errors import MilepostError, SettingsError
from core.services.metrics import LastRun, is_delivery_late, is_drain_alive, is_quiet, read_database_stats
from core.settings import Settings, load_settings
from core.store.database import Sessions, open_sessions
from core.store.endpoints import DisabledReason
from core.store.migrate import require_current
from core.store.monitoring import COUNTED_MOST, DeliveryBacklog
from core.store.positions import Position, read_positions
from core.stream.stats import read_drain_stats, shards_waited_on
from core.stream.stream import EventStream, ShardStatus, connect
from milepost.cli.connection import NoServers, connected_settings, running_servers
from milepost.cli.output import explain
from milepost.embedded.datadir import RunningServers
from milepost.embedded.trust import Untrusted
from milepost.ops.doctor_machine import examine_directory_and_port, examine_machine
from milepost.ops.doctor_servers import examine_database, examine_stream
from milepost.ops.finding import Finding, ok, problem, warning
from milepost.ops.status import REPAIR

# Longer than a drain is between two waits, and short enough for a person to wait.
OBSERVE_S = 3.0
_POLL_S = 0.1
_BEAT = "run `milepost up`, or `milepost beat` and `milepost worker --queues=jobs`"


def examine_drains(
    client: redis.Redis, settings: Settings, positions: Mapping[int, Position] | None
) -> Iterator[Finding]:
    """Check each shard: its backlog, whether events are applied, and whether a drain waits for the next event.

    Without positions, which the database has, only the last is checked.
    """
    if positions is not None:
        yield _backlog(client, EventStream(client, settings.shards).status(positions))
    yield _served_shards(client, range(settings.shards))


def _backlog(client: redis.Redis, statuses: Sequence[ShardStatus]) -> Finding:
    drains = read_drain_stats(client, (status.shard for status in statuses))
    now = datetime.now(UTC)
    stuck = [status.shard for status in statuses if not is_drain_alive(status, drains[status.shard], now)]
    waiting = [status.oldest_at for status in statuses if status.oldest_at is not None]
    if stuck:
        return problem(
            "backlog",
            f"events wait on shard {_listed(stuck)}, and none was applied for 30 s",
            "run `milepost worker --queues=drains` and `milepost beat`; their logs say what is in the way",
        )
    if waiting:
        return ok("backlog", f"the oldest event waits for {max(0.0, (now - min(waiting)).total_seconds()):.1f} s")
    return ok("backlog", "every event is applied")


def examine_rows(sessions: Sessions) -> Iterator[Finding]:
    """Check what the database contains: jobs, days, dead letters, the audit."""
    now = datetime.now(UTC)
    with sessions() as session:
        stats = read_database_stats(session, now)
    yield _jobs(stats.runs, now)
    yield _days(stats.days_behind)
    yield _dead_letters(stats.dead_letters)
    yield _deliveries(stats.deliveries, now)
    yield _audit(stats.runs)


def examine(data_dir: Path | None) -> Iterator[Finding]:
    """Yield every finding as soon as it is known."""
    try:
        settings = load_settings(data_dir=data_dir)
    except SettingsError as error:
        yield problem("settings", str(error), "correct or unset it; nothing starts with it")
        return
    yield from examine_machine(settings)
    yield from examine_directory_and_port(settings, _running(settings))
    try:
        connected = connected_settings(data_dir)
    except Untrusted:
        # examine_directory_and_port() has reported it; every other command refuses the directory in the same way.
        return
    except NoServers:
        yield warning(
            "servers",
            "none is running, so nothing more can be checked",
            "start `milepost up`, or set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL",
        )
        return
    yield from _examine_servers(connected)


def _served_shards(client: redis.Redis, shards: Sequence[int]) -> Finding:
    """Check that on each shard a drain waits or commits within OBSERVE_S."""
    missing, stop_at = set(shards), time.monotonic() + OBSERVE_S
    began = datetime.now(UTC)
    while missing:
        missing -= shards_waited_on(client, missing)
        committed = read_drain_stats(client, missing)
        missing -= {
            n for n, each in committed.items() if each.last_commit_at is not None and each.last_commit_at > began
        }
        if time.monotonic() > stop_at:
            break
        time.sleep(_POLL_S if missing else 0)
    if missing:
        return warning(
            "drains",
            f"no drain looked at shard {_listed(sorted(missing))} within {OBSERVE_S:g} s",
            "run `milepost up`, or `milepost worker --queues=drains` and `milepost beat`",
        )
    return ok("drains", "one waits on every shard")


def _jobs(runs: Sequence[LastRun], now: datetime) -> Finding:
    ended = {run.job: run.newest_at for run in runs if run.newest_at is not None}
    if not ended:
        return warning("jobs", "no scheduled job has run yet", _BEAT)
    found = f"the last one ended at {max(ended.values()):%Y-%m-%d %H:%M} UTC"
    if all(is_quiet(job, now - at) for job, at in ended.items()):
        return warning("jobs", found, _BEAT)
    late = [f"{run.job} since {run.furthest_at:%Y-%m-%d %H:%M} UTC" for run in runs if run.is_late(now)]
    if late:
        return warning(
            "jobs", f"did not end for some tenant: {', '.join(late)}", "run `milepost run JOB` and see what it says"
        )
    return ok("jobs", found)


def _days(days_behind: Sequence[int]) -> Finding:
    most = max(days_behind, default=0)
    late = sum(days > 1 for days in days_behind)
    if late:
        return warning(
            "closed days", f"{late} tenants are up to {most} days behind", f"run `milepost run snapshot`, and {_BEAT}"
        )
    return ok("closed days", "up to date" if most == 0 else "yesterday is still to be closed")


def _dead_letters(by_code: dict[str, int]) -> Finding:
    total = sum(by_code.values())
    if not total:
        return ok("dead letters", "none waits")
    more = " or more" if total >= COUNTED_MOST else ""
    codes = ", ".join(f"{code} {number:,}" for code, number in by_code.items())
    return warning(
        "dead letters",
        f"{total:,}{more} wait: {codes}",
        "run `milepost dead-letters list`, then replay or discard them",
    )


def _deliveries(deliveries: DeliveryBacklog, now: datetime) -> Finding:
    if is_delivery_late(deliveries, now):
        return problem(
            "deliveries",
            f"messages are due since {deliveries.oldest_due_at:%Y-%m-%d %H:%M} UTC and not sent",
            "run `milepost up`, or `milepost worker --queues=deliveries` and `milepost beat`; see their logs",
        )
    unasked = sum(number for reason, number in deliveries.disabled.items() if reason != DisabledReason.REQUEST)
    if unasked or deliveries.failing:
        return warning(
            "deliveries",
            f"{deliveries.failing:,} endpoints fail, and {unasked:,} were disabled since they failed or are gone",
            "see `milepost messages endpoints` and `milepost messages attempts`; after a fix, enable and recover them",
        )
    return ok("deliveries", f"{deliveries.due:,} are due now")


def _audit(runs: Sequence[LastRun]) -> Finding:
    found = [run for run in runs if run.violations is not None]
    if not found:
        return ok("audit", "not run yet; `milepost run verify` does it now")
    violations = sum(run.violations or 0 for run in found)
    if violations:
        return problem("audit", f"the last one found {violations:,} wrong values", REPAIR)
    return ok("audit", f"the last one, at {found[0].newest_at:%Y-%m-%d %H:%M} UTC, found nothing")


def _listed(shards: Sequence[int]) -> str:
    return ", ".join(str(shard) for shard in shards)


def _running(settings: Settings) -> RunningServers | None:
    try:
        return running_servers(settings)
    except Untrusted:
        return None


def _examine_servers(settings: Settings) -> Iterator[Finding]:
    with open_sessions(settings, application_name="milepost doctor") as sessions:
        yield from _unless_away("database", _examine_database(sessions))
        positions = _positions(sessions)
    assert settings.redis_url is not None, "connected_settings names both servers"
    with connect(settings.redis_url.get_secret_value()) as client:
        yield from _unless_away(
            "stream server", chain(examine_stream(client, settings), examine_drains(client, settings, positions))
        )


def _examine_database(sessions: Sessions) -> Iterator[Finding]:
    yield from examine_database(sessions)
    try:
        require_current(sessions)
    except MilepostError:
        return  # examine_database() has reported it
    yield from examine_rows(sessions)


def _positions(sessions: Sessions) -> dict[int, Position] | None:
    """The positions of the shards; None if the database does not give them, which has been reported."""
    try:
        with sessions() as session:
            return read_positions(session)
    except psycopg.Error:
        return None


def _unless_away(server: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings about a server; if it does not answer, that is the last one."""
    try:
        yield from findings
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        yield problem(server, line, "see that it runs and that its address, user and password are right")
