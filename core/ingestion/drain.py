"""The drain: carries a shard's entries from the stream into Postgres, a batch and a transaction at a time.

For one batch, with what a crash after each step leaves behind:

1. BEGIN, and the shard's advisory lock; if it is taken, another drain works    nothing
2. note that the batch after the shard's position is in progress, and read it   the note
3. apply the batch in that transaction                                          the note
4. COMMIT                                                                       the rows and the note: it is applied
                                                                                again, which changes nothing
5. move the position past the batch                                             nothing

Where a drain finds a note of a batch that was not finished, the consumer group delivers its entries (XREADGROUP in
step 2), and each is pending until it is acknowledged (XACK in step 5). So it is counted how often each was tried. The
more often, the smaller the batches: this finds the entries that are too much for a drain, while others go on.

While Postgres works on a batch, the next one is read and decoded.

`_drain_batch` begins the transaction and commits it. It calls shard.py to lock, decode and apply, and after the commit;
retry.py has what happens to a batch that fails.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from core.ingestion.decode import Batch, Prefetch
from core.ingestion.fast_path import DuplicateCheck
from core.ingestion.retry import EVENTS_FAULT, ShardRetry, is_events_fault
from core.stream.position import Position, successor

log = structlog.get_logger(__name__)

DELIVERIES_MOST = 5
TIME_SLICE_S = 30.0
WAIT_S = 2.0
# Longer than the wait itself; a process that died while it waited is replaced after this.
CLAIM_MS = 3_000


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain did. `is_busy`: another drain has the shard; `is_cut_short`: its time was up, there is more."""

    events: int = 0
    is_busy: bool = False
    is_cut_short: bool = False


@dataclass(frozen=True, slots=True)
class Followed:
    """How many events were applied, and whether the caller has to send the next drain of the shard."""

    events: int
    is_to_go_on: bool


@dataclass(frozen=True, slots=True)
class ShardDrain(ShardRetry):
    """Drains one shard: first what a crash left pending, then what follows the position."""

    def drain(self, time_slice_s: float = TIME_SLICE_S) -> Drained:
        """Apply batch after batch until the shard is empty, another drain has it, or the time slice is used up."""
        stop_at = time.monotonic() + time_slice_s
        events = 0
        # What a crash left comes first. A batch that cannot be acknowledged raises, so none is skipped.
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
        """One batch of what was delivered and not acknowledged: the more often it was tried, the smaller.

        So a batch that takes longer than a transaction may, for whatever reason, becomes one that does not.
        """
        oldest = self.stream.deliveries(self.shard, 1)
        if not oldest:
            return 0
        (deliveries,) = oldest.values()
        # They were tried once before they were delivered: as part of the batch that was not finished.
        if deliveries + 1 > DELIVERIES_MOST:
            return self._drain_alone(stop_at)
        size = self._part(deliveries + 1)
        return self._drain_batch(lambda: Batch(self.stream.read(self.shard, size, pending=True), None), stop_at)

    def _drain_next(self, stop_at: float, prefetch: Prefetch, duplicate_check: DuplicateCheck) -> int | None:
        """One batch of what is new: the prefetched one, if any."""

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
        """The batch after a position, noted before it is read: so one whose reading kills the worker is seen too."""
        if position.lag != 0 and not self.stream.note_in_progress(self.shard, successor(position.entry_id)):
            # A full server takes no note, but it still delivers.
            return self._deliver(self.batch_events)
        raw = self._read_after(position.entry_id)
        if raw:
            self.stream.note_in_progress(self.shard, raw[-1][0])
        return Batch(raw, position.entry_id)

    def _deliver(self, size: int) -> Batch:
        return Batch(self.stream.read(self.shard, size, pending=False), None)

    def _part(self, times: int) -> int:
        """How many entries to try at once, after so many tries."""
        return max(1, self.batch_events >> 2 * times)

    def _drain_batch(
        self,
        take: Callable[[], Batch],
        stop_at: float,
        prefetch: Prefetch | None = None,
        duplicate_check: DuplicateCheck | None = None,
    ) -> int | None:
        """Take and apply one batch; how many entries there were, None if another drain has the shard.

        With `prefetch` the next batch is read meanwhile; `duplicate_check` remembers what the batches before were like.
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
                # After delivered entries the position does not move, so a batch after them would not be noted.
                if prefetch is not None and batch.after is not None and is_full and time.monotonic() < stop_at:
                    prefetch.begin(batch.raw[-1][0], decoded.zones)
                applied = self._apply_decoded(session, decoded, duplicate_check)
        except EVENTS_FAULT as error:
            if not batch.raw or not is_events_fault(error):
                raise
            events = len(batch.raw)
            log.warning("batch failed, trying its parts", shard=self.shard, events=events, error=type(error).__name__)
            if batch.after is not None:
                # Deliver it first: parts of it that stay unfinished are pending then, and come again.
                return self._drain_batch(lambda: self._deliver(events), stop_at)
            return events if self._apply_parts(batch.raw, stop_at) else None
        self._finish(batch, applied, began, prefetch)
        return len(batch.raw)


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
            if drain.stream.wait(drain.shard, left_ms):
                drained = drain.drain(wait_s)
                events += drained.events
                if drained.is_busy:
                    return Followed(events, is_to_go_on=False)
    finally:
        drain.stream.release_wait(drain.shard)
    return Followed(events, is_to_go_on=True)
