"""Lists the entries of the stream that are not applied, without reading any of them for a drain."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import redis

from core.stream.group import GROUP, delivery_counts, position_of
from core.stream.position import Entry, EntryOrder, in_progress_key, parse_id, stream_key

AT_ONCE_FIRST, AT_ONCE_MOST = 16, 512
FEW_BYTES, MANY_BYTES = 2**20, 4 * 2**20


@dataclass(frozen=True, slots=True)
class BacklogEntry:
    """An entry that is not applied, as far as the stream knows.

    `deliveries`: how often a drain has read it; None before the first time. `fields` are None for an entry that is
    applied, or that the stream dropped: such an entry only says how far the listing has come.
    """

    entry_id: str
    fields: dict[bytes, bytes] | None
    deliveries: int | None


def read_backlog(client: redis.Redis, shard: int, *, since_ms: int, after: str | None) -> Iterator[list[BacklogEntry]]:
    """The entries of a shard from a moment on (Unix milliseconds), or after the entry `after`, in order, in parts.

    An entry whose state changes meanwhile is given in its old or its new state, and never left out, because of the
    order of the reads: first the shard's position, then the entries, then which of them are pending. So an entry that
    is not after the position and not pending was applied before the answer, and every entry after it is given.

    How many entries are read at once depends on their size, so that memory never has many large ones together.
    """
    key, size = stream_key(shard), AT_ONCE_FIRST
    position = position_of(client, key)
    noted = client.get(in_progress_key(shard))
    in_progress_to = None if noted is None else parse_id(cast(bytes, noted))
    start = f"({after}" if after is not None else _start(client, key, position, since_ms)
    while True:
        rows = cast(list[Entry], client.xrange(key, min=start, count=size))
        if not rows:
            return
        first, last = rows[0][0].decode(), rows[-1][0].decode()
        deliveries = {} if position is None else delivery_counts(client, key, first, last)
        yield [_entry(entry_id.decode(), fields, deliveries, position, in_progress_to) for entry_id, fields in rows]
        if len(rows) < size:
            return
        start, size = f"({last}", _next_size(size, rows)


def _start(client: redis.Redis, key: str, position: EntryOrder | None, since_ms: int) -> str:
    """The least id that may not be applied and is not before the moment; every entry before it is one or the other."""
    first = (0, 0)
    if position is not None:
        pending = client.xpending(key, GROUP)
        following = (position[0], position[1] + 1)
        first = min(following, parse_id(pending["min"])) if pending["pending"] else following
    milliseconds, sequence = max(first, (max(since_ms, 0), 0))
    return f"{milliseconds}-{sequence}"


def _entry(
    entry_id: str,
    fields: dict[bytes, bytes] | None,
    deliveries: dict[str, int],
    position: EntryOrder | None,
    in_progress_to: EntryOrder | None,
) -> BacklogEntry:
    times, at = deliveries.get(entry_id), parse_id(entry_id)
    if times is not None:
        # A drain had read it once before its first delivery, in the batch that was not finished.
        return BacklogEntry(entry_id, fields, times + 1)
    if position is not None and at <= position:
        return BacklogEntry(entry_id, None, None)
    return BacklogEntry(entry_id, fields, 1 if in_progress_to is not None and at <= in_progress_to else None)


def _next_size(size: int, rows: list[Entry]) -> int:
    read_bytes = sum(len(value) for _, fields in rows for value in (fields or {}).values())
    if read_bytes > MANY_BYTES:
        return max(1, size // 4)
    return min(AT_ONCE_MOST, size * 2) if read_bytes < FEW_BYTES else size
