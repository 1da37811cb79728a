"""Entries of the stream, the order of their ids, and the position up to which a shard's drains have applied them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from core.store.tenants import DEFAULT

# An entry as the server gives it: (entry id, fields); fields are None for a pending entry that was trimmed away.
Entry = tuple[bytes, dict[bytes, bytes] | None]
# An entry as a drain takes it: (entry id, tenant, event). No tenant is named where that is None; the event is None for
# a pending entry that was trimmed away.
RawEntry = tuple[bytes, bytes | None, bytes | None]
# An entry's id as what it is ordered by: (milliseconds, sequence).
BacklogPosition = tuple[int, int]

# What comes is not known in advance, so the first read of a batch is small, and the next are as large as what came
# allows.
READS_AT_FIRST = 100
READS_GROW_BY = 5
READ_BYTES_MOST = 16 * 2**20
_DEFAULT = DEFAULT.encode()
_USUAL = [b"tenant", b"event"]
_SEQUENCE_MOST = 2**64 - 1


class Position(NamedTuple):
    """The last entry that was taken, and what is known of those behind it.

    `is_in_progress`: a batch of them was begun and not finished. `lag`: how many there are by the server's
    count; None where it does not know, which it finds out by handing them out (`is_counted`).
    """

    entry_id: bytes
    is_in_progress: bool
    lag: int | None
    is_counted: bool

    @property
    def needs_care(self) -> bool:
        """Whether what lies behind is to be handed out."""
        return self.is_in_progress or not self.is_counted


def stream_key(shard: int) -> str:
    """The key that carries a shard."""
    return f"milepost:events:{shard}"


def in_progress_key(shard: int) -> str:
    """The key that holds the note of the batch that was begun last."""
    return f"milepost:begun:{shard}"


def place(entry_id: bytes | str) -> BacklogPosition:
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


def tenant_of(name: bytes | None) -> str:
    """The tenant by the name on an entry; `default` without one. What is not text cannot be a tenant's name."""
    if name is None or name == _DEFAULT:
        return DEFAULT
    return name.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def raw_entries(reply: Any, **_options: Any) -> list[RawEntry]:
    """Entries whose fields the server gives as one list of names and values in turn."""
    return [
        (entry_id, fields[1], fields[3])
        if len(fields) == 4 and fields[::2] == _USUAL
        else raw_entry(entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        for entry_id, fields in reply or ()
    ]


def raw_entry(entry_id: bytes, fields: dict[bytes, bytes] | None) -> RawEntry:
    """An entry by the mapping of its fields."""
    return (entry_id, fields.get(b"tenant"), fields.get(b"event", b"")) if fields else (entry_id, None, None)


def entries_of(reply: object) -> list[Entry]:
    """The entries of the one key that was read, whichever protocol version shaped the reply."""
    if not reply:
        return []
    rows: Any = reply
    if isinstance(rows, dict):
        (entries,) = rows.values()
        return list(entries[0]) if entries and isinstance(entries[0], list) else list(entries)
    return list(rows[0][1])


def up_to(count: int, read_some: Callable[[int, bytes | None], list[RawEntry]]) -> list[RawEntry]:
    """At most `count` entries of what `read_some` gives, by how many and behind which, and not many bytes too many."""
    entries: list[RawEntry] = []
    taken_bytes, largest_bytes = 0, 1
    while len(entries) < count and taken_bytes < READ_BYTES_MOST:
        fitting = (READ_BYTES_MOST - taken_bytes) // largest_bytes + 1
        wanted = min(max(READS_AT_FIRST, READS_GROW_BY * len(entries)), count - len(entries), fitting)
        some = read_some(wanted, entries[-1][0] if entries else None)
        entries += some
        sizes = [len(event) for _, _, event in some if event is not None]
        taken_bytes += sum(sizes)
        largest_bytes = max(largest_bytes, *sizes) if sizes else largest_bytes
        if len(some) < wanted:
            break
    return entries
