"""The drain: carries a shard's entries from the stream into Postgres, a batch and a transaction at a time.

For one batch, with what a crash after each step leaves behind:

1. BEGIN, and the shard's advisory lock; not free: another drain is at it       nothing
2. note that what follows the shard's position is begun, and read it            the note
3. apply_events in that transaction                                             the note
4. COMMIT                                                                       applied, and the note: read and applied
                                                                                again, which changes nothing
5. move the position                                                            nothing

Where a note shows that a batch was begun and came to no end, its entries are handed out by the consumer group, pending
until each is acknowledged: XREADGROUP in step 2 and XACK in step 5. So it is counted how often each was tried, smaller
and smaller batches find those that are too much for a drain, and these hold up nobody while they wait.

While Postgres works on a batch the next one is read ahead and understood (2 and the first half of 3).

The lock is held by the transaction alone, and the server ends a transaction that stands idle for ten seconds. So a
drain that was stopped for longer finds its connection dead, and cannot commit or acknowledge behind its successor. One
that is slow to move the position, and finds it moved, leaves it where it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.ingestion.apply import Applied, apply_decoded, keep_lost_entry, quarantine, zones_of
from core.ingestion.decode import Batch, Decoded, Prefetch, StreamEntry, Zones, decode_batch, stream_entries
from core.ingestion.fast_path import DuplicateCheck
from core.store.driver import BY_KEY, Direct
from core.store.engine import is_refused_value
from core.stream.position import Position, RawEntry, successor
from core.stream.stats import BatchStats
from core.stream.stream import EventStream, arrival

log = structlog.get_logger(__name__)

LOCK_NAMESPACE = 0x4D50
DELIVERIES_MOST = 5
ATTEMPTS_MOST = 2
ALONE_MOST = 100
TROUBLES_MOST = 2
TIME_SLICE_S = 30.0

EVENTS_FAULT = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    SQLAlchemyError,
)

_BEGIN = Direct(f"SELECT pg_try_advisory_xact_lock(:namespace, :shard), {BY_KEY}")


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain did. `is_busy`: another drain holds the shard; `is_cut_short`: its time was up, there is more."""

    events: int = 0
    is_busy: bool = False
    is_cut_short: bool = False


