"""Rows of dead letters: events that could not be applied, each stored whole with the reason."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from core.store import driver
from core.store.driver import Session, Sql

TENANT_LONGEST = 200
_BEFORE_ALL = datetime(1900, 1, 1, tzinfo=UTC)
# A dead letter is recorded after its event arrived, by the clock of another machine. We assume that the clocks of these
# machines differ by less than a day, so the index on `recorded_at` also finds the letters that arrived since a moment.
_CLOCKS_APART = timedelta(days=1)

DeadLetterState = Literal["dead_letter", "discarded", "replayed"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was refused. (shard, entry_id) is its position on the stream, so it is stored only once."""

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
    """The key of a dead letter: the tenant that its entry named, and its position on the stream."""

    tenant: str
    shard: int
    entry_id: str


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """A dead letter without its event, which is replaced by its size in bytes."""

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
        """The key of the dead letter."""
        return DeadLetterKey(self.tenant, self.shard, self.entry_id)

    @property
    def state(self) -> str:
        """`waiting` (for someone to decide), `replayed` or `discarded`."""
        if self.discarded_at is not None:
            return "discarded"
        return "waiting" if self.replayed_at is None else "replayed"


@dataclass(frozen=True, slots=True)
class DeadLetterQuery:
    """Which dead letters to list. None: of any tenant, of any code, of any age."""

    tenant: str | None = None
    code: str | None = None
    since: datetime | None = None
    waiting_only: bool = False
    limit: int = 50


@dataclass(frozen=True, slots=True)
class DeadLetterPosition:
    """The position of a dead letter among those of its tenant, which are ordered by when they were recorded."""

    recorded_at: datetime
    shard: int
    entry_id: str


@dataclass(frozen=True, slots=True)
class Replayable:
    """A count of a tenant's waiting dead letters with a code; with `again` it includes those that were replayed.

    `until` is when the latest of them was recorded; None if there is none.
    """

    tenant: str
    code: str
    again: bool
    count: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class UnappliedDeadLetter:
    """A dead letter; `event` is None if it has more than `longest` bytes (see `unapplied_dead_letters`)."""

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
    def position(self) -> DeadLetterPosition:
        """Its position in its tenant's list."""
        return DeadLetterPosition(self.recorded_at, self.shard, self.entry_id)

    @property
    def state(self) -> DeadLetterState:
        """What was done about it: `replayed`, `discarded`, or `dead_letter` if nothing was."""
        if self.replayed_at is not None:
            return "replayed"
        return "dead_letter" if self.discarded_at is None else "discarded"


