"""The consumer group of a shard: its position, and the entries that were delivered and are not acknowledged."""

from collections.abc import Sequence
from typing import Any, cast

import redis
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError, ResponseError

from core.stream.position import (
    EntryOrder,
    Position,
    RawEntry,
    entries_of,
    in_progress_key,
    parse_id,
    raw_entries,
    raw_entry,
    stream_key,
    up_to,
)
from core.stream.stats import BatchStats, add_to_stats

GROUP = "milepost"
PENDING_AT_ONCE = 512
_KEEP_ATTEMPTS_S = 86_400

# Both scripts do nothing unless the group's position is still where the caller saw it.
_FIND_GROUP = """
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
local function as_table(row)
    local fields = {}
    for i = 1, #row, 2 do
        fields[row[i]] = row[i + 1]
    end
    return fields
end
local group
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local each = as_table(row)
    if each['name'] == ARGV[1] and each['last-delivered-id'] == ARGV[2] then
        group = each
    end
end
if not group then
    return 0
end
"""
# The script moves the group's position and its count of entries read, from which the server computes how many are left.
# It moves only to an entry that exists: a server that lost its last second, and whose clock was set back, gives smaller
# ids to the next entries, and a position beyond them would skip them. A full server refuses the note of the next batch,
# which does not matter: the note is for a batch whose reading fails, and that batch has been read by then.
_MOVE = (
    _FIND_GROUP
    + """
if #redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3]) == 0 then
    return 0
end
if group['entries-read'] then
    local read = string.format('%.0f', group['entries-read'] + ARGV[4])
    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[3], 'ENTRIESREAD', read)
else
    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[3])
end
if ARGV[5] ~= '' then
    redis.pcall('SET', KEYS[2], ARGV[5])
end
return 1
"""
)
# With no entry after the position no batch can be in progress, and every entry that was added is applied or gone.
_RECONCILE = (
    _FIND_GROUP
    + """
if #redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', 1) > 0 then
    return 0
end
local stream = as_table(redis.call('XINFO', 'STREAM', KEYS[1]))
local added = string.format('%.0f', stream['entries-added'])
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], stream['last-generated-id'], 'ENTRIESREAD', added)
redis.call('DEL', KEYS[2])
return group['entries-read'] and stream['entries-added'] - group['entries-read'] or 0
"""
)


class ConsumerGroup:
    """What a drain does with the group of a shard: read its position and move it, or read entries and acknowledge them.

    An entry that is read by the group is pending until it is acknowledged, and the server counts its deliveries.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        # The library turns each entry's fields into a mapping, which takes longer than reading them.
        self._reader = redis.Redis(connection_pool=client.connection_pool)
        self._reader.set_response_callback("XRANGE", raw_entries)

    def ensure_group(self, shard: int) -> None:
        """Make the shard's key and consumer group if they are not there.

        The server gets the number of entries that are gone already, so that it knows how many are left to be read.
        """
        key = stream_key(shard)
        gone = 0
        if self._client.exists(key):
            stream: dict[str, Any] = self._client.xinfo_stream(key)
            gone = max(0, int(stream.get("entries-added", 0)) - int(stream["length"]))
        try:
            self._client.xgroup_create(key, GROUP, id="0", mkstream=True, entries_read=gone)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def position(self, shard: int) -> Position:
        """The position of the shard's drains."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xinfo_groups(stream_key(shard))
        pipeline.get(in_progress_key(shard))
        try:
            groups, noted = pipeline.execute()
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            groups, noted = [], None
        group = _our_group(groups)
        if group is None:
            self.ensure_group(shard)
            return self.position(shard)
        last = cast(bytes, group["last-delivered-id"])
        is_in_progress = noted is not None and parse_id(noted) > parse_id(last)
        return Position(last, is_in_progress, group.get("lag"), group.get("entries-read") is not None)

    def note_in_progress(self, shard: int, entry_id: bytes) -> bool:
        """Note that a batch up to this id is in progress, see Position; False if the server is full."""
        try:
            self._client.set(in_progress_key(shard), entry_id)
        except OutOfMemoryError:
            return False
        return True

    def reconcile(self, shard: int, at: bytes) -> int:
        """Correct the server's count if the position is `at` and no entry is after it.

        Returns how many entries are gone that no drain has read.
        """
        return int(cast(int, self._client.eval(_RECONCILE, 2, stream_key(shard), in_progress_key(shard), GROUP, at)))

    def advance(
        self,
        shard: int,
        after: bytes,
        last: bytes,
        entries: int,
        *,
        next_last: bytes | None = None,
        batch: BatchStats | None = None,
    ) -> bool:
        """Move the position from `after` to `last`, the last of so many applied entries; False if it is elsewhere now.

        If it moves, the batch up to `next_last` is noted as in progress. `batch` is added to the shard's stats, as
        `acknowledge` does.
        """
        pipeline = self._client.pipeline(transaction=False)
        keys = stream_key(shard), in_progress_key(shard)
        pipeline.eval(_MOVE, 2, *keys, GROUP, after, last, entries, next_last or b"")
        return bool(_send(pipeline, shard, batch))

    def read(self, shard: int, count: int, *, pending: bool) -> list[RawEntry]:
        """Read entries as the shard's one consumer: those that a crash left (`pending`), or the next new ones.

        The server marks an entry as pending in the same step in which it delivers it. Returns at most `count` entries,
        and little more than READ_BYTES_MOST bytes.
        """

        def read_some(wanted: int, last: bytes | None) -> list[RawEntry]:
            return self._read_some(shard, wanted, (b"0" if last is None else last).decode() if pending else ">")

        return up_to(count, read_some)

    def acknowledge(self, shard: int, entry_ids: Sequence[bytes], batch: BatchStats | None = None) -> None:
        """Tell the server that entries are applied and committed, and add the batch to the shard's stats.

        If the server refuses the stats (because it is full, say), they are dropped: they must not hold up the events.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xack(stream_key(shard), GROUP, *entry_ids)
        _send(pipeline, shard, batch)

    def deliveries(self, shard: int, count: int) -> dict[bytes, int]:
        """How often each of the oldest pending entries was delivered."""
        try:
            rows = self._client.xpending_range(stream_key(shard), GROUP, min="-", max="+", count=count)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            return {}  # nothing was ever read from this shard
        return {row["message_id"]: int(row["times_delivered"]) for row in cast(list[dict[str, Any]], rows)}

    def pending_entry(self, shard: int, entry_id: bytes) -> RawEntry | None:
        """An entry if it is still pending, without its event if the stream dropped it; else None."""
        key, name = stream_key(shard), entry_id.decode()
        if not self._client.xpending_range(key, GROUP, min=name, max=name, count=1):
            return None
        rows = cast(list[RawEntry], self._reader.xrange(key, min=name, max=name))
        return rows[0] if rows else (entry_id, None, None)

    def note_attempt(self, shard: int, entry_id: bytes) -> int:
        """Count an attempt to apply an entry alone, and return how many there were, including this one."""
        key = _attempts_key(shard)
        attempts = int(self._client.hincrby(key, entry_id.decode(), 1))
        self._client.expire(key, _KEEP_ATTEMPTS_S)
        return attempts

    def forget_attempts(self, shard: int, entry_id: bytes) -> None:
        """Forget the attempts to apply an entry, because it was applied or because the failure was not its fault."""
        self._client.hdel(_attempts_key(shard), entry_id.decode())

    def _read_some(self, shard: int, count: int, start: str) -> list[RawEntry]:
        key = stream_key(shard)
        try:
            reply = self._client.xreadgroup(GROUP, f"drain-{shard}", {key: start}, count=count)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self.ensure_group(shard)
            return self._read_some(shard, count, start)
        return [raw_entry(entry_id, fields) for entry_id, fields in entries_of(reply)]


def find_group(client: redis.Redis, key: str) -> dict[str, Any] | None:
    """What the server reports about a shard's group; None where there is no such key or group."""
    try:
        groups = client.xinfo_groups(key)
    except ResponseError:
        return None  # no such key yet
    return _our_group(groups)


