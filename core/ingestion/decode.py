"""Decoding a batch of stream entries into facts; the next batch is decoded while Postgres works on the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from core.errors import EventRejected
from core.events.calendar import EARLIEST
from core.events.envelope import EVENT_LONGEST_BYTES, check_envelope, parse_json
from core.events.facts import AccountFacts, SimpleTransaction
from core.ingestion.fast_parse import read_transaction
from core.ingestion.parse import parse_event
from core.store.accounts import AccountKey
from core.stream.entries import READ_BYTES_MOST, RawEntry, tenant_of
from core.stream.stream import arrival

Zones = Mapping[str, ZoneInfo]


class StreamEntry(Struct, frozen=True, gc=False):
    """One entry as it is on the stream. (shard, entry_id) is unique; `arrived_at` is by the stream server's clock."""

    shard: int
    entry_id: str
    arrived_at: datetime
    tenant: str
    event: bytes


# What one entry states: a simple transaction, or the facts of one or more accounts.
Parsed = SimpleTransaction | tuple[AccountFacts, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch states, decoded in `zones`, the time zones of its tenants.

    `simple`: by account the simple transactions of those accounts of which the batch states nothing else, all in one
    currency and each once. `others`: all other accounts that the batch states anything about. `refused`: the entries
    that become dead letters.
    """

    entries: Sequence[StreamEntry]
    zones: Zones
    parsed: Sequence[tuple[StreamEntry, Parsed]]
    refused: Sequence[tuple[StreamEntry, EventRejected]]
    simple: Mapping[AccountKey, Sequence[SimpleTransaction]]
    others: frozenset[AccountKey]

    def holds_in(self, zones: Zones) -> bool:
        """Whether the tenants' time zones are still those in which the batch was decoded."""
        return all(self.zones.get(tenant) == zones.get(tenant) for tenant in {entry.tenant for entry in self.entries})


def stream_entries(shard: int, raw: Iterable[RawEntry]) -> list[StreamEntry]:
    """The entries of a shard."""
    entries = []
    milliseconds = b""
    arrived_at = EARLIEST
    for entry_id, tenant, event in raw:
        name = entry_id.decode()
        # Neighbouring entries often arrived in the same millisecond.
        if (own := entry_id.partition(b"-")[0]) != milliseconds:
            milliseconds, arrived_at = own, arrival(name)
        entries.append(StreamEntry(shard, name, arrived_at, tenant_of(tenant), event))
    return entries


def decode_batch(entries: Sequence[StreamEntry], zones: Zones) -> Decoded:
    """Parse every entry; refuse those that are invalid and those of a tenant that has no zone in `zones`."""
    parsed: list[tuple[StreamEntry, Parsed]] = []
    refused: list[tuple[StreamEntry, EventRejected]] = []
    simple: dict[AccountKey, list[SimpleTransaction]] = {}
    others: set[AccountKey] = set()
    for entry in entries:
        try:
            stated = _parse_entry(entry, zones.get(entry.tenant))
        except EventRejected as rejection:
            refused.append((entry, rejection))
            continue
        parsed.append((entry, stated))
        if isinstance(stated, SimpleTransaction):
            key = entry.tenant, stated.account_id
            of_account = simple.get(key)
            if of_account is None:
                simple[key] = [stated]
            else:
                of_account.append(stated)
        else:
            others.update([(entry.tenant, name) for facts in stated for name in facts.account_ids])
    others.update([key for key, of_account in simple.items() if not _is_each_once(of_account)])
    for key in others:
        simple.pop(key, None)
    return Decoded(entries, zones, parsed, refused, simple, frozenset(others))


def _parse_entry(entry: StreamEntry, zone: ZoneInfo | None) -> Parsed:
    event = entry.event
    if zone is None:
        raise EventRejected("unknown_tenant", "the tenant does not exist")
    if len(event) > EVENT_LONGEST_BYTES:
        raise EventRejected("too_large", f"an event has at most {EVENT_LONGEST_BYTES:,} bytes")
    parsed = read_transaction(event, zone, entry.arrived_at)
    if parsed is None:
        return parse_event(check_envelope(parse_json(event)), zone, entry.arrived_at)
    return (parsed,) if isinstance(parsed, AccountFacts) else parsed


def _is_each_once(transactions: Sequence[SimpleTransaction]) -> bool:
    """Whether each transaction is there once, and all are in one currency."""
    if len(transactions) == 1:
        return True
    currency = transactions[0].currency
    return len({each.transaction_id for each in transactions if each.currency == currency}) == len(transactions)


class Batch(NamedTuple):
    """The entries after the entry `after`, and what they state if they are decoded already."""

    after: str
    raw: list[RawEntry]
    decoded: Decoded | None = None

    @property
    def last(self) -> str:
        """The id of the last entry; of `after` if there is none."""
        return self.raw[-1][0].decode() if self.raw else self.after

    def is_full(self, size: int) -> bool:
        """Whether more entries may follow: it has as many, or as large ones, as a batch of this size may have."""
        return len(self.raw) >= size or sum([len(event) for _, _, event in self.raw]) >= READ_BYTES_MOST


class Prefetch:
    """Reads and decodes at most one batch in advance, in a thread of its own.

    `read` returns the entries after an entry, `decode` what they state.
    """

    def __init__(
        self, read: Callable[[str], list[RawEntry]], decode: Callable[[list[RawEntry], Zones], Decoded]
    ) -> None:
        self._read = read
        self._decode = decode
        self._zones: Zones = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._future: Future[Batch] | None = None

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def begin(self, after: str, zones: Zones) -> None:
        """Begin the batch after an entry; its tenants are most likely among those whose zones are known so far."""
        self._zones = {**self._zones, **zones}
        self._future = self._thread.submit(self._work, after, self._zones)

    def take(self, after: str) -> Batch | None:
        """The prefetched batch; None if there is none after this entry. Raises what reading or decoding it raised."""
        future, self._future = self._future, None
        batch = None if future is None else future.result()
        return batch if batch is not None and batch.after == after else None

    def _work(self, after: str, zones: Zones) -> Batch:
        raw = self._read(after)
        return Batch(after, raw, self._decode(raw, zones))
