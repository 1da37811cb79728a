"""How far a shard's drains are: the position of its consumer group, which moves by a whole batch at once.

What lies at or before the position is applied, or pending in the group. A drain reads behind it without taking
anything, and moves it when the batch is committed: one short command, where handing out and acknowledging cost the
server a note for each entry. A batch that is begun is noted by its last entry, so that a drain that finds the position
before that note knows that the batch came to no end, and has its entries handed out one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import redis
from redis.client import Pipeline

# The group's place moves only if nobody else moved it meanwhile, and with it the count of entries read, by which the
# server tells how many are left. And only to an entry that is there: a server that lost its last second and whose clock
# was set back gives smaller ids to what comes next, and a place beyond them would pass them over.
_MOVE = """
if #redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3]) == 0 then
    return 0
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local told = {}
    for i = 1, #group, 2 do
        told[group[i]] = group[i + 1]
    end
    if told['name'] == ARGV[1] and told['last-delivered-id'] == ARGV[2] then
        if told['entries-read'] then
            local read = string.format('%.0f', told['entries-read'] + ARGV[4])
            redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[3], 'ENTRIESREAD', read)
        else
            redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[3])
        end
        return 1
    end
end
return 0
"""


class Position(NamedTuple):
    """The last entry that was taken, and whether those behind it are to be handed out one by one.

    They are where a batch of them was begun and came to no end, and where the server does not know how many were read,
    which it finds out by handing out.
    """

    entry_id: bytes
    needs_care: bool


def begun_key(shard: int) -> str:
    """The key that holds the last entry of the batch that was begun last."""
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
    return Position(last, is_begun or told.get("entries-read") is None)


def move_position(pipeline: Pipeline, key: str, group: str, behind: bytes, to: bytes, entries: int) -> None:
    """Put onto a pipeline what moves a group from one entry to another: 1, or 0 if it is elsewhere by now."""
    pipeline.eval(_MOVE, 1, key, group, behind, to, entries)


def note_begun(client: redis.Redis | Pipeline, shard: int, last: bytes) -> None:
    """Note that a batch up to this entry is begun."""
    client.set(begun_key(shard), last)


def place(entry_id: bytes | str) -> tuple[int, int]:
    """An entry's id as what it is ordered by. Raises ValueError for what is none."""
    name = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = name.partition("-")
    return int(milliseconds), int(sequence or 0)
