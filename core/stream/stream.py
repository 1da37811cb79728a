"""The stream: where accepted events lie until they are applied. Redis protocol, one consumer group, one key a shard."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.retry import Retry

from core.errors import StreamUnavailable
from core.stream.position import (
    Entry,
    Position,
    RawEntry,
    entries_of,
    in_progress_key,
    move_position,
    place,
    raw_entries,
    raw_entry,
    read_position,
    reconcile_position,
    up_to,
)
from core.stream.server import StreamTooOld, await_sync, knows_waitaof, refusing_calmly, waits_for_disk
from core.stream.stats import BatchStats, add_to_stats, waiting_key

GROUP = "milepost"
SHARDS_MOST = 64
WAIT_FOR_DISK_MS = 5_000
APPENDS_AT_ONCE = 1_000
ASK_DURABILITY_EVERY_S = 60.0
# The queue of tasks lies on the same server: without room for its triggers nothing would drain or trim any more.
FULL_AT = 0.9
ENTRY_OVERHEAD_BYTES = 100


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """How one shard stands. `lag` is None where the server cannot tell; `oldest_at` is that of the first unapplied.

    `idle_s`: how long ago the oldest pending entry was handed out, None if nothing is pending.
    """

    shard: int
    length: int
    pending: int
    lag: int | None
    oldest_at: datetime | None
    idle_s: float | None = None

    @property
    def unapplied(self) -> int:
        """How many entries are not applied, at most: all that lie there where the server cannot tell."""
        return self.length if self.lag is None else self.lag + self.pending


def connect(redis_url: str) -> redis.Redis:
    """A client that connects when first used; a half-open socket stalls it for seconds, not minutes.

    A connection that the server dropped is opened anew once. A time-out is not tried again: the library's own ten
    tries would hold a caller for over a minute.
    """
    return redis.Redis.from_url(
        redis_url,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        socket_timeout=7,
        socket_connect_timeout=3,
        socket_keepalive=True,
        health_check_interval=30,
    )


def stream_key(shard: int) -> str:
    """The key that carries a shard."""
    return f"milepost:events:{shard}"


def shard_of(tenant: str, account_id: str, shards: int) -> int:
    """The shard of `shards` to which our own producers append an account's events; any other would do as well."""
    # A row that nobody understood may name half a surrogate pair; to spread by, anything will do.
    return zlib.crc32(f"{tenant}\x00{account_id}".encode("utf-8", "surrogatepass")) % shards


def arrival(entry_id: str) -> datetime:
    """When the stream took an entry: the milliseconds in front of its id, but never later than now.

    A producer may choose ids of its own, and the ids that the server chooses after such a one go on from there.
    """
    now = datetime.now(UTC)
    milliseconds = int(entry_id.partition("-")[0])
    return now if milliseconds >= now.timestamp() * 1000 else datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


