"""The stream of accepted events that are not applied yet. Redis protocol, a key per shard."""

import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from core.errors import StreamUnavailable
from core.store.positions import Position
from core.stream.entries import Entry, RawEntry, entries_of, raw_entries, stream_key, successor, up_to
from core.stream.position import StreamLook, count_after, from_oldest, holds
from core.stream.server import DurabilityCheck, StreamTooOld, await_sync, knows_waitaof, raising_stream_unavailable
from core.stream.stats import BatchStats, add_to_stats, waiting_key

SHARDS_MOST = 64
WAIT_FOR_DISK_MS = 5_000
APPENDS_AT_ONCE = 1_000
ENTRY_OVERHEAD_BYTES = 100
EntryKey: TypeAlias = tuple[int, str]
"""The shard and the id of an entry."""


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """The state of one shard: its entries, and how many of them are not applied (`lag`).

    `lag` is None where the server does not count. `pending`: how many of them were tried in vain, at most, and are
    tried again in smaller batches. `oldest_at`: when the stream took the first unapplied entry. `idle_s`: how long a
    drain has been trying what follows the position, None if none does.
    """

    shard: int
    length: int
    pending: int
    lag: int | None
    oldest_at: datetime | None
    idle_s: float | None = None

    @property
    def unapplied(self) -> int:
        """How many entries are not applied, at most: all that the stream has where the server does not count."""
        return self.length if self.lag is None else self.lag


def connect(redis_url: str) -> redis.Redis:
    """A client that connects when first used; a half-open socket stalls it for seconds, not minutes.

    It reconnects once if the server dropped the connection. It does not retry after a time-out: with the library's own
    ten tries a caller would wait for over a minute.
    """
    return redis.Redis.from_url(
        redis_url,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        socket_timeout=7,
        socket_connect_timeout=3,
        socket_keepalive=True,
        health_check_interval=30,
    )


def shard_of(tenant: str, account_id: str, shards: int) -> int:
    """The shard of `shards` to which our own producers append an account's events. Any other would be right as well."""
    # A row that was not understood may name half a surrogate pair. Any bytes will do to choose a shard.
    return zlib.crc32(f"{tenant}\x00{account_id}".encode("utf-8", "surrogatepass")) % shards


def arrival(entry_id: str) -> datetime:
    """When the stream took an entry: the milliseconds that its id starts with, but never later than now.

    A producer may choose ids in the future, and the server's next ids are greater than those.
    """
    now = datetime.now(UTC)
    milliseconds = int(entry_id.partition("-")[0])
    return now if milliseconds >= now.timestamp() * 1000 else datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


