"""Rows of dead letters as the reconciliation reads them: oldest first, with the event where it is not too long."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store.dead_letters import LetterPlace

# A letter is recorded after its event arrived, by another clock: those of machines that work together are not a day
# apart, so the index on when letters were recorded leads to those that arrived since a moment.
_CLOCKS_APART = timedelta(days=1)

LetterState = Literal["dead_letter", "discarded", "replayed"]


@dataclass(frozen=True, slots=True)
class UnappliedLetter:
    """A letter; `event` is None where it is longer than was asked for."""

    shard: int
    entry_id: str
    code: str
    reason: str
    arrived_at: datetime
    recorded_at: datetime
    replayed_at: datetime | None
    discarded_at: datetime | None
    event: bytes | None

    @property
    def place(self) -> LetterPlace:
        """Where it stands."""
        return LetterPlace(self.recorded_at, self.shard, self.entry_id)

    @property
    def state(self) -> LetterState:
        """What was done about it: `dead_letter` where nothing was."""
        if self.replayed_at is not None:
            return "replayed"
        return "dead_letter" if self.discarded_at is None else "discarded"


_READ = """SELECT shard, entry_id, code, reason, arrived_at, recorded_at, replayed_at, discarded_at,
        CASE WHEN octet_length(event) <= :longest THEN event END
    FROM dead_letters
    WHERE tenant = :tenant {} AND (replayed_at IS NULL OR replayed_at >= :replayed_since)
    ORDER BY recorded_at, shard, entry_id LIMIT :limit"""
_SINCE = "AND arrived_at >= :since AND recorded_at >= :recorded_since"
_AFTER = "AND (recorded_at, shard, entry_id) > (:recorded_at, :shard, :entry_id)"


def unapplied_letters(
    session: Session,
    tenant: str,
    *,
    since: datetime | None,
    replayed_since: datetime,
    after: LetterPlace | None,
    longest: int,
    limit: int,
) -> list[UnappliedLetter]:
    """A tenant's letters that have no other entry on the stream, and those whose event was put there again lately."""
    asked: dict[str, object] = {"tenant": tenant, "replayed_since": replayed_since, "longest": longest, "limit": limit}
    conditions = []
    if since is not None:
        conditions.append(_SINCE)
        earliest = since.min.replace(tzinfo=since.tzinfo) + _CLOCKS_APART
        asked |= {"since": since, "recorded_since": max(since, earliest) - _CLOCKS_APART}
    if after is not None:
        conditions.append(_AFTER)
        asked |= asdict(after)
    rows = session.execute(text(_READ.format(" ".join(conditions))), asked)
    return [UnappliedLetter(*row) for row in rows]
