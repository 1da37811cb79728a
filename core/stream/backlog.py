"""What lies on the stream and is not applied, looked at without taking any of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import redis

from core.stream.group import GROUP, delivery_counts, position_of
from core.stream.position import BacklogPosition, Entry, in_progress_key, place, stream_key

AT_ONCE_FIRST, AT_ONCE_MOST = 16, 512
FEW_BYTES, MANY_BYTES = 2**20, 4 * 2**20


@dataclass(frozen=True, slots=True)
class BacklogEntry:
    """An entry that is not applied, as far as the stream knows.

    `deliveries`: how often a drain took it up; None before the first time. `fields` are None for an entry that is
    applied, or that the stream dropped: it only says how far the look has come.
    """

    entry_id: str
    fields: dict[bytes, bytes] | None
    deliveries: int | None


def read_backlog(client: redis.Redis, shard: int, *, since_ms: int, after: str | None) -> Iterator[list[BacklogEntry]]:
    """The entries of a shard from a moment on, or behind the entry `after`, in order, some at a time.

    An entry that moves on meanwhile is given as it was or as it is, and never left out. That hangs on the order: first
    the shard's position, then the entries, then who of them is pending. So one that is up to the position and not
    pending was applied before the answer, and one behind it is given whatever happens to it.

    How many are read at once follows their size, so that a few large ones are not held together.
    """
    key, size = stream_key(shard), AT_ONCE_FIRST
    position = position_of(client, key)
    begun = client.get(in_progress_key(shard))
    in_progress_to = None if begun is None else place(cast(bytes, begun))
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


def _start(client: redis.Redis, key: str, position: BacklogPosition | None, since_ms: int) -> str:
    """The least id that may not be applied; all before it are, or came before the moment."""
    first = (0, 0)
    if position is not None:
        pending = client.xpending(key, GROUP)
        behind = (position[0], position[1] + 1)
        first = min(behind, place(pending["min"])) if pending["pending"] else behind
    milliseconds, sequence = max(first, (max(since_ms, 0), 0))
    return f"{milliseconds}-{sequence}"


def _entry(
    entry_id: str,
    fields: dict[bytes, bytes] | None,
    deliveries: dict[str, int],
    position: BacklogPosition | None,
    in_progress_to: BacklogPosition | None,
) -> BacklogEntry:
    times, at = deliveries.get(entry_id), place(entry_id)
    if times is not None:
        # Before it was handed out it was part of a batch that was begun.
        return BacklogEntry(entry_id, fields, times + 1)
    if position is not None and at <= position:
        return BacklogEntry(entry_id, None, None)
    return BacklogEntry(entry_id, fields, 1 if in_progress_to is not None and at <= in_progress_to else None)


def _next_size(size: int, rows: list[Entry]) -> int:
    read_bytes = sum(len(value) for _, fields in rows for value in (fields or {}).values())
    if read_bytes > MANY_BYTES:
        return max(1, size // 4)
    return min(AT_ONCE_MOST, size * 2) if read_bytes < FEW_BYTES else size