def first_unapplied(client: redis.Redis, key: str) -> str:
    """The least id that may not be applied: the oldest pending one, else the one after the last that was read."""
    group = find_group(client, key)
    if group is None:
        return "0-0"
    oldest = client.xpending(key, GROUP)
    if oldest["pending"]:
        return cast(bytes, oldest["min"]).decode()
    milliseconds, _, sequence = cast(bytes, group["last-delivered-id"]).decode().partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"


def last_delivered(client: redis.Redis, key: str) -> str:
    """The id of the last entry that is applied or was delivered; 0 if there is none."""
    group = find_group(client, key)
    return "0" if group is None else cast(bytes, group["last-delivered-id"]).decode()


def position_of(client: redis.Redis, key: str) -> EntryOrder | None:
    """The last entry that is applied or was delivered; None before the first drain of the shard."""
    try:
        groups = client.xinfo_groups(key)
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        return None
    group = _our_group(groups)
    return None if group is None else parse_id(group["last-delivered-id"])


def idle_s(client: redis.Redis, key: str) -> float | None:
    """How long ago the oldest pending entry was delivered; None if nothing is pending."""
    rows = cast(list[dict[str, Any]], client.xpending_range(key, GROUP, min="-", max="+", count=1))
    return int(rows[0]["time_since_delivered"]) / 1000 if rows else None


def delivery_counts(client: redis.Redis, key: str, first: str, last: str) -> dict[str, int]:
    """How often each pending entry of a range was delivered."""
    found: dict[str, int] = {}
    start = first
    while True:
        rows = cast(list[dict[str, Any]], client.xpending_range(key, GROUP, min=start, max=last, count=PENDING_AT_ONCE))
        found |= {row["message_id"].decode(): int(row["times_delivered"]) for row in rows}
        if len(rows) < PENDING_AT_ONCE:
            return found
        start = f"({rows[-1]['message_id'].decode()}"


def _attempts_key(shard: int) -> str:
    return f"milepost:attempts:{shard}"


def _our_group(groups: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return next((group for group in groups if group["name"] == GROUP.encode()), None)


def _send(pipeline: Pipeline, shard: int, batch: BatchStats | None) -> object:
    """Send the pipeline and a batch's stats, and return the reply to the first command; only its error is raised."""
    if batch is not None:
        add_to_stats(pipeline, shard, batch)
    reply = pipeline.execute(raise_on_error=False)[0]
    if isinstance(reply, Exception):
        raise reply
    return reply
