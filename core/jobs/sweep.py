"""The job sweep: trims applied entries off the stream, and names the shards that still have entries to apply.

It also writes messages about dead letters that wait. It does so rather than the relay, since a minute is soon enough
for a person, and a broken producer's first minute makes a fuller message than its first second.
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
    """How many entries were trimmed, the shards with entries that are not applied, and how many messages were written.

    The messages are about dead letters that wait.
    """

    trimmed: int
    unapplied_shards: tuple[int, ...]
    messages: int = 0


def sweep(sessions: Sessions, stream: EventStream) -> Swept:
    """Trim every shard up to its position. Shards left over from a larger setting are swept too."""
    with sessions() as session:
        positions = read_positions(session)
    trimmed = sum(stream.trim(shard, positions[shard]) for shard in stream.existing_shards() if shard in positions)
    unapplied = (status.shard for status in stream.status(positions) if status.oldest_at is not None)
    return Swept(trimmed, tuple(unapplied))


def write_dead_letter_messages(sessions: Sessions, now: datetime) -> int:
    """Write a message for each tenant whose dead letters wait and which has none; returns how many are new.

    When none waits any more that is noted, so that the next one gets a message again. Two runs at once write one.
    """
    with sessions() as session:
        tenants = tenants_to_tell(session, DEAD_LETTERS)
    messages = 0
    for tenant in tenants:
        with sessions.begin() as session:
            letters = waiting_letters(session, tenant)
            if letters.codes:
                messages += write_missing(session, [dead_letter_waiting(tenant, letters, now)])
            else:
                end_message(session, tenant, DEAD_LETTERS)
    return messages


def _run(whole: WholeRun) -> Swept:
    # First, since it does not need the stream's server.
    messages = write_dead_letter_messages(whole.sessions, whole.now)
    return replace(sweep(whole.sessions, whole.stream), messages=messages)


def _run_and_start(servers: Servers) -> int:
    """Write messages about dead letters, sweep, and start what is behind: drains, and the job snapshot."""
    write_dead_letter_messages(servers.sessions, servers.database_now())
    swept = sweep(servers.sessions, servers.stream)
    servers.start_drains(swept.unapplied_shards)
    if tenants_behind(servers.sessions, servers.database_now()):
        servers.start_job(SNAPSHOT)
    return swept.trimmed


# In the queue of the drains, since a long job must not keep the stream from being trimmed.
SWEEP = Job("sweep", run=_run, scheduled=_run_and_start, queue=DRAIN_QUEUE, expires_s=60.0, quiet_after=None)
