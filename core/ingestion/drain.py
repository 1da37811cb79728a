"""The drain: carries a shard's entries from the stream into Postgres, a batch and a transaction at a time.

What a drain does, with what a crash after each step leaves behind:

1. note that it begins, in a small transaction of its own                      the note: see attempts.py
2. BEGIN, and lock the shard's position; if it is locked, another drain works  the note
3. read what follows the position, and apply it in that transaction            the note; Postgres rolls the rows back
4. move the position past it in that transaction, and COMMIT                   nothing: rows and position are one commit
5. go on with step 2, and end when nothing follows                             a note only if a next batch is begun

While Postgres works on a batch, the next one is read and decoded.

The transaction alone has the lock, and the server ends a transaction that is idle for ten seconds. So a drain that was
stopped for longer finds its connection dead: it cannot commit after another drain has taken over.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog

from core.ingestion.apply import Applied, apply_decoded, keep_lost_entries, not_set_aside, quarantine, zones_of
from core.ingestion.attempts import after_entries, after_failure, batch_size, begin, is_hopeless
from core.ingestion.decode import Batch, Decoded, Prefetch, Zones, decode_batch, stream_entries
from core.ingestion.facts import DuplicateCheck
from core.store.database import Sessions, is_refused_value, is_wait_too_long
from core.store.driver import Session
from core.store.positions import BEGINNING, Position, lock_position, read_position, wait_not_for_disk, write_position
from core.stream.entries import RawEntry, parse_id
from core.stream.position import StreamLook, count_gone, from_oldest, holds, is_all_applied, is_behind
from core.stream.stats import BatchStats
from core.stream.stream import EventStream, arrival

log = structlog.get_logger(__name__)

TIME_SLICE_S = 30.0
WAIT_S = 2.0
# Longer than the wait itself; a process that died while it waited is replaced after this.
CLAIM_MS = 3_000
EVENTS_FAULT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, psycopg.Error)


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain did. `is_busy`: another drain has the shard; `is_cut_short`: it stopped, and there may be more.

    `position`: the last entry that is applied.
    """

    events: int = 0
    is_busy: bool = False
    is_cut_short: bool = False
    position: str = BEGINNING


@dataclass(frozen=True, slots=True)
class Followed:
    """How many events were applied, and whether the caller has to send the next drain of the shard."""

    events: int
    is_to_go_on: bool