class EventStream:
    """The shards of one Milepost, for producers and drains.

    `durability` says how an append knows that it is on disk: `always` (the server fsyncs before it answers),
    `waitaof` (asked for after each append, and waited for where that answer comes too early), `none` (not at all), or
    `auto`, which asks the server now and then.
    """

    def __init__(self, client: redis.Redis, shards: int, durability: str = "auto") -> None:
        self._client = client
        # The library makes a mapping of each entry's fields, which costs more than reading them.
        self._reader = redis.Redis(connection_pool=client.connection_pool)
        self._reader.set_response_callback("XRANGE", raw_entries)
        self.shards = shards
        self._durability = durability
        self._asked_at: float | None = None
        self._run_id: object = None
        self._answer = durability

    def append(self, tenant: str, events: Sequence[tuple[str, bytes]]) -> int:
        """Append (account id or "", event) pairs and return their number once they are on disk.

        Raises StreamUnavailable, in which case some may lie on the stream: sending them again changes nothing.
        """
        with refusing_calmly():
            parts = range(0, len(events), APPENDS_AT_ONCE)
            runs = [self._append_some(tenant, events[start : start + APPENDS_AT_ONCE]) for start in parts]
            for run_id in dict.fromkeys(filter(None, runs)):
                await_sync(self._client, run_id)
        return len(events)

    def _append_some(self, tenant: str, events: Sequence[tuple[str, bytes]]) -> str | None:
        """Append what one pipeline takes; the run of the server, where that it confirms is not yet enough."""
        run_id, is_truthful = self._look_at_server(sum(len(event) + ENTRY_OVERHEAD_BYTES for _, event in events))
        must_wait = self._must_wait_for_disk()
        pipeline = self._client.pipeline(transaction=False)
        for account_id, event in events:
            key = stream_key(shard_of(tenant, account_id, self.shards))
            pipeline.xadd(key, {"tenant": tenant, "event": event})
        if must_wait:
            pipeline.waitaof(1, 0, WAIT_FOR_DISK_MS)
        replies = pipeline.execute()
        if must_wait and int(replies[-1][0]) < 1:
            raise StreamUnavailable("the stream server did not confirm in time that the events are on disk")
        return None if is_truthful or not must_wait else run_id

    def _look_at_server(self, coming_bytes: int) -> tuple[str | None, bool]:
        """Refuse what would fill the server; its run, and whether it waits for its disk when it is asked to.

        A server that began anew may sync otherwise and is asked again.
        """
        try:
            found: dict[str, Any] = self._client.info("server", "memory")
        except ResponseError:
            return None, True  # a managed server that does not show its memory says so itself when it is full
        if found.get("run_id") != self._run_id:
            self._run_id, self._asked_at = found.get("run_id"), None
        limit = found.get("maxmemory", 0)
        if limit and found["used_memory"] + coming_bytes > limit * FULL_AT:
            raise StreamUnavailable("the stream is full")
        return found.get("run_id"), waits_for_disk(found)

    def _must_wait_for_disk(self) -> bool:
        """Whether an append must be confirmed. A server may be set up anew, or another may take its place."""
        now = time.monotonic()
        is_due = self._asked_at is None or now - self._asked_at > ASK_DURABILITY_EVERY_S
        if self._durability == "auto" and is_due:
            self._answer = self._ask_durability()
            self._asked_at = now
        return self._answer == "waitaof"

    def _ask_durability(self) -> str:
        try:
            config = cast(dict[str, str], self._client.config_get("append*"))
        except ResponseError:
            return "waitaof"  # a managed server that does not show its settings still answers WAITAOF
        if config.get("appendonly") != "yes":
            raise StreamUnavailable(
                "the stream server keeps no append-only file: turn it on, or set MILEPOST_STREAM_DURABILITY=none"
            )
        if config.get("appendfsync") == "no":
            raise StreamUnavailable(
                "the stream server never syncs its append-only file: set appendfsync to always or everysec"
            )
        return "always" if config.get("appendfsync") == "always" else "waitaof"

    def require_waitaof(self) -> None:
        """Raise StreamTooOld if the server answers, appends must be confirmed, and it cannot confirm them.

        Whatever else is wrong with it is told by an append.
        """
        with suppress(StreamUnavailable), refusing_calmly():
            if self._must_wait_for_disk() and not knows_waitaof(self._client):
                raise StreamTooOld

    def ping(self) -> None:
        """Raises StreamUnavailable if the server does not answer."""
        with refusing_calmly():
            self._client.ping()

    def ensure_group(self, shard: int) -> None:
        """Make the shard's key and consumer group if they are not there.

        The server is told how many entries are gone already, so that it can tell how many are left to be read.
        """
        key = stream_key(shard)
        gone = 0
        if self._client.exists(key):
            reported: dict[str, Any] = self._client.xinfo_stream(key)
            gone = max(0, int(reported.get("entries-added", 0)) - int(reported["length"]))
        try:
            self._client.xgroup_create(key, GROUP, id="0", mkstream=True, entries_read=gone)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def position(self, shard: int) -> Position:
        """Where the shard's drains stand."""
        try:
            found = read_position(self._client, stream_key(shard), GROUP, shard)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            found = None
        if found is None:
            self.ensure_group(shard)
            return self.position(shard)
        return found

    def read_after(self, shard: int, behind: bytes, count: int) -> list[RawEntry]:
        """The entries behind one, in order, as many as `read` would give. Takes nothing."""

        def read_some(wanted: int, last: bytes | None) -> list[RawEntry]:
            start = f"({(last or behind).decode()}"
            return cast(list[RawEntry], self._reader.xrange(stream_key(shard), min=start, count=wanted))

        return up_to(count, read_some)

    def note_in_progress(self, shard: int, entry_id: bytes) -> bool:
        """Note that a batch up to this id is begun, see core.stream.position; False if the server is full."""
        try:
            self._client.set(in_progress_key(shard), entry_id)
        except OutOfMemoryError:
            return False
        return True

    def reconcile(self, shard: int, at: bytes) -> int:
        """Take note that nothing lies behind `at`, if the position is there; how many entries went unread."""
        return reconcile_position(self._client, stream_key(shard), GROUP, shard, at)

    def advance(
        self,
        shard: int,
        behind: bytes,
        last: bytes,
        entries: int,
        *,
        next_last: bytes | None = None,
        batch: BatchStats | None = None,
    ) -> bool:
        """Move the position from `behind` to the last of so many applied entries; False if it is elsewhere now.

        If it moves, `next_last` notes that the batch up to there is begun. The batch is added to the shard's figures,
        as `acknowledge` does.
        """
        pipeline = self._client.pipeline(transaction=False)
        move_position(pipeline, stream_key(shard), GROUP, shard, behind, last, entries, next_last)
        return bool(self._reported(pipeline, shard, batch))

    def read(self, shard: int, count: int, *, pending: bool) -> list[RawEntry]:
        """Take entries for the shard's one consumer: those a crash left (`pending`), or the next new ones.

        The server notes an entry as pending in the same step as it hands it out. At most `count` entries, and not
        many more bytes than a process can hold with ease.
        """

        def read_some(wanted: int, last: bytes | None) -> list[RawEntry]:
            return self._take_some(shard, wanted, (b"0" if last is None else last).decode() if pending else ">")

        return up_to(count, read_some)

    def _take_some(self, shard: int, count: int, start: str) -> list[RawEntry]:
        key = stream_key(shard)
        try:
            reply = self._client.xreadgroup(GROUP, f"drain-{shard}", {key: start}, count=count)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self.ensure_group(shard)
            return self._take_some(shard, count, start)
        return [raw_entry(entry_id, fields) for entry_id, fields in entries_of(reply)]

    def acknowledge(self, shard: int, entry_ids: Sequence[bytes], batch: BatchStats | None = None) -> None:
        """Tell the server that entries are applied and committed, and add the batch to the shard's figures.

        Figures that the server refuses (it is full, say) are let go: they must not hold up the events.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xack(stream_key(shard), GROUP, *entry_ids)
        self._reported(pipeline, shard, batch)

    def _reported(self, pipeline: Pipeline, shard: int, batch: BatchStats | None) -> object:
        """Send what is on the pipeline, and a batch's figures; the reply to the first command, which must not fail."""
        if batch is not None:
            add_to_stats(pipeline, shard, batch)
        reply = pipeline.execute(raise_on_error=False)[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def wait(self, shard: int, timeout_ms: int) -> bool:
        """Wait for an entry that no drain has read yet; whether there is one. Takes nothing."""
        key = stream_key(shard)
        last = self._last_delivered(key)
        return bool(entries_of(self._client.xread({key: last}, count=1, block=timeout_ms)))

    def claim_wait(self, shard: int, milliseconds: int) -> bool:
        """Become the one that waits on a shard, for at most that long; False if another does."""
        return bool(self._client.set(waiting_key(shard), "1", nx=True, px=milliseconds))

    def release_wait(self, shard: int) -> None:
        """Let another wait. Losing this costs a moment of latency, never an event."""
        self._client.delete(waiting_key(shard))

    def note_attempt(self, shard: int, entry_id: bytes) -> int:
        """Count an attempt at an entry on its own; how many there were, this one included."""
        key = f"milepost:attempts:{shard}"
        attempts = int(self._client.hincrby(key, entry_id.decode(), 1))
        self._client.expire(key, 86_400)
        return attempts

    def forget_attempts(self, shard: int, entry_id: bytes) -> None:
        """Forget the attempts at an entry, since it went through or failed for another's fault."""
        self._client.hdel(f"milepost:attempts:{shard}", entry_id.decode())

    def deliveries(self, shard: int, count: int) -> dict[bytes, int]:
        """How often each of the oldest pending entries was handed out."""
        try:
            rows = self._client.xpending_range(stream_key(shard), GROUP, min="-", max="+", count=count)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            return {}  # nothing was ever read from this shard
        return {row["message_id"]: int(row["times_delivered"]) for row in cast(list[dict[str, Any]], rows)}

    def pending_entry(self, shard: int, entry_id: bytes) -> RawEntry | None:
        """One entry, if it is still pending; without an event if the stream dropped it."""
        key, name = stream_key(shard), entry_id.decode()
        if not self._client.xpending_range(key, GROUP, min=name, max=name, count=1):
            return None
        rows = cast(list[RawEntry], self._reader.xrange(key, min=name, max=name))
        return rows[0] if rows else (entry_id, None, None)

    def existing_shards(self) -> list[int]:
        """The configured shards, and those left over from a time when there were more."""
        beyond = [n for n in range(self.shards, SHARDS_MOST) if self._client.exists(stream_key(n))]
        return [*range(self.shards), *beyond]

    def trim(self, shard: int) -> int:
        """Drop entries below the oldest pending one and below the last one read; how many went."""
        key = stream_key(shard)
        return int(self._client.xtrim(key, minid=self._first_unapplied(key), approximate=False))

    def ends(self) -> dict[int, str]:
        """The id of the last entry of every shard that has any."""
        with refusing_calmly():
            keys = {shard: stream_key(shard) for shard in self.existing_shards()}
            found = {shard: self._client.xrevrange(key, count=1) for shard, key in keys.items()}
        return {shard: cast(list[Entry], rows)[0][0].decode() for shard, rows in found.items() if rows}

    def is_applied(self, shard: int, entry_id: str) -> bool:
        """Whether an entry, and with it every one before it, is applied."""
        with refusing_calmly():
            first = self._first_unapplied(stream_key(shard))
        return place(entry_id) < place(first)

    def status(self) -> list[ShardStatus]:
        """How every shard stands."""
        with refusing_calmly():
            return [self._status(shard) for shard in self.existing_shards()]

    def _status(self, shard: int) -> ShardStatus:
        key = stream_key(shard)
        group = self._group(key)
        oldest = self._oldest_entry_from(key, self._first_unapplied(key))
        lag = None if group is None else group.get("lag")
        return ShardStatus(
            shard,
            int(self._client.xlen(key)),
            0 if group is None else int(group["pending"]),
            None if lag is None else int(lag),
            arrival(oldest) if oldest else None,
            self._idle_s(key) if group is not None and group["pending"] else None,
        )

    def _idle_s(self, key: str) -> float | None:
        rows = cast(list[dict[str, Any]], self._client.xpending_range(key, GROUP, min="-", max="+", count=1))
        return int(rows[0]["time_since_delivered"]) / 1000 if rows else None

    def _oldest_entry_from(self, key: str, first: str) -> str | None:
        rows = cast(list[Entry], self._client.xrange(key, min=first, count=1))
        return rows[0][0].decode() if rows else None

    def _first_unapplied(self, key: str) -> str:
        """The least id that may still have to be applied: the oldest pending, else the one after the last read."""
        group = self._group(key)
        if group is None:
            return "0-0"
        oldest = self._client.xpending(key, GROUP)
        if oldest["pending"]:
            return cast(bytes, oldest["min"]).decode()
        milliseconds, _, sequence = cast(bytes, group["last-delivered-id"]).decode().partition("-")
        return f"{milliseconds}-{int(sequence) + 1}"

    def _last_delivered(self, key: str) -> str:
        group = self._group(key)
        return "0" if group is None else cast(bytes, group["last-delivered-id"]).decode()

    def _group(self, key: str) -> dict[str, Any] | None:
        try:
            groups = self._client.xinfo_groups(key)
        except ResponseError:
            return None  # no such key yet
        return next((group for group in groups if group["name"] == GROUP.encode()), None)
