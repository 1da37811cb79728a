"""Retry: a batch that fails is halved until the events that make it fail are alone, and these become dead letters.

Entries that the consumer group delivered are pending until each is acknowledged, so it is counted how often each was
tried. One that fails, or kills its worker each time, is set aside as a dead letter. Trouble of a server is never an
event's fault: its entries stay pending, and are tried again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core.ingestion.apply import Applied, quarantine
from core.ingestion.decode import Batch, stream_entries
from core.ingestion.shard import ShardBatches
from core.store.engine import is_refused_value, ping
from core.stream.position import RawEntry

log = structlog.get_logger(__name__)

ATTEMPTS_MOST = 2
ALONE_MOST = 100
TROUBLES_MOST = 2

EVENTS_FAULT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, SQLAlchemyError)


@dataclass(frozen=True, slots=True)
class ShardRetry(ShardBatches):
    """Applies what failed before: a batch in parts, and entries that failed in parts too, one by one."""

    def _apply_parts(self, raw: Sequence[RawEntry], stop_at: float) -> bool:
        """Halve a batch that fails until the entries that make it fail are alone, and quarantine these.

        Parts for which there is no time left stay pending. False if another drain has taken the shard.
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

    def _drain_alone(self, stop_at: float) -> int | None:
        """Apply the oldest pending entries one by one; how many, None if another drain has the shard.

        An entry in trouble stays pending and does not hold up others: after two of them it is the turn of new entries.
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
        """Try one entry under the shard's lock; False if it is in trouble, None if another drain has the shard.

        The attempt is counted before and uncounted after, whatever happens: only a process that dies leaves it counted.
        An entry with too many counted attempts is set aside.
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

    def _quarantine(self, entry_id: bytes, reason: str) -> bool | None:
        """Set an entry aside that is still pending; None if another drain has the shard."""
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

    def _is_database_well(self) -> bool:
        try:
            with self.sessions.begin() as session:
                ping(session)
        except SQLAlchemyError:
            return False
        return True


def is_events_fault(error: Exception) -> bool:
    """Whether an error can be the event's: a value that Postgres refused, or that folding cannot take.

    Only errors of EVENTS_FAULT can be. All others (a server that is away or full, a time limit, a schema that is not
    migrated yet) are not the event's fault: the entries stay pending, and all of them are tried again.
    """
    return not isinstance(error, SQLAlchemyError) or is_refused_value(error)