class _ShardIsBusy(Exception):
    """Another drain has the shard."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction did: how many entries it passed, up to which one, and whether more may follow."""

    position: str
    events: int = 0
    is_more: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class ShardDrain:
    """Drains one shard. `clock` gives aware UTC."""

    sessions: Sessions
    stream: EventStream
    shard: int
    batch_events: int
    clock: Callable[[], datetime]

    def drain(self, time_slice_s: float = TIME_SLICE_S) -> Drained:
        """Apply batch after batch until nothing follows, another drain has the shard, or the time slice is used up."""
        stop_at, events = time.monotonic() + time_slice_s, 0
        try:
            step = self._begin()
            with Prefetch(self._read_after, self._decode) as prefetch:
                check = DuplicateCheck()
                while step.goes_on:
                    step = self._apply_next(prefetch, check, stop_at)
                    events += step.events
        except _ShardIsBusy:
            return Drained(events, is_busy=True)
        return Drained(events, is_cut_short=step.is_more, position=step.position)

    def _begin(self) -> Step:
        """Note that a drain begins, unless nothing follows the position. Raises _ShardIsBusy."""
        with self.sessions() as session:
            position = read_position(session, self.shard)
        look = self.stream.look(self.shard)
        if _is_settled(position, look):
            return Step(position.entry_id)
        with self.sessions.begin() as session:
            position, look = self._lock(session), self.stream.look(self.shard)
            gone = count_gone(position, look)
            if gone:
                log.error("entries went before they were read", shard=self.shard, entries=gone)
                keep_lost_entries(session, self.shard, position.entry_id, look.newest, gone, self.clock())
                position = position._replace(passed=position.passed + gone)
            else:
                wait_not_for_disk(session)
            if not holds(position, look):
                # Its entries are applied again, which changes nothing, but for those that were set aside.
                # Another server process is usual after a restart.
                say = log.warning if is_behind(position, look) else log.info
                say("the stream may have lost entries: reading all that it has", shard=self.shard)
                # If it is begun again in the middle, all of it is still read again.
                furthest = max(position.reread_to, position.entry_id, key=lambda name: parse_id(name or BEGINNING))
                position = from_oldest(look)._replace(reread_to=furthest)
            elif position == Position():
                position = from_oldest(look)
            position = position._replace(server=look.server or position.server)
            is_there = not is_all_applied(position, look)
            if is_there:
                position = begin(position, self.batch_events)
            write_position(session, self.shard, position, is_begun=is_there)
        return Step(position.entry_id, goes_on=is_there)

    def _apply_next(self, prefetch: Prefetch, check: DuplicateCheck, stop_at: float) -> Step:
        """Apply the entries after the position, and move it past them. Raises _ShardIsBusy."""
        try:
            return self._apply_batch(prefetch, check, stop_at)
        except BaseException:
            # Of a server, or of a time limit: an entry that is alone is to blame only if the process dies.
            self._forget_begin_alone()
            raise

    def _apply_batch(self, prefetch: Prefetch, check: DuplicateCheck, stop_at: float) -> Step:
        began, batch = time.monotonic(), Batch(BEGINNING, [])
        try:
            with self.sessions.begin() as session:
                position = self._lock(session)
                batch = prefetch.take(position.entry_id) or self._read(position)
                if not batch.raw:
                    write_position(session, self.shard, position, is_begun=False)
                    return Step(position.entry_id)
                is_more = batch.is_full(batch_size(position, self.batch_events))
                if is_hopeless(position, self.batch_events):
                    applied = self._set_aside(session, batch, "the worker died each time it was applied")
                else:
                    decoded = self._decoded(session, batch)
                    if position.reread_to:
                        decoded = not_set_aside(session, decoded)
                    if is_more and not position.tries and time.monotonic() < stop_at:
                        prefetch.begin(batch.last, decoded.zones)
                    applied = self._apply(session, decoded, check)
                goes_on = is_more and time.monotonic() < stop_at
                self._pass(session, position, batch, goes_on=goes_on)
        except EVENTS_FAULT as error:
            return self._handle(error, batch, began, stop_at)
        self._finish(batch, applied, began)
        return Step(batch.last, len(batch.raw), is_more, goes_on)

    def _handle(self, error: Exception, batch: Batch, began: float, stop_at: float) -> Step:
        """Go on after a batch that failed: with its parts, or past the entry if it is alone. Else raise the error.

        Only an event's fault makes it a dead letter. An entry that is alone and is held up by others (by a lock that
        they keep, say) is appended to the shard again, after all others, so that it does not hold these up. After any
        other error the note of the begin stays, so that the next drain tries a part.
        """
        name, is_alone, goes_on = type(error).__name__, len(batch.raw) == 1, time.monotonic() < stop_at
        is_at_fault = is_events_fault(error)
        if not batch.raw or (not is_at_fault and not (is_alone and is_wait_too_long(error))):
            raise error
        with self.sessions.begin() as session:
            position = self._lock_at(session, batch.after)
            if not is_alone:
                log.warning("batch failed, trying its parts", shard=self.shard, events=len(batch.raw), error=name)
                write_position(session, self.shard, after_failure(position, self.batch_events), is_begun=goes_on)
                return Step(position.entry_id, is_more=True, goes_on=goes_on)
            if not is_at_fault:
                log.warning("event in trouble", shard=self.shard, entry_id=batch.last, error=name)
                (entry,) = stream_entries(self.shard, batch.raw)
                self.stream.append_to_shards([(self.shard, entry.tenant, entry.event)])
                self._pass(session, position, batch, goes_on=False)
                return Step(batch.last, 1, is_more=True)
            applied = self._set_aside(session, batch, f"it cannot be applied: {name}")
            self._pass(session, position, batch, goes_on=goes_on)
        self._finish(batch, applied, began)
        return Step(batch.last, 1, is_more=True, goes_on=goes_on)

    def _forget_begin_alone(self) -> None:
        """Do not count the last try if the next entry is to be tried alone, unless the database is away."""
        with suppress(_ShardIsBusy, psycopg.Error), self.sessions.begin() as session:
            position = self._lock(session)
            if batch_size(position, self.batch_events) == 1:
                write_position(session, self.shard, position, is_begun=False)

    def _lock_at(self, session: Session, entry_id: str) -> Position:
        """Lock the position if it is still at this entry; raises _ShardIsBusy."""
        position = self._lock(session)
        if position.entry_id != entry_id:
            raise _ShardIsBusy
        return position

    def _lock(self, session: Session) -> Position:
        position = lock_position(session, self.shard)
        if position is None:
            raise _ShardIsBusy
        return position

    def _pass(self, session: Session, position: Position, batch: Batch, *, goes_on: bool) -> None:
        """Move the position past a batch, in the transaction that applied it."""
        position = after_entries(position, batch.last, len(batch.raw), self.batch_events)
        write_position(session, self.shard, position, is_begun=goes_on)

    def _read_after(self, after: str) -> list[RawEntry]:
        return self.stream.read_after(self.shard, after, self.batch_events)

    def _read(self, position: Position) -> Batch:
        size = batch_size(position, self.batch_events)
        return Batch(position.entry_id, self.stream.read_after(self.shard, position.entry_id, size))

    def _decode(self, raw: Sequence[RawEntry], zones: Zones) -> Decoded:
        return decode_batch(stream_entries(self.shard, raw), zones)

    def _decoded(self, session: Session, batch: Batch) -> Decoded:
        """The entries decoded in the time zones of their tenants; a prefetched batch may be decoded in other ones."""
        known = batch.decoded
        entries = stream_entries(self.shard, batch.raw) if known is None else known.entries
        zones = zones_of(session, entries)
        return known if known is not None and known.holds_in(zones) else decode_batch(entries, zones)

    def _apply(self, session: Session, decoded: Decoded, check: DuplicateCheck) -> Applied:
        return apply_decoded(session, decoded, self.clock(), check)

    def _set_aside(self, session: Session, batch: Batch, reason: str) -> Applied:
        """Make a dead letter of the only entry of a batch."""
        (entry,) = stream_entries(self.shard, batch.raw)
        log.error("event quarantined", shard=self.shard, entry_id=entry.entry_id, reason=reason)
        quarantine(session, entry, reason, self.clock())
        return Applied(events=1, dead_letters=1)

    def _finish(self, batch: Batch, applied: Applied, began: float) -> None:
        """After the commit: add to the stats, and write one log line.

        `lag_s` is how long the oldest event of the batch had waited since it was accepted.
        """
        committed_at, seconds = self.clock(), time.monotonic() - began
        stats = BatchStats(applied.events, applied.duplicates, applied.dead_letters, seconds, committed_at)
        self.stream.note_stats(self.shard, stats)
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