@dataclass(frozen=True, slots=True)
class ShardDrain:
    """All that draining one shard needs. `clock` gives aware UTC."""

    sessions: sessionmaker[Session]
    stream: EventStream
    shard: int
    batch_events: int
    clock: Callable[[], datetime]

    def drain(self, time_slice_s: float = TIME_SLICE_S) -> Drained:
        """Apply batch after batch until the shard is empty, another drain has it, or the time slice is used up."""
        stop_at = time.monotonic() + time_slice_s
        events = 0
        # What a crash left comes first; a batch that is not acknowledged raises, so none is left on the way.
        is_pending, duplicate_check = True, DuplicateCheck()
        with Prefetch(self._read_after, self._decode) as prefetch:
            while True:
                batch = (
                    self._drain_pending(stop_at) if is_pending else self._drain_next(stop_at, prefetch, duplicate_check)
                )
                if batch is None:
                    return Drained(events, is_busy=True)
                events += batch
                if not batch:
                    if not is_pending:
                        return Drained(events)
                    is_pending = False
                elif time.monotonic() > stop_at and not prefetch.has_begun:
                    return Drained(events, is_cut_short=True)

    def _drain_pending(self, stop_at: float) -> int | None:
        """One batch of what was handed out and not acknowledged, the smaller the more often that happened.

        So a batch that is too much for the time a transaction has, for whatever reason, becomes one that is not.
        """
        oldest = self.stream.deliveries(self.shard, 1)
        if not oldest:
            return 0
        (deliveries,) = oldest.values()
        # They were tried once more before: as part of a batch that was begun and came to no end.
        if deliveries + 1 > DELIVERIES_MOST:
            return self._drain_alone(stop_at)
        size = self._part(deliveries + 1)
        return self._drain_batch(lambda: Batch(self.stream.read(self.shard, size, pending=True), None), stop_at)

    def _drain_next(self, stop_at: float, prefetch: Prefetch, duplicate_check: DuplicateCheck) -> int | None:
        """One batch of what is new: the one that was read ahead, if any."""

        def take() -> Batch:
            batch = prefetch.take()
            return batch if batch is not None and batch.raw else self._next_batch()

        return self._drain_batch(take, stop_at, prefetch, duplicate_check)

    def _next_batch(self) -> Batch:
        position = self.stream.position(self.shard)
        if position.needs_care:
            batch = self._deliver(self._part(1) if position.is_in_progress else self.batch_events)
        else:
            batch = self._begin(position)
        if not batch.raw and (position.needs_care or position.lag != 0):
            unread = self.stream.reconcile(self.shard, position.entry_id)
            if unread:
                log.error("entries went before they were read", shard=self.shard, entries=unread)
        return batch

    def _begin(self, position: Position) -> Batch:
        """The batch behind a position. It is noted before it is read, so that a death of reading it is seen, too."""
        if position.lag != 0 and not self.stream.note_in_progress(self.shard, successor(position.entry_id)):
            # A full server takes no note, but it hands out.
            return self._deliver(self.batch_events)
        raw = self._read_after(position.entry_id)
        if raw:
            self.stream.note_in_progress(self.shard, raw[-1][0])
        return Batch(raw, position.entry_id)

    def _deliver(self, size: int) -> Batch:
        return Batch(self.stream.read(self.shard, size, pending=False), None)

    def _part(self, times: int) -> int:
        """How many entries to try at once that were tried so many times."""
        return max(1, self.batch_events >> 2 * times)

    def _drain_batch(
        self,
        take: Callable[[], Batch],
        stop_at: float,
        prefetch: Prefetch | None = None,
        duplicate_check: DuplicateCheck | None = None,
    ) -> int | None:
        """Take and apply one batch; how many entries there were, None if the shard is another's.

        With `ahead` the next one is begun; `news` says what those before it were like.
        """
        began, batch = time.monotonic(), Batch([], None)
        try:
            with self.sessions.begin() as session:
                if not self._lock(session):
                    return None
                batch = take()
                if not batch.raw:
                    return 0
                decoded = self._decoded(session, batch.raw, batch.decoded)
                is_full = len(batch.raw) == self.batch_events
                # Behind entries that were handed out no position moves, and so nothing would be noted.
                if prefetch is not None and batch.after is not None and is_full and time.monotonic() < stop_at:
                    prefetch.begin(batch.raw[-1][0], decoded.zones)
                applied = self._apply_decoded(session, decoded, duplicate_check)
        except EVENTS_FAULT as error:
            if not batch.raw or not is_events_fault(error):
                raise
            events = len(batch.raw)
            log.warning("batch failed, trying its parts", shard=self.shard, events=events, error=type(error).__name__)
            if batch.after is not None:
                # What is tried in parts is pending, so that whatever is left of it comes again.
                return self._drain_batch(lambda: self._deliver(events), stop_at)
            return events if self._apply_parts(batch.raw, stop_at) else None
        self._finish(batch, applied, began, prefetch)
        return len(batch.raw)

    def _finish(self, batch: Batch, applied: Applied, began: float, prefetch: Prefetch | None = None) -> None:
        """Tell the stream that a batch is committed; its figures, and one line in the log.

        `lag_s` is how long the oldest event of the batch had waited since it was accepted.
        """
        committed_at, seconds = self.clock(), time.monotonic() - began
        stats = BatchStats(applied.events, applied.duplicates, applied.dead_letters, seconds, committed_at)
        if batch.after is None:
            self.stream.acknowledge(self.shard, batch.entry_ids, stats)
        else:
            self._advance(batch.after, batch.raw, stats, prefetch)
        oldest_at = arrival(batch.raw[0][0].decode())  # entries are read in the order of their ids
        log.info(
            "applied",
            shard=self.shard,
            events=applied.events,
            duplicates=applied.duplicates,
            dead_letters=applied.dead_letters,
            accounts=applied.accounts_moved,
            goals=applied.goals_moved,
            milestones=applied.milestones_reached,
            seconds=round(seconds, 3),
            lag_s=round((committed_at - oldest_at).total_seconds(), 3),
        )

    def _advance(self, after: bytes, raw: Sequence[RawEntry], stats: BatchStats, prefetch: Prefetch | None) -> None:
        next_last = None if prefetch is None else prefetch.last()
        is_there = self.stream.advance(self.shard, after, raw[-1][0], len(raw), next_last=next_last, batch=stats)
        if not is_there and prefetch is not None:
            prefetch.drop()

    def _drain_alone(self, stop_at: float) -> int | None:
        """Apply the oldest pending entries one by one; how many, None if the shard is another's.

        Entries in trouble stay pending and do not hold up others: after two of them new entries have their turn.
        """
        done, in_trouble = 0, 0
        for entry_id in self.stream.deliveries(self.shard, ALONE_MOST):
            if time.monotonic() > stop_at or in_trouble == TROUBLES_MOST:
                break
            is_done = self._attempt(entry_id)
            if is_done is None:
                return None
            done, in_trouble = done + is_done, in_trouble + (not is_done)
        return 0 if in_trouble else done

    def _attempt(self, entry_id: bytes) -> bool | None:
        """Try one entry under the shard's lock; False if it is in trouble, None if the shard is another's.

        The attempt is counted before and forgotten after, whatever comes: only a process that dies leaves it counted,
        and an entry whose attempts never came back is quarantined.
        """
        began, is_counted = time.monotonic(), False
        try:
            with self.sessions.begin() as session:
                if not self._lock(session):
                    return None
                entry = self.stream.pending_entry(self.shard, entry_id)
                if entry is None:
                    return True  # another drain was faster
                is_counted = True
                if self.stream.note_attempt(self.shard, entry_id) > ATTEMPTS_MOST:
                    applied = self._set_aside(session, entry, "the worker died each time it was applied")
                else:
                    applied = self._apply_decoded(session, self._decoded(session, [entry]))
        except EVENTS_FAULT as error:
            if is_events_fault(error):
                return self._quarantine(entry_id, f"it cannot be applied: {type(error).__name__}")
            if not self._is_database_well():
                raise
            log.warning("event in trouble", shard=self.shard, entry_id=entry_id.decode(), error=type(error).__name__)
            return False
        finally:
            if is_counted:
                self.stream.forget_attempts(self.shard, entry_id)
        self._finish(Batch([(entry_id, None, None)], None), applied, began)
        return True

    def _is_database_well(self) -> bool:
        try:
            with self.sessions.begin() as session:
                return bool(session.scalar(text("SELECT 1")) == 1)
        except SQLAlchemyError:
            return False

    def _lock(self, session: Session) -> bool:
        """Lock the shard for a transaction that `apply_decoded` will write in; False if it is another's."""
        ((is_ours, *_),) = _BEGIN.rows(session, {"namespace": LOCK_NAMESPACE, "shard": self.shard})
        return bool(is_ours)

    def _read_after(self, after: bytes) -> list[RawEntry]:
        return self.stream.read_after(self.shard, after, self.batch_events)

    def _decode(self, raw: Sequence[RawEntry], zones: Zones) -> Decoded:
        return decode_batch(stream_entries(self.shard, raw), zones)

    def _decoded(self, session: Session, raw: Sequence[RawEntry], known: Decoded | None = None) -> Decoded:
        """What the entries tell, in the zones that their tenants have; one without content is noted as lost.

        `known` is what was understood of them before, perhaps in other zones.
        """
        if known is None:
            self._note_lost(session, raw)
            entries: Sequence[StreamEntry] = stream_entries(self.shard, raw)
        else:
            entries = known.entries
        zones = zones_of(session, entries)
        return known if known is not None and known.holds_in(zones) else decode_batch(entries, zones)

    def _apply_decoded(
        self, session: Session, decoded: Decoded, duplicate_check: DuplicateCheck | None = None
    ) -> Applied:
        """Apply what entries tell in the open transaction, which the caller commits."""
        return apply_decoded(session, decoded, self.clock(), duplicate_check)

    def _note_lost(self, session: Session, raw: Sequence[RawEntry]) -> None:
        """Note the entries whose content the stream no longer has."""
        for entry_id in [entry_id for entry_id, _, event in raw if event is None]:
            name = entry_id.decode()
            log.error("entry trimmed before it was applied", shard=self.shard, entry_id=name)
            keep_lost_entry(session, self.shard, name, arrival(name), self.clock())

    def _apply_parts(self, raw: Sequence[RawEntry], stop_at: float) -> bool:
        """Halve a batch that fails until the entries that make it fail are alone, and quarantine these.

        What the time slice does not suffice for stays pending. False if another drain has taken the shard.
        """
        parts = [raw]
        while parts and time.monotonic() <= stop_at:
            part, began = parts.pop(), time.monotonic()
            try:
                applied = self._apply(part)
            except EVENTS_FAULT as error:
                if not is_events_fault(error):
                    raise
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                    continue
                if self._quarantine(part[0][0], f"it cannot be applied: {type(error).__name__}") is None:
                    return False
            else:
                if applied is None:
                    return False
                self._finish(Batch(list(part), None), applied, began)
        return True

    def _apply(self, raw: Sequence[RawEntry]) -> Applied | None:
        """Apply entries in a transaction of their own; None if another drain has the shard, and so these too."""
        with self.sessions.begin() as session:
            if not self._lock(session):
                return None
            return self._apply_decoded(session, self._decoded(session, raw))

    def _quarantine(self, entry_id: bytes, reason: str) -> bool | None:
        """Set an entry aside that is still pending; None if the shard is another's."""
        began, applied = time.monotonic(), Applied()
        with self.sessions.begin() as session:
            if not self._lock(session):
                return None
            entry = self.stream.pending_entry(self.shard, entry_id)
            if entry is not None:
                applied = self._set_aside(session, entry, reason)
        self._finish(Batch([(entry_id, None, None)], None), applied, began)
        return True

    def _set_aside(self, session: Session, entry: RawEntry, reason: str) -> Applied:
        log.error("event quarantined", shard=self.shard, entry_id=entry[0].decode(), reason=reason)
        self._note_lost(session, [entry])
        for each in stream_entries(self.shard, [entry]):
            quarantine(session, each, reason, self.clock())
        return Applied(events=1, dead_letters=1)


