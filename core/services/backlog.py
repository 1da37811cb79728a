"""The backlog: events that were accepted and have not been applied yet, and why.

An event is first on the stream, after its shard's position. Then it is applied, or stored as a dead letter, in the
Postgres transaction that moves the position. So a caller first reads the positions, then the stream, and then the dead
letters in a transaction that begins after that. An event that is found in neither has been applied. Of what has been
applied, the facts in another currency than their account are listed too, last: they count nothing.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import redis

from core.events.calendar import EARLIEST
from core.events.envelope import EVENT_LONGEST_BYTES, EventHead, head_of
from core.ingestion.attempts import tried_now
from core.services.inputs import check_past, is_id
from core.services.pages import no_position
from core.store.dead_letters import DeadLetterPosition, DeadLetterState, UnappliedDeadLetter, unapplied_dead_letters
from core.store.driver import Session
from core.store.other_currencies import FactType, OtherCurrencyFact, OtherCurrencyPosition, other_currency_facts
from core.store.positions import Position
from core.stream.backlog import BacklogEntry, Tried, read_backlog
from core.stream.entries import tenant_of
from core.stream.position import from_oldest, holds
from core.stream.server import raising_stream_unavailable
from core.stream.stream import EventStream, arrival

READ_S = 0.5
"""How long one page may read the stream, in seconds; the stream may have millions of entries of other tenants."""

REPLAYED_LATELY = timedelta(minutes=1)
"""How long a dead letter is listed after it was replayed.