class EventStream:
    """The shards of one Milepost: producers append to them, drains read them, sweeps trim them, people see their state.

    How far a shard is applied is not known here: core/store/positions.py has that. `durability`: see DurabilityCheck.
    """

    def __init__(self, client: redis.Redis, shards: int, durability: str = "auto") -> None:
        self.client = client
        # The library turns each entry's fields into a mapping, which takes longer than reading them.
        self._reader = redis.Redis(connection_pool=client.connection_pool)
        self._reader.set_response_callback("XRANGE", raw_entries)
        self.shards = shards
        self._check = DurabilityCheck(durability)

    def append(self, tenant: str, events: Sequence[tuple[str, bytes]]) -> list[EntryKey]:
        """Append (account id or "", event) pairs and return their entries, in this order, once they are on disk.

        Raises StreamUnavailable. Some of the events may be on the stream then; sending them again changes nothing.
        """
        return self.append_to_shards(
            [(shard_of(tenant, account_id, self.shards), tenant, event) for account_id, event in events]
        )

    def append_to_shards(self, entries: Sequence[tuple[int, str, bytes]]) -> list[EntryKey]:
        """As `append`, for (shard, tenant, event) entries."""
        with raising_stream_unavailable():
            parts = range(0, len(entries), APPENDS_AT_ONCE)
            done = [self._append_some(entries[start : start + APPENDS_AT_ONCE]) for start in parts]
            for run_id in dict.fromkeys(run_id for _, run_id in done if run_id is not None):
                await_sync(self.client, run_id)
        ids = (entry_id.decode() for found, _ in done for entry_id in found)
        return [(shard, entry_id) for (shard, _, _), entry_id in zip(entries, ids, strict=True)]

    def require_waitaof(self) -> None:
        """Raise StreamTooOld if the server answers, appends must be confirmed, and it cannot confirm them.

        An append reports whatever else is wrong with the server.
        """
        with suppress(StreamUnavailable), raising_stream_unavailable():
            if self._check.must_wait_for_disk(self.client) and not knows_waitaof(self.client):
                raise StreamTooOld

    def ping(self) -> None:
        """Raise StreamUnavailable if the server does not answer."""
        with raising_stream_unavailable():
            self.client.ping()

    def look(self, shard: int) -> StreamLook:
        """The shard's stream as it is now."""
        pipeline = self.client.pipeline(transaction=False)
        pipeline.xinfo_stream(stream_key(shard))
        pipeline.info("server")
        stream, server = pipeline.execute(raise_on_error=False)
        # A user with limited rights may not be allowed to ask for the server.
        run_id = "" if isinstance(server, ResponseError) else str(_answer(server).get("run_id", ""))
        if isinstance(stream, ResponseError) and "no such key" in str(stream):
            return StreamLook(server=run_id)
        found = _answer(stream)
        last = found["last-entry"]
        return StreamLook(
            length=int(found["length"]),
            added=None if found.get("entries-added") is None else int(found["entries-added"]),
            newest=found["last-generated-id"].decode(),
            last=None if last is None else last[0].decode(),
            server=run_id,
        )

    def read_after(self, shard: int, after: str, count: int) -> list[RawEntry]:
        """At most `count` entries after one, in order, and little more than READ_BYTES_MOST bytes."""

        def read_some(wanted: int, last: bytes | None) -> list[RawEntry]:
            start = f"({after if last is None else last.decode()}"
            return cast(list[RawEntry], self._reader.xrange(stream_key(shard), min=start, count=wanted))

        return up_to(count, read_some)

    def wait(self, shard: int, after: str, timeout_ms: int) -> bool:
        """Wait for an entry after one, and return whether there is one."""
        reply = self.client.xread({stream_key(shard): after}, count=1, block=timeout_ms)
        return bool(entries_of(reply))

    def note_stats(self, shard: int, batch: BatchStats) -> None:
        """Add a committed batch to the shard's stats. A server that is full refuses them, and they are dropped."""
        pipeline = self.client.pipeline(transaction=False)
        add_to_stats(pipeline, shard, batch)
        pipeline.execute(raise_on_error=False)

    def claim_wait(self, shard: int, milliseconds: int) -> bool:
        """Become the drain that waits on a shard, for at most so long; False if another drain does."""
        return bool(self.client.set(waiting_key(shard), "1", nx=True, px=milliseconds))

    def release_wait(self, shard: int) -> None:
        """Let another drain wait. If this call is lost, an event may be applied a moment later, but none is lost."""
        self.client.delete(waiting_key(shard))

    def existing_shards(self) -> list[int]:
        """The configured shards, and those that still exist from a time when more were configured."""
        beyond = [n for n in range(self.shards, SHARDS_MOST) if self.client.exists(stream_key(n))]
        return [*range(self.shards), *beyond]

    def trim(self, shard: int, position: Position) -> int:
        """Drop the entries that are applied; returns how many. None if the position does not hold any more."""
        if not holds(position, self.look(shard)):
            return 0
        key = stream_key(shard)
        return int(self.client.xtrim(key, minid=successor(position.entry_id), approximate=False))

    def ends(self) -> dict[int, str]:
        """The id of the last entry of every shard that has any."""
        with raising_stream_unavailable():
            keys = {shard: stream_key(shard) for shard in self.existing_shards()}
            found = {shard: self.client.xrevrange(key, count=1) for shard, key in keys.items()}
        return {shard: cast(list[Entry], rows)[0][0].decode() for shard, rows in found.items() if rows}

    def status(self, positions: Mapping[int, Position]) -> list[ShardStatus]:
        """The state of every shard, given the positions of those that drains have looked at."""
        with raising_stream_unavailable():
            return [self._status(shard, positions.get(shard, Position())) for shard in self.existing_shards()]

    def _append_some(self, entries: Sequence[tuple[int, str, bytes]]) -> tuple[list[bytes], str | None]:
        """Append (shard, tenant, event) entries in one pipeline, and return their ids.

        Also the server's run id, if the caller must still call `await_sync`.
        """
        coming_bytes = sum(len(event) + ENTRY_OVERHEAD_BYTES for _, _, event in entries)
        run_id, waits_for_disk = self._check.check_room(self.client, coming_bytes)
        must_wait = self._check.must_wait_for_disk(self.client)
        pipeline = self.client.pipeline(transaction=False)
        for shard, tenant, event in entries:
            pipeline.xadd(stream_key(shard), {"tenant": tenant, "event": event})
        if must_wait:
            pipeline.waitaof(1, 0, WAIT_FOR_DISK_MS)
        replies = pipeline.execute()
        if must_wait and int(replies[-1][0]) < 1:
            raise StreamUnavailable("the stream server did not confirm in time that the events are on disk")
        return replies[: len(entries)], None if waits_for_disk or not must_wait else run_id

    def _status(self, shard: int, position: Position) -> ShardStatus:
        look = self.look(shard)
        if not holds(position, look):
            position = from_oldest(look)
        lag = count_after(position, look)
        rows = [] if lag == 0 else self.client.xrange(stream_key(shard), min=f"({position.entry_id}", count=1)
        oldest = cast(list[Entry], rows)
        return ShardStatus(
            shard,
            look.length,
            position.in_doubt if lag is None else min(position.in_doubt, lag),
            lag,
            arrival(oldest[0][0].decode()) if oldest else None,
            None if position.begun_at is None else max(0.0, (datetime.now(UTC) - position.begun_at).total_seconds()),
        )


def _answer(reply: object) -> dict[str, Any]:
    """The reply to a command of a pipeline; raises it if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return cast(dict[str, Any], reply)
