"""The act read_unapplied: what was accepted and has not taken effect, and why.

An event lies on the stream, then its effect is committed in Postgres, or it becomes a dead letter there, and only then
does it leave the stream. So the stream is looked at first, and the dead letters after it, in a transaction that begins
behind that look: what is found in neither has taken effect.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import redis
from sqlalchemy.orm import Session

from core.events.calendar import EARLIEST
from core.events.envelope import EVENT_LONGEST_BYTES, EventHead, head_of
from core.services.inputs import check_past, is_id
from core.services.pages import no_position
from core.store.dead_letters import DeadLetterPosition, DeadLetterState, UnappliedDeadLetter, unapplied_dead_letters
from core.stream.backlog import BacklogEntry, read_backlog
from core.stream.position import tenant_of
from core.stream.server import refusing_calmly
from core.stream.stream import EventStream, arrival

LOOK_S = 0.5
"""How long one page may look at the stream, which may hold millions of entries of other tenants."""

REPLAYED_LATELY = timedelta(minutes=1)
"""A letter that is replayed while the stream is looked at may be behind that look: it is told, too, for so long."""

_CURSOR = re.compile(
    r"(?P<began>\S+) (stream (?P<shard>\d{1,4})( (?P<entry>\d{1,19}-\d{1,19}))?"
    r"|letters( (?P<at>\S+) (?P<letter_shard>\d{1,4}) (?P<letter>.+))?)",
    re.ASCII,
)


State = Literal["waiting", "pending"] | DeadLetterState


@dataclass(frozen=True, slots=True)
class UnappliedEvent:
    """An event that has not taken effect.

    `state`: `waiting` (no drain has taken it up), `pending` (one has, `deliveries` times), `dead_letter` (refused,
    with `code` and `reason`), `discarded` (so, and given up) or `replayed` (put onto the stream anew a moment ago).
    """

    state: State
    shard: int
    entry_id: str
    accepted_at: datetime
    head: EventHead
    deliveries: int | None = None
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BacklogPosition:
    """How far a reading has come. `began`: when its first page was asked for.

    First the shards, `entry_id` being the last entry of `shard` that was looked at; then, once `is_past_stream`, the
    letters, `letter` being the last one shown.
    """

    began: datetime
    shard: int = 0
    entry_id: str | None = None
    is_past_stream: bool = False
    letter: DeadLetterPosition | None = None

    def __str__(self) -> str:
        began = self.began.isoformat()
        if not self.is_past_stream:
            return f"{began} stream {self.shard}" + (f" {self.entry_id}" if self.entry_id else "")
        if self.letter is None:
            return f"{began} letters"
        return f"{began} letters {self.letter.recorded_at.isoformat()} {self.letter.shard} {self.letter.entry_id}"


@dataclass(frozen=True, slots=True)
class UnappliedPage:
    """What was found, and where to go on; None: all was looked at."""

    events: tuple[UnappliedEvent, ...]
    next: BacklogPosition | None


def begin_unapplied(cursor: str | None, since: datetime | None, now: datetime) -> BacklogPosition:
    """Where a page begins; raises InvalidField for a moment to come and for a cursor that no page gave."""
    check_past("since", since, now)
    if cursor is None:
        return BacklogPosition(now)
    try:
        return _place(cursor)
    except ValueError:
        raise no_position() from None


def read_stream(
    client: redis.Redis, stream: EventStream, tenant: str, place: BacklogPosition, *, since: datetime | None, limit: int
) -> UnappliedPage:
    """What lies on the stream for a tenant, from a place on; `next` is past the stream once all of it was looked at.

    To be called outside any transaction. Looks for LOOK_S, and at some entries at least, so that whoever goes on comes
    to an end. Raises StreamUnavailable.
    """
    give_up_at = time.monotonic() + LOOK_S
    found: list[UnappliedEvent] = []
    with refusing_calmly():
        for entries, reached in _collect(client, stream, place, since):
            for entry in entries:
                if entry.fields is None or tenant_of(entry.fields.get(b"tenant")) != tenant:
                    continue
                found.append(_on_stream(reached.shard, entry, entry.fields))
                if len(found) == limit:
                    return UnappliedPage(tuple(found), replace(reached, entry_id=entry.entry_id))
            if time.monotonic() > give_up_at:
                return UnappliedPage(tuple(found), reached)
    return UnappliedPage(tuple(found), BacklogPosition(place.began, is_past_stream=True))


def read_letters(
    session: Session, tenant: str, page: UnappliedPage, place: BacklogPosition, *, since: datetime | None, limit: int
) -> UnappliedPage:
    """The page, filled up with a tenant's letters from a place on.

    The transaction must have begun after the look at the stream.
    """
    room = limit - len(page.events)
    letters = unapplied_dead_letters(
        session,
        tenant,
        since=since,
        replayed_since=place.began - REPLAYED_LATELY,
        after=place.letter,
        longest=EVENT_LONGEST_BYTES,
        limit=room + 1,
    )
    shown = tuple(_refused(letter) for letter in letters[:room])
    further = (
        replace(place, letter=letters[room - 1].position if room else place.letter) if len(letters) > room else None
    )
    return UnappliedPage(page.events + shown, further)


def _collect(
    client: redis.Redis, stream: EventStream, place: BacklogPosition, since: datetime | None
) -> Iterator[tuple[list[BacklogEntry], BacklogPosition]]:
    """Some entries of a shard at a time, each with the place behind them."""
    since_ms = 0 if since is None else int(since.timestamp() * 1000)
    for shard in stream.existing_shards():
        if shard < place.shard:
            continue
        after = place.entry_id if shard == place.shard else None
        for entries in read_backlog(client, shard, since_ms=since_ms, after=after):
            yield entries, BacklogPosition(place.began, shard, entries[-1].entry_id)


def _on_stream(shard: int, entry: BacklogEntry, fields: dict[bytes, bytes]) -> UnappliedEvent:
    return UnappliedEvent(
        state="waiting" if entry.deliveries is None else "pending",
        shard=shard,
        entry_id=entry.entry_id,
        accepted_at=arrival(entry.entry_id),
        head=head_of(fields.get(b"event", b"")),
        deliveries=entry.deliveries,
    )


def _refused(letter: UnappliedDeadLetter) -> UnappliedEvent:
    return UnappliedEvent(
        state=letter.state,
        shard=letter.shard,
        entry_id=letter.entry_id,
        accepted_at=letter.arrived_at,
        head=EventHead() if letter.event is None else head_of(letter.event),
        code=letter.code,
        reason=letter.reason,
    )


def _place(cursor: str) -> BacklogPosition:
    """The place that `Place.__str__` told; raises ValueError."""
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise ValueError(cursor)
    began = _moment(found["began"])
    if found["at"] is not None:
        if not is_id(found["letter"]):
            raise ValueError(cursor)
        last_shown = DeadLetterPosition(_moment(found["at"]), int(found["letter_shard"]), found["letter"])
        return BacklogPosition(began, is_past_stream=True, letter=last_shown)
    if found["shard"] is None:
        return BacklogPosition(began, is_past_stream=True)
    return BacklogPosition(began, int(found["shard"]), found["entry"])


def _moment(text: str) -> datetime:
    """A moment of which there are some before; raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment < EARLIEST:
        raise ValueError(text)
    return moment
