"""What one batch of a shard needs: the shard's lock, decoding, applying, and what follows the commit.

The transaction alone has the lock, and the server ends a transaction that is idle for ten seconds. So a drain that was
stopped for longer finds its connection dead: it can neither commit nor acknowledge after another drain has taken over.
A drain that is slow to move the position, and finds that another one moved it, leaves it where it is.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.orm import Session, sessionmaker

from core.ingestion.apply import Applied, apply_decoded, keep_lost_entry, zones_of
from core.ingestion.decode import Batch, Decoded, Prefetch, StreamEntry, Zones, decode_batch, stream_entries
from core.ingestion.fast_path import DuplicateCheck
from core.store.driver import BY_KEY, Direct
from core.stream.position import RawEntry
from core.stream.stats import BatchStats
from core.stream.stream import EventStream, arrival

log = structlog.get_logger(__name__)

LOCK_NAMESPACE = 0x4D50
_BEGIN = Direct(f"SELECT pg_try_advisory_xact_lock(:namespace, :shard), {BY_KEY}")


@dataclass(frozen=True, slots=True)
class ShardBatches:
    """All that applying the batches of one shard needs. `clock` gives aware UTC."""

    sessions: sessionmaker[Session]
    stream: EventStream
    shard: int
    batch_events: int
    clock: Callable[[], datetime]

    def _lock(self, session: Session) -> bool:
        """Lock the shard for a transaction that `apply_decoded` will write in; False if another drain has it."""
        ((is_ours, *_),) = _BEGIN.rows(session, {"namespace": LOCK_NAMESPACE, "shard": self.shard})
        return bool(is_ours)

    def _read_after(self, after: bytes) -> list[RawEntry]:
        return self.stream.read_after(self.shard, after, self.batch_events)

    def _decode(self, raw: Sequence[RawEntry], zones: Zones) -> Decoded:
        return decode_batch(stream_entries(self.shard, raw), zones)

    def _decoded(self, session: Session, raw: Sequence[RawEntry], known: Decoded | None = None) -> Decoded:
        """The entries decoded in the time zones of their tenants; an entry without content is noted as lost.

        `known` is what was decoded before, perhaps in other time zones.
        """
        if known is None:
            self._note_lost(session, raw)
            entries: Sequence[StreamEntry] = stream_entries(self.shard, raw)
        else:
            entries = known.entries
        zones = zones_of(session, entries)
        return known if known is not None and known.holds_in(zones) else decode_batch(entries, zones)

    def _apply(self, raw: Sequence[RawEntry]) -> Applied | None:
        """Apply entries in a transaction of their own; None if another drain has the shard."""
        with self.sessions.begin() as session:
            if not self._lock(session):
                return None
            return self._apply_decoded(session, self._decoded(session, raw))

    def _apply_decoded(
        self, session: Session, decoded: Decoded, duplicate_check: DuplicateCheck | None = None
    ) -> Applied:
        """Apply decoded entries in the open transaction; the caller commits."""
        return apply_decoded(session, decoded, self.clock(), duplicate_check)

    def _finish(self, batch: Batch, applied: Applied, began: float, prefetch: Prefetch | None = None) -> None:
        """After the commit: move the position or acknowledge, add to the stats, and write one log line.

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

    def _note_lost(self, session: Session, raw: Sequence[RawEntry]) -> None:
        """Note the entries whose content the stream no longer has."""
        for entry_id in [entry_id for entry_id, _, event in raw if event is None]:
            name = entry_id.decode()
            log.error("entry trimmed before it was applied", shard=self.shard, entry_id=name)
            keep_lost_entry(session, self.shard, name, arrival(name), self.clock())
