"""What is on the stream and not applied: how much, whether certain entries are, and a list of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import redis

from core.store.database import Sessions
from core.store.positions import Position, read_positions
from core.stream.entries import Entry, RawEntry, parse_id, raw_entry, stream_key, successor, up_to
from core.stream.stream import EventStream, ShardStatus

AT_ONCE_FIRST, AT_ONCE_MOST = 16, 512
FEW_BYTES, MANY_BYTES = 2**20, 4 * 2**20


@dataclass(frozen=True, slots=True)
class BacklogEntry:
    """An entry that is not applied. `deliveries`: how often a drain has tried it; None before the first time."""

    entry_id: str
    fields: dict[bytes, bytes]
    deliveries: int | None


@dataclass(frozen=True, slots=True)
class Tried:
    """The first `entries` after a position were tried so many `times`, but none that came after `until_ms` if given."""

    entries: int
    times: int
    until_ms: int | None

    def counts(self, entry_id: bytes) -> bool:
        """Whether an entry came in time to be tried."""
        return self.until_ms is None or parse_id(entry_id)[0] <= self.until_ms


def shard_statuses(sessions: Sessions, stream: EventStream) -> list[ShardStatus]:
    """The state of every shard. Raises StreamUnavailable."""
    with sessions() as session:
        positions = read_positions(session)
    return stream.status(positions)


def not_applied(sessions: Sessions, entries: Mapping[int, str]) -> dict[int, str]:
    """Of one entry a shard, those that are not applied, or have one before them that is not.

    An entry that is held up by others and was appended again counts as applied here.
    """
    with sessions() as session:
        positions = read_positions(session)
    return {
        shard: entry_id
        for shard, entry_id in entries.items()
        if parse_id(positions.get(shard, Position()).entry_id) < parse_id(entry_id)
    }


def read_backlog(
    client: redis.Redis, shard: int, position: Position, tried: Tried, *, since_ms: int, after: str | None
) -> Iterator[list[BacklogEntry]]:
    """The entries of a shard from a moment on (Unix milliseconds), or after the entry `after`, in order, in parts.

    The caller has read the position before. So an entry that is applied meanwhile is still given, and none is left out
    that is not applied. How many entries are read at once depends on their size, so that memory never has many large
    ones together.
    """
    key, size = stream_key(shard), AT_ONCE_FIRST
    first = successor(position.entry_id)
    start = max(first, f"{max(since_ms, 0)}-0", successor(after or position.entry_id), key=parse_id)
    left = tried.entries if start == first else tried.entries - _count_between(client, key, first, start, tried.entries)
    while True:
        rows = cast(list[Entry], client.xrange(key, min=start, count=size))
        if not rows:
            return
        yield [
            BacklogEntry(entry_id.decode(), fields, tried.times if number < left and tried.counts(entry_id) else None)
            for number, (entry_id, fields) in enumerate(rows)
        ]
        if len(rows) < size:
            return
        left -= len(rows)
        start, size = f"({rows[-1][0].decode()}", _next_size(size, rows)


def _count_between(client: redis.Redis, key: str, first: str, before: str, most: int) -> int:
    """How many entries there are from one id to before another, at most `most`."""

    def read_some(wanted: int, last: bytes | None) -> list[RawEntry]:
        start = first if last is None else f"({last.decode()}"
        rows = cast(list[Entry], client.xrange(key, min=start, max=f"({before}", count=wanted))
        return [raw_entry(entry_id, fields) for entry_id, fields in rows]

    return len(up_to(most, read_some)) if most else 0


def _next_size(size: int, rows: list[Entry]) -> int:
    read_bytes = sum(len(value) for _, fields in rows for value in fields.values())
    if read_bytes > MANY_BYTES:
        return max(1, size // 4)
    return min(AT_ONCE_MOST, size * 2) if read_bytes < FEW_BYTES else size
