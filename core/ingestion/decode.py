"""Decoding a batch: what its entries state; the next one is decoded while Postgres works on the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from types import TracebackType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from core.errors import EventRejected
from core.events.calendar import EARLIEST, local_day
from core.events.envelope import EVENT_LONGEST_BYTES, check_envelope, parse_json
from core.events.facts import AccountFacts, SimpleTransaction
from core.ingestion.fast_parse import read_transaction
from core.ingestion.parse import parse_event
from core.store.accounts import AccountKey
from core.store.fast_path import SimpleWrite
from core.stream.position import RawEntry, tenant_of
from core.stream.stream import arrival

Zones = Mapping[str, ZoneInfo]


class StreamEntry(Struct, frozen=True, gc=False):
    """One entry of the stream as it lies there. (shard, entry_id) is unique; `arrived_at` is the stream's own time."""

    shard: int
    entry_id: str
    arrived_at: datetime
    tenant: str
    event: bytes


# What one entry tells: a plain transaction, or facts, an account each.
Parsed = SimpleTransaction | tuple[AccountFacts, ...]


class AccountSum(NamedTuple):
    """What the plain transactions of one account come to."""

    parsed: Sequence[SimpleTransaction]
    write: SimpleWrite


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch tells, as seen in `zones`, the time zones of its tenants.

    `sums`: the accounts of which it tells plain transactions alone, in one currency and each once. `others`: all other
    accounts of which it tells anything.
    """

    entries: Sequence[StreamEntry]
    zones: Zones
    read: Sequence[tuple[StreamEntry, Parsed]]
    refused: Sequence[tuple[StreamEntry, EventRejected]]
    sums: Mapping[AccountKey, AccountSum]
    others: frozenset[AccountKey]

    def holds_in(self, zones: Zones) -> bool:
        """Whether the tenants' time zones are still those in which the batch was understood."""
        return all(self.zones.get(tenant) == zones.get(tenant) for tenant in {entry.tenant for entry in self.entries})


def stream_entries(shard: int, raw: Iterable[RawEntry]) -> list[StreamEntry]:
    """The entries of a shard that have any content."""
    entries = []
    milliseconds = b""
    arrived_at = EARLIEST
    for entry_id, tenant, event in raw:
        if event is not None:
            name = entry_id.decode()
            # Neighbours often came in the same millisecond.
            if (own := entry_id.partition(b"-")[0]) != milliseconds:
                milliseconds, arrived_at = own, arrival(name)
            entries.append(StreamEntry(shard, name, arrived_at, tenant_of(tenant), event))
    return entries


def decode_batch(entries: Sequence[StreamEntry], zones: Zones) -> Decoded:
    """Read every entry; what is wrong, or of a tenant without a zone here, is refused."""
    read: list[tuple[StreamEntry, Parsed]] = []
    refused: list[tuple[StreamEntry, EventRejected]] = []
    plain: dict[AccountKey, list[SimpleTransaction]] = {}
    others: set[AccountKey] = set()
    for entry in entries:
        try:
            parsed = _read_one(entry, zones.get(entry.tenant))
        except EventRejected as rejection:
            refused.append((entry, rejection))
            continue
        read.append((entry, parsed))
        if isinstance(parsed, SimpleTransaction):
            key = entry.tenant, parsed.account_id
            of_account = plain.get(key)
            if of_account is None:
                plain[key] = [parsed]
            else:
                of_account.append(parsed)
        else:
            others.update([(entry.tenant, facts.account_id) for facts in parsed])
    sums = {}
    for key, of_account in plain.items():
        if key not in others and _is_a_sum(of_account):
            sums[key] = _sum(key, of_account, zones[key[0]])
        else:
            others.add(key)
    return Decoded(entries, zones, read, refused, sums, frozenset(others))


