"""What the stream says about a shard's position: whether it still holds, and what is left after it."""

from typing import NamedTuple

from core.store.positions import BEGINNING, Position
from core.stream.entries import parse_id


class StreamLook(NamedTuple):
    """A shard's stream at one moment.

    `added` counts all entries that the server ever took, None where it does not count (before Redis 7); `newest` is the
    greatest id that it gave, and `last` the last entry that is there. `server` is the server's process, "" if it does
    not say.
    """

    length: int = 0
    added: int | None = 0
    newest: str = BEGINNING
    last: str | None = None
    server: str = ""


def holds(position: Position, look: StreamLook) -> bool:
    """Whether the stream still has the entry of this position behind it.

    It has not if the stream was flushed and begun anew, or if its server lost its last entries: then it may give their
    ids, and lesser ones, to new entries. It may have lost some whenever another process answers than before.
    """
    is_same_server = not position.server or not look.server or position.server == look.server
    return is_same_server and not is_behind(position, look)


def is_behind(position: Position, look: StreamLook) -> bool:
    """Whether the stream has certainly lost entries that were applied."""
    if parse_id(look.newest) < parse_id(position.entry_id):
        return True
    return look.added is not None and look.added < position.passed


def from_oldest(look: StreamLook) -> Position:
    """The position before the oldest entry that the stream has."""
    return Position(passed=max(0, (look.added or 0) - look.length), server=look.server)


def is_all_applied(position: Position, look: StreamLook) -> bool:
    """Whether no entry follows a position that holds."""
    return look.last is None or parse_id(look.last) <= parse_id(position.entry_id)


def count_after(position: Position, look: StreamLook) -> int | None:
    """How many entries follow a position that holds; None if the server does not count."""
    if is_all_applied(position, look):
        return 0
    if look.added is None:
        return None
    return min(max(1, look.added - position.passed), look.length)


def count_gone(position: Position, look: StreamLook) -> int:
    """How many entries went that no drain has read.

    As long as entries follow a position of the same server process, it is not known; it is once all are applied.
    """
    if look.added is None or position == Position() or is_behind(position, look):
        return 0
    if holds(position, look):
        return max(0, look.added - position.passed) if is_all_applied(position, look) else 0
    # All that the stream still has is read again; what is gone and was not passed was never read.
    return max(0, look.added - look.length - position.passed)