def follow_shard(drain: ShardDrain, wait_s: float = WAIT_S) -> Followed:
    """Drain, then wait up to `wait_s` for more, outside any transaction. One process at a time waits for a shard."""
    drained = drain.drain()
    if drained.is_busy or drained.is_cut_short:
        return Followed(drained.events, is_to_go_on=drained.is_cut_short)
    if not drain.stream.claim_wait(drain.shard, CLAIM_MS):
        return Followed(drained.events, is_to_go_on=False)
    events = drained.events
    stop_at = time.monotonic() + wait_s
    try:
        while (left_ms := int((stop_at - time.monotonic()) * 1000)) > 0:
            if drain.stream.wait(drain.shard, drained.position, left_ms):
                drained = drain.drain(wait_s)
                events += drained.events
                if drained.is_busy:
                    return Followed(events, is_to_go_on=False)
    finally:
        drain.stream.release_wait(drain.shard)
    return Followed(events, is_to_go_on=True)


def is_events_fault(error: Exception) -> bool:
    """Whether an error can be the event's: a value that Postgres refused, or that folding cannot take.

    All others (a server that is away or full, a time limit, a schema that is not migrated yet) are not the event's
    fault: the position stays, and the entries are tried again.
    """
    return not isinstance(error, psycopg.Error) or is_refused_value(error)


def _is_settled(position: Position, look: StreamLook) -> bool:
    """Whether there is nothing to do for a shard, and nothing to write."""
    return (
        holds(position, look)
        and is_all_applied(position, look)
        and not count_gone(position, look)
        and position.begun_at is None
        and position.server == look.server
    )
