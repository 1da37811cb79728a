"""The drain: carries a shard's entries from the stream into Postgres, a batch and a transaction at a time.

For one batch, with what a crash after each step leaves behind:

1. BEGIN, and the shard's advisory lock; not free: another drain is at it       nothing
2. XREADGROUP: first what an earlier crash left pending, then new entries       the entries pending
3. apply_events in that transaction                                             the entries pending
4. COMMIT                                                                       applied, and pending: read and applied
                                                                                again, which changes nothing
5. XACK                                                                         nothing

The lock is held by the transaction alone, and the server ends a transaction that stands idle for ten seconds. So a
drain that was stopped for longer finds its connection dead, and cannot commit or acknowledge behind its successor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.pipeline.apply_events import StreamEntry, apply_events, keep_lost_entry, quarantine
from core.store.engine import is_database_trouble
from core.store.stream import EventStream, RawEntry, arrival, tenant_of

log = structlog.get_logger(__name__)

LOCK_NAMESPACE = 0x4D50
DELIVERIES_MOST = 5
ATTEMPTS_MOST = 2
TIME_SLICE_S = 30.0

_LOCK_SHARD = text("SELECT pg_try_advisory_xact_lock(:namespace, :shard)")


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
        is_pending = True
        while True:
            read = self._drain_batch(is_pending)
            if read is None:
                return Drained(events, is_busy=True)
            events += read
            if read < self.batch_events:
                if not is_pending:
                    return Drained(events)
                is_pending = False
            if time.monotonic() > stop_at:
                return Drained(events, is_cut_short=True)

    def _drain_batch(self, is_pending: bool) -> int | None:
        """Read and apply one batch; how many entries there were, None if the shard is another's."""
        began = time.monotonic()
        raw: list[RawEntry] = []
        try:
            with self.sessions.begin() as session:
                if not self._lock(session):
                    return None
                raw = self.stream.read(self.shard, self.batch_events, pending=is_pending)
                if not raw:
                    return 0
                if is_pending and self._suspects(raw):
                    applied = None
                else:
                    applied = apply_events(session, self._entries(session, raw), self.clock())
        except Exception as error:
            if not raw or is_database_trouble(error):
                raise
            log.warning("batch failed, trying its parts", shard=self.shard, events=len(raw), error=repr(error))
            self._apply_parts(raw)
            return len(raw)
        if applied is None:
            self._apply_alone(raw)
            return len(raw)
        self.stream.acknowledge(self.shard, [entry_id for entry_id, _ in raw])
        log.info(
            "applied",
            shard=self.shard,
            events=applied.events,
            dead_letters=applied.dead_letters,
            accounts=applied.accounts_moved,
            goals=applied.goals_moved,
            milestones=applied.milestones_reached,
            seconds=round(time.monotonic() - began, 3),
        )
        return len(raw)

    def _lock(self, session: Session) -> bool:
        return bool(session.scalar(_LOCK_SHARD, {"namespace": LOCK_NAMESPACE, "shard": self.shard}))

    def _entries(self, session: Session, raw: Sequence[RawEntry]) -> list[StreamEntry]:
        """The entries to apply; one whose content the stream no longer has is noted as lost."""
        entries = []
        for entry_id, fields in raw:
            name = entry_id.decode()
            if fields:
                event = fields.get(b"event", b"")
                entries.append(StreamEntry(self.shard, name, arrival(name), tenant_of(fields), event))
            else:
                log.error("entry trimmed before it was applied", shard=self.shard, entry_id=name)
                keep_lost_entry(session, self.shard, name, arrival(name), self.clock())
        return entries

    def _suspects(self, raw: Sequence[RawEntry]) -> bool:
        """Whether any entry was handed out so often that one of the batch may kill its worker."""
        deliveries = self.stream.deliveries(self.shard, len(raw))
        return any(deliveries.get(entry_id, 0) > DELIVERIES_MOST for entry_id, _ in raw)

    def _apply_parts(self, raw: Sequence[RawEntry]) -> None:
        """Halve a batch that fails until the entries that make it fail are alone, and quarantine these."""
        try:
            self._apply(raw)
        except Exception as error:
            if is_database_trouble(error):
                raise
            if len(raw) == 1:
                self._quarantine(raw[0], f"it cannot be applied: {type(error).__name__}")
                return
            middle = len(raw) // 2
            self._apply_parts(raw[:middle])
            self._apply_parts(raw[middle:])

    def _apply_alone(self, raw: Sequence[RawEntry]) -> None:
        """Apply entries one by one; one that was tried alone before and never came back is quarantined."""
        for entry in raw:
            entry_id = entry[0]
            if self.stream.note_attempt(self.shard, entry_id) > ATTEMPTS_MOST:
                self._quarantine(entry, "the worker died each time it was applied")
            else:
                try:
                    self._apply_parts([entry])
                finally:
                    # Not reached when the process dies, which is what the count is for.
                    self.stream.forget_attempts(self.shard, entry_id)

    def _apply(self, raw: Sequence[RawEntry]) -> None:
        with self.sessions.begin() as session:
            if not self._lock(session):
                return  # another drain reads what is pending, these entries among it
            apply_events(session, self._entries(session, raw), self.clock())
        self.stream.acknowledge(self.shard, [entry_id for entry_id, _ in raw])

    def _quarantine(self, entry: RawEntry, reason: str) -> None:
        log.error("event quarantined", shard=self.shard, entry_id=entry[0].decode(), reason=reason)
        with self.sessions.begin() as session:
            for each in self._entries(session, [entry]):
                quarantine(session, each, reason, self.clock())
        self.stream.acknowledge(self.shard, [entry[0]])
        self.stream.forget_attempts(self.shard, entry[0])