def is_events_fault(error: Exception) -> bool:
    """Whether an error can be the event's: a value that Postgres refused, or that the fold cannot take.

    Only what is named in EVENTS_FAULT ever is. Everything else (a server that is away or full, a time limit, a schema
    that is not migrated yet) is the world's: the entries stay pending, and the whole is tried again.
    """
    return not isinstance(error, SQLAlchemyError) or is_refused_value(error)


WAIT_S = 2.0
# Longer than the wait itself; one that died while it waited is replaced after this.
CLAIM_MS = 3_000


@dataclass(frozen=True, slots=True)
class Followed:
    """How many events were applied, and whether the caller should see to it that the shard is followed on."""

    events: int
    is_to_go_on: bool


def follow_shard(drain: ShardDrain, wait_s: float = WAIT_S) -> Followed:
    """Drain, and look again for up to `wait_s`, outside any transaction. One process at a time waits on a shard."""
    drained = drain.drain()
    if drained.is_busy or drained.is_cut_short:
        return Followed(drained.events, is_to_go_on=drained.is_cut_short)
    if not drain.stream.claim_wait(drain.shard, CLAIM_MS):
        return Followed(drained.events, is_to_go_on=False)
    events = drained.events
    stop_at = time.monotonic() + wait_s
    try:
        while (left_ms := int((stop_at - time.monotonic()) * 1000)) > 0:
            if drain.stream.wait(drain.shard, left_ms):
                drained = drain.drain(wait_s)
                events += drained.events
                if drained.is_busy:
                    return Followed(events, is_to_go_on=False)
    finally:
        drain.stream.release_wait(drain.shard)
    return Followed(events, is_to_go_on=True)