def _read_one(entry: StreamEntry, zone: ZoneInfo | None) -> Parsed:
    event = entry.event
    if zone is None:
        raise EventRejected("unknown_tenant", "the tenant does not exist")
    if len(event) > EVENT_LONGEST_BYTES:
        raise EventRejected("too_large", f"an event has at most {EVENT_LONGEST_BYTES:,} bytes")
    parsed = read_transaction(event, zone, entry.arrived_at)
    if parsed is None:
        return parse_event(check_envelope(parse_json(event)), zone, entry.arrived_at)
    return (parsed,) if isinstance(parsed, AccountFacts) else parsed


def _is_a_sum(parsed: Sequence[SimpleTransaction]) -> bool:
    """Whether no transaction is told twice, and all are in one currency."""
    if len(parsed) == 1:
        return True
    currency = parsed[0].currency
    return len({each.transaction_id for each in parsed if each.currency == currency}) == len(parsed)


def _sum(key: AccountKey, parsed: Sequence[SimpleTransaction], zone: ZoneInfo) -> AccountSum:
    if len(parsed) == 1:
        (only,) = parsed
        amount, posted_at = only.amount_minor, only.posted_at
        inflow, day = amount if amount > 0 else 0, local_day(posted_at, zone)
        return AccountSum(parsed, SimpleWrite(*key, only.currency, amount, inflow, posted_at, day, posted_at))
    worth = inflow = 0
    earliest_at = latest_at = parsed[0].posted_at
    for transaction in parsed:
        amount, posted_at = transaction.amount_minor, transaction.posted_at
        worth += amount
        inflow += amount if amount > 0 else 0
        if posted_at < earliest_at:
            earliest_at = posted_at
        elif posted_at > latest_at:
            latest_at = posted_at
    first_day = local_day(earliest_at, zone)
    return AccountSum(parsed, SimpleWrite(*key, parsed[0].currency, worth, inflow, latest_at, first_day, earliest_at))


class Batch(NamedTuple):
    """Entries, and what they tell, unless that has not been looked into.

    `behind` is the position that they follow; None for entries that were handed out, and are pending.
    """

    raw: list[RawEntry]
    after: bytes | None
    decoded: Decoded | None = None

    @property
    def entry_ids(self) -> list[bytes]:
        """The entries' ids, in order."""
        return [entry[0] for entry in self.raw]


class Prefetch:
    """At most one batch ahead. `read` gives what follows an entry, and `understand` says what it tells."""

    def __init__(
        self, read: Callable[[bytes], list[RawEntry]], decode_batch: Callable[[list[RawEntry], Zones], Decoded]
    ) -> None:
        self._read = read
        self._decode = decode_batch
        self._zones: Zones = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: Future[Batch] | None = None
        self._is_read = Event()
        self._last: bytes | None = None

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    @property
    def has_begun(self) -> bool:
        """Whether a batch is ahead that nobody took yet."""
        return self._coming is not None

    def begin(self, after: bytes, zones: Zones) -> None:
        """Begin with the batch behind an entry; its tenants are likely to be among those of the batches so far."""
        self._zones = {**self._zones, **zones}
        self._is_read.clear()
        self._last = None
        self._coming = self._thread.submit(self._work, after, self._zones)

    def last(self) -> bytes | None:
        """The last entry of the batch ahead; None if there is none. Waits until it is read."""
        if self._coming is None:
            return None
        self._is_read.wait()
        return self._last

    def take(self) -> Batch | None:
        """The batch ahead; None if there is none. Raises what went wrong with it."""
        coming, self._coming = self._coming, None
        return None if coming is None else coming.result()

    def drop(self) -> None:
        """Forget the batch ahead: it does not follow what is applied."""
        self._coming = None

    def _work(self, after: bytes, zones: Zones) -> Batch:
        try:
            raw = self._read(after)
            self._last = raw[-1][0] if raw else None
        finally:
            self._is_read.set()
        return Batch(raw, after, self._decode(raw, zones))