@dataclass(frozen=True, slots=True)
class WaitingLetters:
    """A tenant's waiting dead letters: how many by code, and when the first of them was recorded; None if none is."""

    codes: dict[str, int]
    oldest_at: datetime | None


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
_KEEP = Sql(
    f"""INSERT INTO dead_letters ({", ".join(_COLUMNS)}) SELECT {", ".join(_COLUMNS)} FROM staged_dead_letters
    ON CONFLICT (tenant, shard, entry_id) DO NOTHING"""
)
_SUMMARY = (
    "tenant, shard, entry_id, code, reason, octet_length(event), arrived_at, recorded_at, replayed_at, discarded_at"
)
_OF_KEY = "WHERE tenant = :tenant AND shard = :shard AND entry_id = :entry_id"
_LIST = Sql(
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
"""By state the condition in SQL; `DeadLetterSummary.state` says the same in Python."""
_LOCK = Sql(f"SELECT {_SUMMARY} FROM dead_letters {_OF_KEY} FOR UPDATE")
_READ = Sql(f"SELECT {_SUMMARY} FROM dead_letters {_OF_KEY}")
_READ_EVENT = Sql(f"SELECT event FROM dead_letters {_OF_KEY}")
_EVENTS = Sql(
    """SELECT d.tenant, d.shard, d.entry_id, d.event
    FROM unnest(CAST(:tenants AS text[]), CAST(:shards AS integer[]), CAST(:entries AS text[]))
        AS k(tenant, shard, entry_id)
    JOIN dead_letters d USING (tenant, shard, entry_id)"""
)
_REPLAYABLE = Sql(
    f"""SELECT {_SUMMARY} FROM dead_letters
    WHERE tenant = :tenant AND code = :code AND discarded_at IS NULL AND (:again OR replayed_at IS NULL)
      AND recorded_at <= :until AND (recorded_at, shard, entry_id) > (:after_at, :after_shard, :after_entry_id)
    ORDER BY recorded_at, shard, entry_id LIMIT :most"""
)
_COUNT_REPLAYABLE = Sql(
    """SELECT count(*), max(recorded_at) FROM dead_letters
    WHERE tenant = :tenant AND code = :code AND discarded_at IS NULL AND (:again OR replayed_at IS NULL)
      AND recorded_at <= coalesce(CAST(:until AS timestamptz), 'infinity')"""
)
_MARK_REPLAYED = Sql(f"UPDATE dead_letters SET replayed_at = :now, discarded_at = NULL {_OF_KEY}")
_MARK_DISCARDED = Sql(f"UPDATE dead_letters SET discarded_at = :now {_OF_KEY}")
_OF_CODES = Sql(
    f"""SELECT code, count(*), min(recorded_at) FROM dead_letters
    WHERE tenant = :tenant AND {STATES["waiting"]} GROUP BY code ORDER BY code"""
)
_TENANTS_TO_TELL = Sql(
    f"""SELECT t.tenant FROM tenants t
    LEFT JOIN message_counts c ON c.tenant = t.tenant AND c.goal_id = '' AND c.subject = :subject
    WHERE coalesce(c.holds, false) <> EXISTS (
        SELECT FROM dead_letters d WHERE d.tenant = t.tenant AND {STATES["waiting"]})
    ORDER BY t.tenant"""
)
_FORGET = Sql(
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
    """Store refused events; an event from the same position on the stream is stored only once."""
    if letters:
        rows = (tuple(getattr(letter, column) for column in _COLUMNS) for letter in letters)
        driver.stage(session, "staged_dead_letters", _COLUMNS, rows)
        _KEEP.run(session, {})


def list_dead_letters(session: Session, query: DeadLetterQuery) -> list[DeadLetterSummary]:
    """Dead letters without their events, the latest recorded first."""
    return [DeadLetterSummary(*row) for row in _LIST.rows(session, asdict(query))]


def page_of_dead_letters(
    session: Session, tenant: str, *, code: str | None, state: str | None, after: DeadLetterPosition | None, limit: int
) -> list[DeadLetterSummary]:
    """A tenant's dead letters by code and state (None: any), the latest recorded first, starting after `after`.

    The statement has only the conditions that are used, so that the planner can choose an index by them.
    """
    conditions = ["tenant = :tenant"]
    if code is not None:
        conditions.append("code = :code")
    if state is not None:
        conditions.append(STATES[state])
    if after is not None:
        conditions.append("(recorded_at, shard, entry_id) < (:recorded_at, :shard, :entry_id)")
    statement = Sql(
        f"""SELECT {_SUMMARY} FROM dead_letters WHERE {" AND ".join(conditions)}
        ORDER BY recorded_at DESC, shard DESC, entry_id DESC LIMIT :limit"""
    )
    values: dict[str, object] = {"tenant": tenant, "code": code, "limit": limit} | (
        {} if after is None else asdict(after)
    )
    return [DeadLetterSummary(*row) for row in statement.rows(session, values)]


def read_dead_letter(session: Session, key: DeadLetterKey) -> DeadLetterSummary | None:
    """One dead letter without its event."""
    row = _READ.first(session, asdict(key))
    return None if row is None else DeadLetterSummary(*row)


def lock_dead_letter(session: Session, key: DeadLetterKey) -> DeadLetterSummary | None:
    """One dead letter, locked until the transaction ends, so that two replays of it run one after the other."""
    row = _LOCK.first(session, asdict(key))
    return None if row is None else DeadLetterSummary(*row)


def read_event(session: Session, key: DeadLetterKey) -> bytes:
    """The event of a dead letter that exists, byte for byte as it arrived."""
    return bytes(_READ_EVENT.value(session, asdict(key)))


def events_of_letters(session: Session, keys: Sequence[tuple[str, int, str]]) -> dict[tuple[str, int, str], bytes]:
    """By (tenant, shard, entry id) the events of those entries that are dead letters."""
    columns = {
        "tenants": [key[0] for key in keys],
        "shards": [key[1] for key in keys],
        "entries": [key[2] for key in keys],
    }
    return {(row[0], row[1], row[2]): bytes(row[3]) for row in _EVENTS.rows(session, columns)}


def find_replayable(
    session: Session, tenant: str, code: str, *, again: bool, until: datetime | None = None
) -> Replayable:
    """Count the dead letters that a replay would take; with `until`, only those recorded up to then."""
    which = {"tenant": tenant, "code": code, "again": again, "until": until}
    count, latest = _COUNT_REPLAYABLE.one(session, which)
    return Replayable(tenant, code, again, count, latest if until is None else until)


def page_of_replayable(
    session: Session, found: Replayable, *, after: DeadLetterSummary | None, most: int
) -> list[DeadLetterSummary]:
    """At most `most` of the counted dead letters, the oldest first, starting after `after`.

    Letters recorded since the count are left out.
    """
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
    return [DeadLetterSummary(*row) for row in _REPLAYABLE.rows(session, parameters)]


def waiting_letters(session: Session, tenant: str) -> WaitingLetters:
    """What waits of a tenant."""
    rows = _OF_CODES.rows(session, {"tenant": tenant})
    return WaitingLetters({row[0]: row[1] for row in rows}, min((row[2] for row in rows), default=None))


def tenants_to_tell(session: Session, subject: str) -> list[str]:
    """The tenants whose dead letters wait without a message of this subject, and those with one where none waits.

    Two looks into indexes for each tenant.
    """
    return [str(name) for name in _TENANTS_TO_TELL.values(session, {"subject": subject})]


def mark_replayed(session: Session, key: DeadLetterKey, now: datetime) -> None:
    """Record when a locked dead letter was put back on the stream; one that was discarded no longer counts as such."""
    _MARK_REPLAYED.run(session, asdict(key) | {"now": now})


def mark_discarded(session: Session, key: DeadLetterKey, now: datetime) -> None:
    """Record when a locked dead letter was discarded."""
    _MARK_DISCARDED.run(session, asdict(key) | {"now": now})


def forget_dead_letters(session: Session, before: datetime, most: int = 10_000) -> int:
    """Delete at most `most` dead letters that were replayed or discarded before a moment, and return how many.

    Letters that wait stay.
    """
    return _FORGET.run(session, {"before": before, "most": most})


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
    """A tenant's dead letters that were not replayed, and those that were replayed since `replayed_since`.

    The oldest come first, starting after `after`; with `since`, only letters whose event arrived at or after it.
    """
    parameters: dict[str, object] = {
        "tenant": tenant,
        "replayed_since": replayed_since,
        "longest": longest,
        "limit": limit,
    }
    conditions = []
    if since is not None:
        conditions.append(_SINCE)
        earliest = since.min.replace(tzinfo=since.tzinfo) + _CLOCKS_APART
        parameters |= {"since": since, "recorded_since": max(since, earliest) - _CLOCKS_APART}
    if after is not None:
        conditions.append(_AFTER)
        parameters |= asdict(after)
    rows = Sql(_READ_UNAPPLIED.format(" ".join(conditions))).rows(session, parameters)
    return [UnappliedDeadLetter(*row) for row in rows]
