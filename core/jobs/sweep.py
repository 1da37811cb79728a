"""The stage sweep: trims what is applied off the stream, and names the shards that have something left to do."""

from __future__ import annotations

from dataclasses import dataclass

from core.stream.stream import EventStream


@dataclass(frozen=True, slots=True)
class Swept:
    """How many entries were trimmed, and the shards with entries that are not applied."""

    trimmed: int
    unapplied_shards: tuple[int, ...]


def sweep(stream: EventStream) -> Swept:
    """Trim every shard below its oldest unapplied entry. Shards left over from a larger setting are swept too."""
    trimmed = sum(stream.trim(shard) for shard in stream.existing_shards())
    unapplied = (status.shard for status in stream.status() if status.oldest_at is not None)
    return Swept(trimmed, tuple(unapplied))
