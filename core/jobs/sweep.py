"""The job sweep: trims applied entries off the stream, and names the shards that still have entries to apply."""

from dataclasses import dataclass

from core.jobs.job import DRAIN_QUEUE, Job, Servers, WholeRun
from core.jobs.snapshot import SNAPSHOT, tenants_behind
from core.store.database import Sessions
from core.store.positions import read_positions
from core.stream.stream import EventStream


@dataclass(frozen=True, slots=True)
class Swept:
    """How many entries were trimmed, and the shards with entries that are not applied."""

    trimmed: int
    unapplied_shards: tuple[int, ...]


def sweep(sessions: Sessions, stream: EventStream) -> Swept:
    """Trim every shard up to its position. Shards left over from a larger setting are swept too."""
    with sessions() as session:
        positions = read_positions(session)
    trimmed = sum(stream.trim(shard, positions[shard]) for shard in stream.existing_shards() if shard in positions)
    unapplied = (status.shard for status in stream.status(positions) if status.oldest_at is not None)
    return Swept(trimmed, tuple(unapplied))


def _run(whole: WholeRun) -> Swept:
    return sweep(whole.sessions, whole.stream)


def _run_and_start(servers: Servers) -> int:
    """Sweep, start drains for the entries that are left, and the job snapshot if days are over and not closed."""
    swept = sweep(servers.sessions, servers.stream)
    servers.start_drains(swept.unapplied_shards)
    if tenants_behind(servers.sessions, servers.database_now()):
        servers.start_job(SNAPSHOT)
    return swept.trimmed


# In the queue of the drains, since a long job must not keep the stream from being trimmed.
SWEEP = Job("sweep", run=_run, scheduled=_run_and_start, queue=DRAIN_QUEUE, expires_s=60.0, quiet_after=None)
