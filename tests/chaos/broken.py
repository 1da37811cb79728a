"""Drains and a deliverer that are wrong on purpose, to prove that a run finds errors; only its workers use them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime

from core.delivery import deliverer
from core.delivery.deliverer import Deliverer
from core.delivery.sender import Outcome
from core.events.facts import Transaction
from core.events.transactions import StoredTransaction, with_statements
from core.ingestion import compare
from core.ingestion.decode import Prefetch
from core.ingestion.drain import ShardDrain, Step
from core.ingestion.facts import DuplicateCheck
from core.store.deliveries import Claimed
from tests.chaos.crash_points import BEFORE_COMMIT, CrashingDrain, use_drain

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class PositionFirst(CrashingDrain):
    """Moves the position in a transaction of its own, before a batch is applied: a crash in between loses the batch."""

    def _apply_next(self, prefetch: Prefetch, check: DuplicateCheck, stop_at: float) -> Step:  # noqa: ARG002
        began = time.monotonic()
        with self.sessions.begin() as session:
            position = self._lock(session)
            batch = self._read(position)
            if not batch.raw:
                return Step(position.entry_id)
            ShardDrain._pass(self, session, position, batch, goes_on=False)
        with self.sessions.begin() as session:
            applied = self._apply(session, self._decoded(session, batch), check)
            self.crash_points.reach(BEFORE_COMMIT)
        self._finish(batch, applied, began)
        return Step(batch.last, len(batch.raw), is_more=True, goes_on=True)


def _state_as_they_come(
    statements: Iterable[Transaction], stored: Mapping[str, StoredTransaction], missing: Set[Transaction] = frozenset()
) -> dict[str, StoredTransaction]:
    """Compare as if every stored transaction had a time long ago, so that any later arrival wins."""
    stated = {statement.transaction_id: statement for statement in statements}
    aged = {
        name: known._replace(
            transaction=known.transaction._replace(rank=known.transaction.rank._replace(time=_LONG_AGO))
        )
        for name, known in stored.items()
    }
    aged = {name: aged[name] for name in stated if name in aged}
    return with_statements(stated.values(), {**stored, **aged}, missing)


class RecordedFirst(Deliverer):
    """Records what it has claimed as delivered, and only then sends it: a crash in between loses the message."""

    def _send(self, claimed: Sequence[Claimed], now: datetime) -> None:
        ended = [deliverer._Ended(each, now, Outcome(204, None, 0)) for each in claimed]
        with self._sessions.begin() as session:
            deliverer._record(session, ended, now)
        super()._send(claimed, now)


def position_first() -> None:
    """Make this process's drains move the position too early."""
    use_drain(PositionFirst)


def last_arrival() -> None:
    """Make this process's drains apply the last arrival of a transaction, whatever its time."""
    compare.with_statements = _state_as_they_come  # type: ignore[attr-defined]


def recorded_first() -> None:
    """Make this process's deliverer record what it has not sent."""
    deliverer.Deliverer = RecordedFirst  # type: ignore[misc]  # where the job finds the class of its deliverer


BROKEN: Mapping[str, Callable[[], None]] = {
    "position-first": position_first,
    "last-arrival": last_arrival,
    "recorded-first": recorded_first,
}
