"""Two drains that are wrong on purpose, to prove that a run finds errors. Only the worker of such a run uses them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from core.events.facts import Transaction
from core.events.worth import StoredTransaction, TransactionChange, fold_transactions
from core.ingestion import fold
from core.ingestion.decode import Batch, Prefetch
from core.ingestion.fast_path import DuplicateCheck
from tests.chaos.crash_points import CrashingDrain, use_drain

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class AckBeforeCommit(CrashingDrain):
    """Acknowledges a batch before its transaction has committed: a crash in between loses it."""

    def _drain_batch(
        self,
        take: Callable[[], Batch],
        stop_at: float,  # noqa: ARG002
        prefetch: Prefetch | None = None,  # noqa: ARG002
        duplicate_check: DuplicateCheck | None = None,  # noqa: ARG002
    ) -> int | None:
        began = time.monotonic()
        with self.sessions.begin() as session:
            if not self._lock(session):
                return None
            batch = take()
            if not batch.raw:
                return 0
            self._acknowledge(batch)
            applied = self._apply_decoded(session, self._decoded(session, batch.raw))
        self._finish(batch, applied, began)
        return len(batch.raw)

    def _acknowledge(self, batch: Batch) -> None:
        if batch.after is None:
            self.stream.acknowledge(self.shard, batch.entry_ids)
        else:
            self.stream.advance(self.shard, batch.after, batch.raw[-1][0], len(batch.raw))


def _last_arrivals(statements: Iterable[Transaction]) -> dict[str, Transaction]:
    return {statement.transaction_id: statement for statement in statements}


def _fold_as_they_come(
    stated: Mapping[str, Transaction], stored: Mapping[str, StoredTransaction]
) -> list[TransactionChange]:
    """Fold as if every stored transaction had a time long ago, so that any later arrival wins."""
    aged = {
        name: known._replace(
            transaction=known.transaction._replace(rank=known.transaction.rank._replace(time=_LONG_AGO))
        )
        for name, known in stored.items()
    }
    changes = fold_transactions(stated, {**stored, **{name: aged[name] for name in stated if name in aged}})
    return [change._replace(before=stored.get(change.after.transaction.transaction_id)) for change in changes]


def ack_before_commit() -> None:
    """Make this process's drains acknowledge too early."""
    use_drain(AckBeforeCommit)


def last_arrival() -> None:
    """Make this process's drains apply the last arrival of a transaction, whatever its time."""
    fold.winning_transactions = _last_arrivals  # type: ignore[attr-defined]
    fold.fold_transactions = _fold_as_they_come  # type: ignore[attr-defined]


BROKEN: Mapping[str, Callable[[], None]] = {"ack-before-commit": ack_before_commit, "last-arrival": last_arrival}
