"""How far a shard's drains are: the position of its consumer group, which moves by a whole batch at once.

What lies at or before the position is applied, or pending in the group. A drain reads behind it without taking
anything, and moves it when the batch is committed: one short command, where handing out and acknowledging cost the
server a note for each entry. That a batch is begun is noted by an entry id behind the position, so that a drain that
finds such a note knows that a batch came to no end, and has what lies there handed out one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import redis
from redis.client import Pipeline

# Both scripts go on only where the group still stands where the caller saw it.
_STANDS = """
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
local function told(row)
    local found = {}
    for i = 1, #row, 2 do
        found[row[i]] = row[i + 1]
    end
    return found
end
local group
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local each = told(row)
    if each['name'] == ARGV[1] and each['last-delivered-id'] == ARGV[2] then
        group = each
    end
end
if not group then
    return 0
end
"""
# With the group's place moves the count of entries read, by which the server tells how many are left. It moves only
# to an entry that is there: a server that lost its last second and whose clock was set back gives smaller ids to what
# comes next, and a place beyond them would pass them over. A full server takes no note; the batch is read by then,
# which is what the note is about.
_MOVE = (
    _STANDS
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
# Where nothing lies behind the position, no batch can be begun, and whatever was added is applied or gone.
_SETTLE = (
    _STANDS
    + """
if #redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', 1) > 0 then
    return 0
end
local stream = told(redis.call('XINFO', 'STREAM', KEYS[1]))
local added = string.format('%.0f', stream['entries-added'])
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], stream['last-generated-id'], 'ENTRIESREAD', added)
redis.call('DEL', KEYS[2])
return group['entries-read'] and stream['entries-added'] - group['entries-read'] or 0
"""
)
_SEQUENCE_MOST = 2**64 - 1


class Position(NamedTuple):
    """The last entry that was taken, and what is known of those behind it.

    `is_begun`: a batch of them was begun, and is in work or came to no end. `lag`: how many there are by the server's
    count; None where it does not know, which it finds out by handing them out (`is_counted`).
    """

    entry_id: bytes
    is_begun: bool
    lag: int | None
    is_counted: bool

    @property
    def needs_care(self) -> bool:
        """Whether what lies behind is to be handed out."""
        return self.is_begun or not self.is_counted


def begun_key(shard: int) -> str:
    """The key that holds the note of the batch that was begun last."""
    return f"milepost:begun:{shard}"


def read_position(client: redis.Redis, key: str, group: str, shard: int) -> Position | None:
    """Where a shard's group stands; None if there is no such group. Raises ResponseError if there is no such key."""
    pipeline = client.pipeline(transaction=False)
    pipeline.xinfo_groups(key)
    pipeline.get(begun_key(shard))
    groups, begun = pipeline.execute()
    told: dict[str, Any] | None = next((each for each in groups if each["name"] == group.encode()), None)
    if told is None:
        return None
    last = cast(bytes, told["last-delivered-id"])
    is_begun = begun is not None and place(begun) > place(last)
    return Position(last, is_begun, told.get("lag"), told.get("entries-read") is not None)


def move_position(
    pipeline: Pipeline,
    key: str,
    group: str,
    shard: int,
    behind: bytes,
    to: bytes,
    entries: int,
    next_last: bytes | None,
) -> None:
    """Put onto a pipeline what moves a group from one entry to another: 1, or 0 if it is elsewhere by now.

    If it moves, `next_last` is noted as begun.
    """
    pipeline.eval(_MOVE, 2, key, begun_key(shard), group, behind, to, entries, next_last or b"")


def settle_position(client: redis.Redis, key: str, group: str, shard: int, at: bytes) -> int:
    """Take note that nothing lies behind the position, if that is so; how many entries went from there unread."""
    return int(cast(int, client.eval(_SETTLE, 2, key, begun_key(shard), group, at)))


def place(entry_id: bytes | str) -> tuple[int, int]:
    """An entry's id as what it is ordered by. Raises ValueError for what is none."""
    name = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = name.partition("-")
    return int(milliseconds), int(sequence or 0)


def successor(entry_id: bytes) -> bytes:
    """The least id behind one."""
    milliseconds, sequence = place(entry_id)
    if sequence == _SEQUENCE_MOST:
        return f"{milliseconds + 1}-0".encode()
    return f"{milliseconds}-{sequence + 1}".encode()