If it is replayed while a caller reads the stream, its new entry may be on a part that the caller has read already.
"""

_CURSOR = re.compile(
    r"(?P<began>\S+) (?P<place>stream (?P<shard>\d{1,4})( (?P<entry>\d{1,19}-\d{1,19}))?"
    r"|letters( (?P<at>\S+) (?P<letter_shard>\d{1,4}) (?P<letter>.+))?"
    r"|facts( (?P<fact>report|transaction) (?P<fact_at>\S+) (?P<account>[^\x1f]+)\x1f(?P<name>.+))?)",
    re.ASCII,
)


_TYPES: dict[FactType, str] = {"report": "milepost.balance.reported", "transaction": "milepost.transaction.recorded"}

State = Literal["waiting", "pending", "other_currency"] | DeadLetterState


@dataclass(frozen=True, slots=True)
class UnappliedEvent:
    """An event that has not been applied.

    `state`: `waiting` (no drain has tried it), `pending` (a drain has tried it, `deliveries` times), `dead_letter`
    (refused, with `code` and `reason`), `discarded` (refused, and then discarded by someone), `replayed` (put back on
    the stream a moment ago) or `other_currency` (kept, but it counts nothing, `reason` says why; its place on the
    stream and when it was accepted are not kept).
    """

    state: State
    shard: int | None
    entry_id: str | None
    accepted_at: datetime | None
    head: EventHead
    deliveries: int | None = None
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UnappliedPosition:
    """How far a caller has read. `began`: when the caller asked for the first page.

    First the shards are read: `entry_id` is the last entry of `shard` that was read. Then, with `is_past_stream`, the
    dead letters are read: `letter` is the last one that was returned. The facts in other currencies come last, with
    `is_past_letters`: `fact` is the last one that was returned.
    """

    began: datetime
    shard: int = 0
    entry_id: str | None = None
    is_past_stream: bool = False
    letter: DeadLetterPosition | None = None
    is_past_letters: bool = False
    fact: OtherCurrencyPosition | None = None

    def __str__(self) -> str:
        began = self.began.isoformat()
        if self.is_past_letters:
            fact = self.fact
            last = "" if fact is None else f" {fact.type} {fact.at.isoformat()} {fact.account_id}\x1f{fact.name}"
            return f"{began} facts{last}"
        if not self.is_past_stream:
            return f"{began} stream {self.shard}" + (f" {self.entry_id}" if self.entry_id else "")
        if self.letter is None:
            return f"{began} letters"
        return f"{began} letters {self.letter.recorded_at.isoformat()} {self.letter.shard} {self.letter.entry_id}"


@dataclass(frozen=True, slots=True)
class Applied:
    """How far each shard is applied, and how many events a drain tries at once."""

    positions: Mapping[int, Position]
    batch_events: int


@dataclass(frozen=True, slots=True)
class UnappliedPage:
    """The events that were found, and the position at which the next page begins; None if everything was read."""

    events: tuple[UnappliedEvent, ...]
    next: UnappliedPosition | None


def begin_unapplied(cursor: str | None, since: datetime | None, now: datetime) -> UnappliedPosition:
    """The position at which a page begins.

    Raises InvalidField for a `since` in the future, and for a cursor that no page returned.
    """
    check_past("since", since, now)
    if cursor is None:
        return UnappliedPosition(now)
    try:
        return _parse_cursor(cursor)
    except ValueError:
        raise no_position() from None


def read_stream(
    client: redis.Redis,
    stream: EventStream,
    tenant: str,
    position: UnappliedPosition,
    applied: Applied,
    *,
    since: datetime | None,
    limit: int,
) -> UnappliedPage:
    """A tenant's events on the stream, from a position on; `next` is past the stream once all of it was read.

    `applied` was read before. Call it outside any transaction. It reads for READ_S, but always some entries, so that a
    caller who asks for page after page comes to an end. Raises StreamUnavailable.
    """
    stop_at = time.monotonic() + READ_S
    found: list[UnappliedEvent] = []
    with raising_stream_unavailable():
        for entries, read_to in _read_entries(client, stream, position, applied, since):
            for entry in entries:
                if tenant_of(entry.fields.get(b"tenant")) != tenant:
                    continue
                found.append(_from_entry(read_to.shard, entry))
                if len(found) == limit:
                    return UnappliedPage(tuple(found), replace(read_to, entry_id=entry.entry_id))
            if time.monotonic() > stop_at:
                return UnappliedPage(tuple(found), read_to)
    return UnappliedPage(tuple(found), UnappliedPosition(position.began, is_past_stream=True))


def read_unapplied_dead_letters(
    session: Session,
    tenant: str,
    page: UnappliedPage,
    position: UnappliedPosition,
    *,
    since: datetime | None,
    limit: int,
) -> UnappliedPage:
    """The page, filled up with a tenant's dead letters from a position on, and then its facts in other currencies.

    The transaction must have begun after the stream was read.
    """
    if position.is_past_letters:
        return _with_other_currencies(session, tenant, page, position, since=since, limit=limit)
    room = limit - len(page.events)
    letters = unapplied_dead_letters(
        session,
        tenant,
        since=since,
        replayed_since=position.began - REPLAYED_LATELY,
        after=position.letter,
        longest=EVENT_LONGEST_BYTES,
        limit=room + 1,
    )
    events = page.events + tuple(_from_dead_letter(letter) for letter in letters[:room])
    if len(letters) <= room:
        page, position = UnappliedPage(events, None), replace(position, letter=None, is_past_letters=True)
        return _with_other_currencies(session, tenant, page, position, since=since, limit=limit)
    last_shown = letters[room - 1].position if room else position.letter
    return UnappliedPage(events, replace(position, letter=last_shown))


def _with_other_currencies(
    session: Session,
    tenant: str,
    page: UnappliedPage,
    position: UnappliedPosition,
    *,
    since: datetime | None,
    limit: int,
) -> UnappliedPage:
    room = limit - len(page.events)
    facts = other_currency_facts(session, tenant, since=since, after=position.fact, limit=room + 1)
    events = page.events + tuple(_from_fact(fact) for fact in facts[:room])
    if len(facts) <= room:
        return UnappliedPage(events, None)
    return UnappliedPage(events, replace(position, fact=facts[room - 1].position if room else position.fact))


def _read_entries(
    client: redis.Redis, stream: EventStream, position: UnappliedPosition, applied: Applied, since: datetime | None
) -> Iterator[tuple[list[BacklogEntry], UnappliedPosition]]:
    """Some entries of a shard at a time, each time with the position after them."""
    since_ms = 0 if since is None else int(since.timestamp() * 1000)
    for shard in stream.existing_shards():
        if shard < position.shard:
            continue
        after = position.entry_id if shard == position.shard else None
        to, look = applied.positions.get(shard, Position()), stream.look(shard)
        if not holds(to, look):
            to = from_oldest(look)
        until_ms = None if to.begun_at is None else int(to.begun_at.timestamp() * 1000)
        tried = Tried(*tried_now(to, applied.batch_events), until_ms)
        for entries in read_backlog(client, shard, to, tried, since_ms=since_ms, after=after):
            yield entries, UnappliedPosition(position.began, shard, entries[-1].entry_id)


def _from_entry(shard: int, entry: BacklogEntry) -> UnappliedEvent:
    return UnappliedEvent(
        state="waiting" if entry.deliveries is None else "pending",
        shard=shard,
        entry_id=entry.entry_id,
        accepted_at=arrival(entry.entry_id),
        head=head_of(entry.fields.get(b"event", b"")),
        deliveries=entry.deliveries,
    )


def _from_dead_letter(letter: UnappliedDeadLetter) -> UnappliedEvent:
    return UnappliedEvent(
        state=letter.state,
        shard=letter.shard,
        entry_id=letter.entry_id,
        accepted_at=letter.arrived_at,
        head=EventHead() if letter.event is None else head_of(letter.event),
        code=letter.code,
        reason=letter.reason,
    )


def _from_fact(fact: OtherCurrencyFact) -> UnappliedEvent:
    account_id = fact.position.account_id
    return UnappliedEvent(
        state="other_currency",
        shard=None,
        entry_id=None,
        accepted_at=None,
        head=EventHead(fact.event_id, fact.source, _TYPES[fact.position.type]),
        reason=f"it is in {fact.currency}, but the account {account_id} is in {fact.account_currency}",
    )


def _parse_cursor(cursor: str) -> UnappliedPosition:
    """The position that `UnappliedPosition.__str__` wrote; raises ValueError."""
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise ValueError(cursor)
    began = _moment(found["began"])
    if found["at"] is not None:
        if not is_id(found["letter"]):
            raise ValueError(cursor)
        last_shown = DeadLetterPosition(_moment(found["at"]), int(found["letter_shard"]), found["letter"])
        return UnappliedPosition(began, is_past_stream=True, letter=last_shown)
    if found["fact"] is not None:
        if not (is_id(found["account"]) and is_id(found["name"])):
            raise ValueError(cursor)
        type: FactType = "report" if found["fact"] == "report" else "transaction"
        last_fact = OtherCurrencyPosition(type, found["account"], _moment(found["fact_at"]), found["name"])
        return UnappliedPosition(began, is_past_stream=True, is_past_letters=True, fact=last_fact)
    if found["place"] == "facts":
        return UnappliedPosition(began, is_past_stream=True, is_past_letters=True)
    if found["shard"] is None:
        return UnappliedPosition(began, is_past_stream=True)
    return UnappliedPosition(began, int(found["shard"]), found["entry"])


def _moment(text: str) -> datetime:
    """A moment that is not before EARLIEST, so that earlier ones can be computed from it; raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment < EARLIEST:
        raise ValueError(text)
    return moment
