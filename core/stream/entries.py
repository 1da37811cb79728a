"""Entries of the stream as the server gives them, the order of their ids, and reading many of them in several reads."""

from collections.abc import Callable
from typing import Any

from core.store.tenants import DEFAULT

# An entry as the server gives it: (entry id, fields).
Entry = tuple[bytes, dict[bytes, bytes]]
# An entry as a drain reads it: (entry id, tenant, event). The tenant is None if the entry names none.
RawEntry = tuple[bytes, bytes | None, bytes]
# What orders an entry's id: (milliseconds, sequence).
EntryOrder = tuple[int, int]

# The size of entries is not known in advance, so the first read of a batch is small, and the entries that it returns
# decide how large the next reads may be.
READS_AT_FIRST = 100
READS_GROW_BY = 5
READ_BYTES_MOST = 16 * 2**20
_DEFAULT = DEFAULT.encode()
_USUAL = [b"tenant", b"event"]
_SEQUENCE_MOST = 2**64 - 1


def stream_key(shard: int) -> str:
    """The key of a shard's stream."""
    return f"milepost:events:{shard}"


def parse_id(entry_id: bytes | str) -> EntryOrder:
    """The milliseconds and the sequence of an entry's id. Raises ValueError for any other text."""
    name = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = name.partition("-")
    return int(milliseconds), int(sequence or 0)


def successor(entry_id: str) -> str:
    """The least id after this one."""
    milliseconds, sequence = parse_id(entry_id)
    if sequence == _SEQUENCE_MOST:
        return f"{milliseconds + 1}-0"
    return f"{milliseconds}-{sequence + 1}"


def tenant_of(name: bytes | None) -> str:
    """The tenant that an entry names, `default` if it names none. Bytes that no tenant's name can have are replaced."""
    if name is None or name == _DEFAULT:
        return DEFAULT
    return name.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def raw_entries(reply: Any, **_options: Any) -> list[RawEntry]:
    """Entries from a reply that lists the names and values of their fields in turn."""
    return [
        (entry_id, fields[1], fields[3])
        if len(fields) == 4 and fields[::2] == _USUAL
        else raw_entry(entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        for entry_id, fields in reply or ()
    ]


def raw_entry(entry_id: bytes, fields: dict[bytes, bytes]) -> RawEntry:
    """An entry from the mapping of its fields."""
    return entry_id, fields.get(b"tenant"), fields.get(b"event", b"")


def entries_of(reply: object) -> list[Entry]:
    """The entries of the one key that was read, from a reply of either protocol version."""
    if not reply:
        return []
    rows: Any = reply
    if isinstance(rows, dict):
        (entries,) = rows.values()
        return list(entries[0]) if entries and isinstance(entries[0], list) else list(entries)
    return list(rows[0][1])


def up_to(count: int, read_some: Callable[[int, bytes | None], list[RawEntry]]) -> list[RawEntry]:
    """Read at most `count` entries in several reads, and little more than READ_BYTES_MOST bytes.

    `read_some(wanted, last)` returns at most `wanted` entries after the entry `last`, or the first ones if it is None.
    """
    entries: list[RawEntry] = []
    read_bytes, largest_bytes = 0, 1
    while len(entries) < count and read_bytes < READ_BYTES_MOST:
        fitting = (READ_BYTES_MOST - read_bytes) // largest_bytes + 1
        wanted = min(max(READS_AT_FIRST, READS_GROW_BY * len(entries)), count - len(entries), fitting)
        some = read_some(wanted, entries[-1][0] if entries else None)
        entries += some
        sizes = [len(event) for _, _, event in some]
        read_bytes += sum(sizes)
        largest_bytes = max(largest_bytes, *sizes) if sizes else largest_bytes
        if len(some) < wanted:
            break
    return entries
