"""The stream of accepted events that are not applied yet. Redis protocol, one consumer group, a key per shard."""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from core.errors import StreamUnavailable
from core.stream.group import ConsumerGroup, find_group, first_unapplied, idle_s, last_delivered
from core.stream.position import Entry, RawEntry, entries_of, parse_id, stream_key, up_to
from core.stream.server import DurabilityCheck, StreamTooOld, await_sync, knows_waitaof, raising_stream_unavailable
from core.stream.stats import waiting_key

SHARDS_MOST = 64
WAIT_FOR_DISK_MS = 5_000
APPENDS_AT_ONCE = 1_000
ENTRY_OVERHEAD_BYTES = 100


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """The state of one shard: its entries, how many of them are pending, and how many no drain has read (`lag`).

    `lag` is None where the server does not know it. `oldest_at`: when the stream took the first unapplied entry.
    `idle_s`: how long ago the oldest pending entry was delivered, None if nothing is pending.
    """

    shard: int
    length: int
    pending: int
    lag: int | None
    oldest_at: datetime | None
    idle_s: float | None = None

    @property
    def unapplied(self) -> int:
        """How many entries are not applied, at most: all that the stream has where the server does not know the lag."""
        return self.length if self.lag is None else self.lag + self.pending


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


class EventStream(ConsumerGroup):
    """The shards of one Milepost: producers append to them, drains read them, sweeps trim them, people see their state.

    ConsumerGroup has what a drain does with the consumer group. `durability`: see DurabilityCheck.
    """

    def __init__(self, client: redis.Redis, shards: int, durability: str = "auto") -> None:
        super().__init__(client)
        self.shards = shards
        self._check = DurabilityCheck(durability)

    def append(self, tenant: str, events: Sequence[tuple[str, bytes]]) -> int:
        """Append (account id or "", event) pairs and return their number once they are on disk.

        Raises StreamUnavailable. Some of the events may be on the stream then; sending them again changes nothing.
        """
        with raising_stream_unavailable():
            parts = range(0, len(events), APPENDS_AT_ONCE)
            runs = [self._append_some(tenant, events[start : start + APPENDS_AT_ONCE]) for start in parts]
            for run_id in dict.fromkeys(filter(None, runs)):
                await_sync(self._client, run_id)
        return len(events)

    def require_waitaof(self) -> None:
        """Raise StreamTooOld if the server answers, appends must be confirmed, and it cannot confirm them.

        An append reports whatever else is wrong with the server.
        """
        with suppress(StreamUnavailable), raising_stream_unavailable():
            if self._check.must_wait_for_disk(self._client) and not knows_waitaof(self._client):
                raise StreamTooOld

    def ping(self) -> None:
        """Raise StreamUnavailable if the server does not answer."""
        with raising_stream_unavailable():
            self._client.ping()

    def read_after(self, shard: int, after: bytes, count: int) -> list[RawEntry]:
        """The entries after one, in order, as many as `read` would return. They do not become pending."""

        def read_some(wanted: int, last: bytes | None) -> list[RawEntry]:
            start = f"({(last or after).decode()}"
            return cast(list[RawEntry], self._reader.xrange(stream_key(shard), min=start, count=wanted))

        return up_to(count, read_some)

    def wait(self, shard: int, timeout_ms: int) -> bool:
        """Wait for an entry that no drain has read yet, and return whether there is one. It does not become pending."""
        key = stream_key(shard)
        last = last_delivered(self._client, key)
        return bool(entries_of(self._client.xread({key: last}, count=1, block=timeout_ms)))

    def claim_wait(self, shard: int, milliseconds: int) -> bool:
        """Become the drain that waits on a shard, for at most so long; False if another drain does."""
        return bool(self._client.set(waiting_key(shard), "1", nx=True, px=milliseconds))

    def release_wait(self, shard: int) -> None:
        """Let another drain wait. If this call is lost, an event may be applied a moment later, but none is lost."""
        self._client.delete(waiting_key(shard))

    def existing_shards(self) -> list[int]:
        """The configured shards, and those that still exist from a time when more were configured."""
        beyond = [n for n in range(self.shards, SHARDS_MOST) if self._client.exists(stream_key(n))]
        return [*range(self.shards), *beyond]

    def trim(self, shard: int) -> int:
        """Drop the entries that are applied, which are all before the first unapplied one; returns how many."""
        key = stream_key(shard)
        return int(self._client.xtrim(key, minid=first_unapplied(self._client, key), approximate=False))

    def ends(self) -> dict[int, str]:
        """The id of the last entry of every shard that has any."""
        with raising_stream_unavailable():
            keys = {shard: stream_key(shard) for shard in self.existing_shards()}
            found = {shard: self._client.xrevrange(key, count=1) for shard, key in keys.items()}
        return {shard: cast(list[Entry], rows)[0][0].decode() for shard, rows in found.items() if rows}

    def is_applied(self, shard: int, entry_id: str) -> bool:
        """Whether an entry and every entry before it is applied."""
        with raising_stream_unavailable():
            first = first_unapplied(self._client, stream_key(shard))
        return parse_id(entry_id) < parse_id(first)

    def status(self) -> list[ShardStatus]:
        """The state of every shard."""
        with raising_stream_unavailable():
            return [self._status(shard) for shard in self.existing_shards()]

    def _append_some(self, tenant: str, events: Sequence[tuple[str, bytes]]) -> str | None:
        """Append the events in one pipeline. Returns the server's run id if the caller must still call `await_sync`."""
        coming_bytes = sum(len(event) + ENTRY_OVERHEAD_BYTES for _, event in events)
        run_id, waits_for_disk = self._check.check_room(self._client, coming_bytes)
        must_wait = self._check.must_wait_for_disk(self._client)
        pipeline = self._client.pipeline(transaction=False)
        for account_id, event in events:
            key = stream_key(shard_of(tenant, account_id, self.shards))
            pipeline.xadd(key, {"tenant": tenant, "event": event})
        if must_wait:
            pipeline.waitaof(1, 0, WAIT_FOR_DISK_MS)
        replies = pipeline.execute()
        if must_wait and int(replies[-1][0]) < 1:
            raise StreamUnavailable("the stream server did not confirm in time that the events are on disk")
        return None if waits_for_disk or not must_wait else run_id

    def _status(self, shard: int) -> ShardStatus:
        key = stream_key(shard)
        group = find_group(self._client, key)
        oldest = self._oldest_entry_from(key, first_unapplied(self._client, key))
        lag = None if group is None else group.get("lag")
        return ShardStatus(
            shard,
            int(self._client.xlen(key)),
            0 if group is None else int(group["pending"]),
            None if lag is None else int(lag),
            arrival(oldest) if oldest else None,
            idle_s(self._client, key) if group is not None and group["pending"] else None,
        )

    def _oldest_entry_from(self, key: str, first: str) -> str | None:
        rows = cast(list[Entry], self._client.xrange(key, min=first, count=1))
        return rows[0][0].decode() if rows else None
