"""For tests: the position of a shard as the database has it, and drains that died."""

from __future__ import annotations

from core.ingestion.attempts import begin
from core.store.database import Sessions
from core.store.positions import Position, lock_position, read_position, write_position
from core.stream.backlog import shard_statuses
from core.stream.stream import EventStream, ShardStatus


def position(sessions: Sessions, shard: int = 0) -> Position:
    """How far a shard is applied."""
    with sessions() as session:
        return read_position(session, shard)


def status(sessions: Sessions, stream: EventStream) -> ShardStatus:
    """The state of shard 0."""
    return shard_statuses(sessions, stream)[0]


def is_settled(sessions: Sessions, stream: EventStream) -> bool:
    """Whether everything on shard 0 is applied, and no drain is noted as being at work."""
    found = status(sessions, stream)
    return (found.unapplied, found.oldest_at, found.idle_s) == (0, None, None)


def die(sessions: Sessions, batch_events: int, times: int = 1) -> None:
    """Leave what so many drains leave behind that died in their first batch of shard 0."""
    for _ in range(times):
        with sessions.begin() as session:
            found = lock_position(session, 0)
            assert found is not None
            write_position(session, 0, begin(found, batch_events), is_begun=True)
