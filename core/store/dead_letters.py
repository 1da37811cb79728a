"""Rows of dead letters: what could not take effect, whole, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store import driver

TENANT_LONGEST = 200
_BEFORE_ALL = datetime(1900, 1, 1, tzinfo=UTC)
# A letter is recorded after its event arrived, by another clock: those of machines that work together are not a day
# apart, so the index on when letters were recorded leads to those that arrived since a moment.
_CLOCKS_APART = timedelta(days=1)

DeadLetterState = Literal["dead_letter", "discarded", "replayed"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was refused. (shard, entry_id) names its place on the stream, so it is kept once."""

    tenant: str
    shard: int
    entry_id: str
    code: str
    reason: str
    event: bytes
    arrived_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetterKey:
    """Which letter: the tenant it named, and its place on the stream."""

    tenant: str
    shard: int
    entry_id: str


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """A letter without its event, of which only the size is told."""

    tenant: str
    shard: int
    entry_id: str
    code: str
    reason: str
    event_bytes: int
    arrived_at: datetime
    recorded_at: datetime
    replayed_at: datetime | None
    discarded_at: datetime | None

    @property
    def key(self) -> DeadLetterKey:
        """Which letter it is."""
        return DeadLetterKey(self.tenant, self.shard, self.entry_id)

    @property
    def state(self) -> str:
        """`waiting` for someone to decide, `replayed` or `discarded`."""
        if self.discarded_at is not None:
            return "discarded"
        return "waiting" if self.replayed_at is None else "replayed"


@dataclass(frozen=True, slots=True)
class DeadLetterQuery:
    """Which letters to list. None: of any tenant, of any code, of any age."""

    tenant: str | None = None
    code: str | None = None
    since: datetime | None = None
    waiting_only: bool = False
    limit: int = 50


@dataclass(frozen=True, slots=True)
class DeadLetterPosition:
    """Where a letter stands among those of its tenant, in order of when they were kept."""

    recorded_at: datetime
    shard: int
    entry_id: str


@dataclass(frozen=True, slots=True)
class Replayable:
    """A tenant's letters of a code that wait, with `again` also those that were replayed; `until`: of the latest."""

    tenant: str
    code: str
    again: bool
    count: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class UnappliedDeadLetter:
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
    def place(self) -> DeadLetterPosition:
        """Where it stands."""
        return DeadLetterPosition(self.recorded_at, self.shard, self.entry_id)

    @property
    def state(self) -> DeadLetterState:
        """What was done about it: `dead_letter` where nothing was."""
        if self.replayed_at is not None:
            return "replayed"
        return "dead_letter" if self.discarded_at is None else "discarded"


_COLUMNS = {
    "tenant": driver.TEXT,
    "shard": driver.INT4,
    "entry_id": driver.TEXT,
    "code": driver.TEXT,
    "reason": driver.TEXT,
    "event": driver.BYTEA,
    "arrived_at": driver.TIMESTAMPTZ,
    "recorded_at": driver.TIMESTAMPTZ,
}
_KEEP = text(
    f"""INSERT INTO dead_letters ({", ".join(_COLUMNS)}) SELECT {", ".join(_COLUMNS)} FROM staged_dead_letters
    ON CONFLICT (tenant, shard, entry_id) DO NOTHING"""
)
_SUMMARY = (
    "tenant, shard, entry_id, code, reason, octet_length(event), arrived_at, recorded_at, replayed_at, discarded_at"
)
_OF_KEY = "WHERE tenant = :tenant AND shard = :shard AND entry_id = :entry_id"
_LIST = text(
    f"""SELECT {_SUMMARY} FROM dead_letters
    WHERE (CAST(:tenant AS text) IS NULL OR tenant = :tenant)
      AND (CAST(:code AS text) IS NULL OR code = :code)
      AND (CAST(:since AS timestamptz) IS NULL OR recorded_at >= :since)
      AND (NOT :waiting_only OR (replayed_at IS NULL AND discarded_at IS NULL))
    ORDER BY recorded_at DESC, tenant DESC, shard DESC, entry_id DESC LIMIT :limit"""
)
STATES = {
    "waiting": "replayed_at IS NULL AND discarded_at IS NULL",
    "replayed": "replayed_at IS NOT NULL AND discarded_at IS NULL",
    "discarded": "discarded_at IS NOT NULL",
}
"""What a letter's state is made of, as `DeadLetterSummary.state` tells it."""
_LOCK = text(f"SELECT {_SUMMARY} FROM dead_letters {_OF_KEY} FOR UPDATE")
_READ = text(f"SELECT {_SUMMARY} FROM dead_letters {_OF_KEY}")
_READ_EVENT = text(f"SELECT event FROM dead_letters {_OF_KEY}")
_REPLAYABLE = text(
    f"""SELECT {_SUMMARY} FROM dead_letters
    WHERE tenant = :tenant AND code = :code AND discarded_at IS NULL AND (:again OR replayed_at IS NULL)
      AND recorded_at <= :until AND (recorded_at, shard, entry_id) > (:after_at, :after_shard, :after_entry_id)
    ORDER BY recorded_at, shard, entry_id LIMIT :most"""
)
_COUNT_REPLAYABLE = text(
    """SELECT count(*), max(recorded_at) FROM dead_letters
    WHERE tenant = :tenant AND code = :code AND discarded_at IS NULL AND (:again OR replayed_at IS NULL)
      AND recorded_at <= coalesce(CAST(:until AS timestamptz), 'infinity')"""
)
_MARK_REPLAYED = text(f"UPDATE dead_letters SET replayed_at = :now, discarded_at = NULL {_OF_KEY}")
_MARK_DISCARDED = text(f"UPDATE dead_letters SET discarded_at = :now {_OF_KEY}")
_FORGET = text(
    """DELETE FROM dead_letters WHERE (tenant, shard, entry_id) IN (
        SELECT tenant, shard, entry_id FROM dead_letters
        WHERE greatest(replayed_at, discarded_at) < :before LIMIT :most FOR UPDATE SKIP LOCKED)"""
)
_READ_UNAPPLIED = """SELECT shard, entry_id, code, reason, arrived_at, recorded_at, replayed_at, discarded_at,
        CASE WHEN octet_length(event) <= :longest THEN event END
    FROM dead_letters
    WHERE tenant = :tenant {} AND (replayed_at IS NULL OR replayed_at >= :replayed_since)
    ORDER BY recorded_at, shard, entry_id LIMIT :limit"""
