"""The job sweep: trims applied entries off the stream, and names the shards that still have entries to apply.

It also tells of dead letters that wait. It does so rather than the relay, since a minute is soon enough for a person,
and a broken producer's first minute makes a fuller message than its first second.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from core.jobs.job import DRAIN_QUEUE, Job, Servers, WholeRun
from core.jobs.snapshot import SNAPSHOT, tenants_behind
from core.messages.others import DEAD_LETTERS, dead_letter_waiting
from core.store.database import Sessions
from core.store.dead_letters import tenants_to_tell, waiting_letters
from core.store.outbox import end_message, write_missing
from core.store.positions import read_positions
from core.stream.stream import EventStream


@dataclass(frozen=True, slots=True)
class Swept:
    """How many entries were trimmed, the shards with entries that are not applied, and how many tenants were told."""

    trimmed: int
    unapplied_shards: tuple[int, ...]
    told: int = 0


def sweep(sessions: Sessions, stream: EventStream) -> Swept:
    """Trim every shard up to its position. Shards left over from a larger setting are swept too."""
    with sessions() as session:
        positions = read_positions(session)
    trimmed = sum(stream.trim(shard, positions[shard]) for shard in stream.existing_shards() if shard in positions)
    unapplied = (status.shard for status in stream.status(positions) if status.oldest_at is not None)
    return Swept(trimmed, tuple(unapplied))


def tell_of_dead_letters(sessions: Sessions, now: datetime) -> int:
    """Write a message for each tenant whose dead letters wait and which was not told; returns how many are new.

    When none waits any more that is noted, so that the next one is told again. Two runs at once write one message.
    """
    with sessions() as session:
        tenants = tenants_to_tell(session, DEAD_LETTERS)
    told = 0
    for tenant in tenants:
        with sessions.begin() as session:
            letters = waiting_letters(session, tenant)
            if letters.codes:
                told += write_missing(session, [dead_letter_waiting(tenant, letters, now)])
            else:
                end_message(session, tenant, DEAD_LETTERS)
    return told


def _run(whole: WholeRun) -> Swept:
    # First, since it does not need the stream's server.
    told = tell_of_dead_letters(whole.sessions, whole.now)
    return replace(sweep(whole.sessions, whole.stream), told=told)


def _run_and_start(servers: Servers) -> int:
    """Tell of dead letters, sweep, start drains for the entries that are left, and the job snapshot if it is behind."""
    tell_of_dead_letters(servers.sessions, servers.database_now())
    swept = sweep(servers.sessions, servers.stream)
    servers.start_drains(swept.unapplied_shards)
    if tenants_behind(servers.sessions, servers.database_now()):
        servers.start_job(SNAPSHOT)
    return swept.trimmed


# In the queue of the drains, since a long job must not keep the stream from being trimmed.
SWEEP = Job("sweep", run=_run, scheduled=_run_and_start, queue=DRAIN_QUEUE, expires_s=60.0, quiet_after=None)
