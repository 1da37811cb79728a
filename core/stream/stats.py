"""The stats of drains and deliveries: hashes on the stream server, where every process can read what all have done.

They are only for people and alerts. No code decides by them, so losing them (a flush, another server) costs no more
than a gap in a chart: they start at zero again, as any counter does.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis
from redis.client import Pipeline

from core.stream.server import raising_stream_unavailable

# Upper bounds, inclusive. A batch beyond the last bound is only in the count of batches.
SIZE_BOUNDS = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
MICROSECOND_BOUNDS = (
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    15_000_000,
)
_SUMS = ("batches", "events", "duplicates", "dead_letters", "microseconds")
_LAST_COMMIT = "last_commit_at"
_FIELDS = (
    *_SUMS,
    *(f"size:{bound}" for bound in SIZE_BOUNDS),
    *(f"us:{bound}" for bound in MICROSECOND_BOUNDS),
    _LAST_COMMIT,
)


@dataclass(frozen=True, slots=True)
class BatchStats:
    """One batch that was committed."""

    events: int
    duplicates: int
    dead_letters: int
    seconds: float
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class DrainStats:
    """What all drains of one shard did since the stats started at zero.

    `sizes` and `durations` say how many batches are at or below each of SIZE_BOUNDS and MICROSECOND_BOUNDS.
    """

    batches: int
    events: int
    duplicates: int
    dead_letters: int
    microseconds: int
    sizes: tuple[int, ...]
    durations: tuple[int, ...]
    last_commit_at: datetime | None


# Upper bounds of the time that an attempt to deliver a message takes, inclusive.
MILLISECOND_BOUNDS = (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
OUTCOMES = ("delivered", "refused", "unanswered")
_DELIVERIES_KEY = "milepost:deliveries"
_DELIVERY_FIELDS = (*OUTCOMES, "milliseconds", *(f"ms:{bound}" for bound in MILLISECOND_BOUNDS))


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """How many attempts had each outcome since the stats started at zero, and how long they took.

    `durations` says how many are at or below each of MILLISECOND_BOUNDS.
    """

    outcomes: dict[str, int]
    milliseconds: int
    durations: tuple[int, ...]


def add_delivery_stats(client: redis.Redis, outcomes: Mapping[str, int], latencies_ms: Sequence[int]) -> None:
    """Add attempts that have ended."""
    pipeline = client.pipeline(transaction=False)
    for name, number in outcomes.items():
        if number:
            pipeline.hincrby(_DELIVERIES_KEY, name, number)
    pipeline.hincrby(_DELIVERIES_KEY, "milliseconds", sum(latencies_ms))
    places = Counter(bisect_left(MILLISECOND_BOUNDS, each) for each in latencies_ms)
    for place, number in places.items():
        if place < len(MILLISECOND_BOUNDS):
            pipeline.hincrby(_DELIVERIES_KEY, f"ms:{MILLISECOND_BOUNDS[place]}", number)
    pipeline.execute()


def read_delivery_stats(client: redis.Redis) -> DeliveryStats:
    """The stats of all deliveries; raises StreamUnavailable."""
    with raising_stream_unavailable():
        reply = cast(list[bytes | None], client.hmget(_DELIVERIES_KEY, _DELIVERY_FIELDS))
    found = {name: _number(value) for name, value in zip(_DELIVERY_FIELDS, reply, strict=True)}
    durations = _running_totals(found, "ms", MILLISECOND_BOUNDS)
    return DeliveryStats({name: found[name] for name in OUTCOMES}, found["milliseconds"], durations)


def stats_key(shard: int) -> str:
    """The key of the hash with a shard's stats."""
    return f"milepost:drains:{shard}"


def waiting_key(shard: int) -> str:
    """The key that exists while a drain waits for entries of a shard."""
    return f"milepost:waiting:{shard}"


def add_to_stats(pipeline: Pipeline, shard: int, batch: BatchStats) -> None:
    """Put the commands that add a batch to its shard's stats onto a pipeline."""
    key, microseconds = stats_key(shard), round(batch.seconds * 1_000_000)
    for name, by in zip(_SUMS, (1, batch.events, batch.duplicates, batch.dead_letters, microseconds), strict=True):
        if by:
            pipeline.hincrby(key, name, by)
    for name, value, bounds in (("size", batch.events, SIZE_BOUNDS), ("us", microseconds, MICROSECOND_BOUNDS)):
        index = bisect_left(bounds, value)
        if index < len(bounds):
            pipeline.hincrby(key, f"{name}:{bounds[index]}", 1)
    pipeline.hset(key, _LAST_COMMIT, str(int(batch.committed_at.timestamp() * 1000)))


def read_drain_stats(client: redis.Redis, shards: Iterable[int]) -> dict[int, DrainStats]:
    """The stats of each shard, zeros where there are none; raises StreamUnavailable."""
    wanted = list(shards)
    pipeline = client.pipeline(transaction=False)
    for shard in wanted:
        pipeline.hmget(stats_key(shard), _FIELDS)
    with raising_stream_unavailable():
        # If somebody else has stored another type under a key, only its shard has no stats; the others are still read.
        replies = cast(list[list[bytes | None] | Exception], pipeline.execute(raise_on_error=False))
        for reply in replies:
            if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
                raise reply
    return {
        shard: _stats([] if isinstance(reply, Exception) else reply)
        for shard, reply in zip(wanted, replies, strict=True)
    }


def shards_waited_on(client: redis.Redis, shards: Iterable[int]) -> set[int]:
    """The shards on which a drain waits at this moment; raises StreamUnavailable.

    While workers are healthy a drain waits on every shard, except during a batch and between two waits.
    """
    with raising_stream_unavailable():
        return {shard for shard in shards if client.exists(waiting_key(shard))}


def _stats(values: Sequence[bytes | None]) -> DrainStats:
    """The stats from the values of _FIELDS, or from none; a value that no drain can have written counts as 0."""
    found = {name: _number(value) for name, value in zip(_FIELDS, values, strict=False)}
    sums: dict[str, Any] = {name: found.get(name, 0) for name in _SUMS}
    return DrainStats(
        sizes=_running_totals(found, "size", SIZE_BOUNDS),
        durations=_running_totals(found, "us", MICROSECOND_BOUNDS),
        last_commit_at=_moment(found.get(_LAST_COMMIT, 0)),
        **sums,
    )


def _number(value: bytes | None) -> int:
    try:
        number = int(value or 0)
    except ValueError:
        return 0
    return number if 0 <= number < 2**63 else 0


def _moment(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC) if milliseconds else None
    except (ValueError, OverflowError, OSError):
        return None


def _running_totals(found: Mapping[str, int], name: str, bounds: Iterable[int]) -> tuple[int, ...]:
    total, sums = 0, []
    for bound in bounds:
        total += found.get(f"{name}:{bound}", 0)
        sums.append(total)
    return tuple(sums)