_SINCE = "AND arrived_at >= :since AND recorded_at >= :recorded_since"
_AFTER = "AND (recorded_at, shard, entry_id) > (:recorded_at, :shard, :entry_id)"


def keep_dead_letters(session: Session, letters: Sequence[DeadLetter]) -> None:
    """Keep refused events; one from the same place on the stream is kept already."""
    if letters:
        rows = (tuple(getattr(letter, column) for column in _COLUMNS) for letter in letters)
        driver.stage(session, "staged_dead_letters", _COLUMNS, rows)
        session.execute(_KEEP)


def list_dead_letters(session: Session, query: DeadLetterQuery) -> list[DeadLetterSummary]:
    """Letters without their events, the latest kept first."""
    return [DeadLetterSummary(*row) for row in session.execute(_LIST, asdict(query))]


def page_of_dead_letters(
    session: Session, tenant: str, *, code: str | None, state: str | None, after: DeadLetterPosition | None, limit: int
) -> list[DeadLetterSummary]:
    """A tenant's letters of a code and in a state (None: of any), the latest kept first, from behind `after` on.

    Only the conditions that are asked for are in the statement, so that the planner can choose an index by them.
    """
    conditions = ["tenant = :tenant"]
    if code is not None:
        conditions.append("code = :code")
    if state is not None:
        conditions.append(STATES[state])
    if after is not None:
        conditions.append("(recorded_at, shard, entry_id) < (:recorded_at, :shard, :entry_id)")
    statement = text(
        f"""SELECT {_SUMMARY} FROM dead_letters WHERE {" AND ".join(conditions)}
        ORDER BY recorded_at DESC, shard DESC, entry_id DESC LIMIT :limit"""
    )
    given = {"tenant": tenant, "code": code, "limit": limit} | ({} if after is None else asdict(after))
    wanted = {name: given[name] for name in statement.compile().params}
    return [DeadLetterSummary(*row) for row in session.execute(statement, wanted)]


def read_dead_letter(session: Session, key: DeadLetterKey) -> DeadLetterSummary | None:
    """One letter without its event."""
    row = session.execute(_READ, asdict(key)).first()
    return None if row is None else DeadLetterSummary(*row)


def lock_dead_letter(session: Session, key: DeadLetterKey) -> DeadLetterSummary | None:
    """One letter, locked until the transaction ends, so that two replays of it come one after the other."""
    row = session.execute(_LOCK, asdict(key)).first()
    return None if row is None else DeadLetterSummary(*row)


def read_event(session: Session, key: DeadLetterKey) -> bytes:
    """The event of a letter that is there, byte for byte as it came."""
    return bytes(session.execute(_READ_EVENT, asdict(key)).scalar_one())


def find_replayable(
    session: Session, tenant: str, code: str, *, again: bool, until: datetime | None = None
) -> Replayable:
    """Count such letters, if `until` is given those kept up to then."""
    which = {"tenant": tenant, "code": code, "again": again, "until": until}
    count, latest = session.execute(_COUNT_REPLAYABLE, which).one()
    return Replayable(tenant, code, again, count, latest if until is None else until)


def page_of_replayable(
    session: Session, found: Replayable, *, after: DeadLetterSummary | None, most: int
) -> list[DeadLetterSummary]:
    """At most `most` of the letters that were counted, the oldest first, behind `after`; what came since is not in."""
    parameters = {
        "tenant": found.tenant,
        "code": found.code,
        "again": found.again,
        "until": found.until,
        "after_at": _BEFORE_ALL if after is None else after.recorded_at,
        "after_shard": -1 if after is None else after.shard,
        "after_entry_id": "" if after is None else after.entry_id,
        "most": most,
    }
    return [DeadLetterSummary(*row) for row in session.execute(_REPLAYABLE, parameters)]


def mark_replayed(session: Session, key: DeadLetterKey, now: datetime) -> None:
    """Note when a locked letter went onto the stream again; one that was given up is so no more."""
    session.execute(_MARK_REPLAYED, asdict(key) | {"now": now})


def mark_discarded(session: Session, key: DeadLetterKey, now: datetime) -> None:
    """Note when a locked letter was given up."""
    session.execute(_MARK_DISCARDED, asdict(key) | {"now": now})


def forget_dead_letters(session: Session, before: datetime, most: int = 10_000) -> int:
    """Drop at most `most` letters that were replayed or discarded before a moment; how many. Waiting ones stay."""
    return session.execute(_FORGET, {"before": before, "most": most}).rowcount  # type: ignore[attr-defined, no-any-return]


def unapplied_dead_letters(
    session: Session,
    tenant: str,
    *,
    since: datetime | None,
    replayed_since: datetime,
    after: DeadLetterPosition | None,
    longest: int,
    limit: int,
) -> list[UnappliedDeadLetter]:
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
    rows = session.execute(text(_READ_UNAPPLIED.format(" ".join(conditions))), asked)
    return [UnappliedDeadLetter(*row) for row in rows]
