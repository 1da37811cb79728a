"""Dead letters: list and show them, put them back on the stream, and discard them.

A replay has three steps:

1. BEGIN, lock the dead letter, and refuse if it was replayed already. A crash after this step leaves nothing behind.
2. XADD the event, byte for byte as it arrived. A crash after this step leaves the event on the stream and the letter
   not marked as replayed. Replaying the letter once more is harmless, since facts have keys.
3. Mark the letter as replayed, record the operation in the audit, and COMMIT. Then everything is done.

In the other order an event could be lost: its letter marked as replayed, but the event on no stream.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from core.errors import Conflict, NotFound
from core.goals.goal import check_text
from core.services.inputs import is_id
from core.services.pages import Page, cut, moment_and_id_after, no_position
from core.services.tenants import require_tenant
from core.store import dead_letters as store
from core.store.database import Sessions
from core.store.dead_letters import DeadLetterKey, DeadLetterPosition, DeadLetterSummary, Replayable
from core.store.driver import Session
from core.store.tenants import note_operation
from core.stream.stream import EventStream

LOST = "lost"
REASON_LONGEST = 500
AT_ONCE = 100
PAGE = 1_000
BYTES_AT_ONCE = 8 * 2**20
# Any shard will do. All dead letters that a tenant replays go to the same one: they are few and need no spreading.
_ANY_ACCOUNT = ""


def list_dead_letters(
    session: Session, tenant: str, *, code: str | None, state: str | None, limit: int, cursor: str | None
) -> Page[DeadLetterSummary]:
    """A page of a tenant's dead letters without their events, the latest recorded first; raises InvalidField."""
    after = _position_after(cursor)
    if code is not None and not is_id(code):
        return Page((), None)
    rows = store.page_of_dead_letters(session, tenant, code=code, state=state, after=after, limit=limit + 1)
    return cut(rows, limit, lambda each: f"{each.recorded_at.isoformat()} {each.shard} {each.entry_id}")


def read_dead_letter(session: Session, key: DeadLetterKey) -> DeadLetterSummary:
    """A dead letter without its event; raises NotFound."""
    letter = store.read_dead_letter(session, key) if is_id(key.entry_id) else None
    if letter is None:
        raise NotFound("Dead letter", key.entry_id)
    return letter


def show_dead_letter(session: Session, key: DeadLetterKey) -> tuple[DeadLetterSummary, bytes]:
    """A dead letter and its event, byte for byte as it arrived; raises NotFound."""
    return read_dead_letter(session, key), store.read_event(session, key)


def find_replayable(
    session: Session, tenant: str, code: str, *, again: bool = False, until: datetime | None = None
) -> Replayable:
    """Count the dead letters with a code that a replay would put back; with `until`, only those recorded up to then.

    These are the letters that wait, and with `again` also those that were replayed, but never those that were
    discarded. Raises Conflict for a code whose events are gone, and NotFound for a tenant that does not exist.
    """
    _require_content(code)
    require_tenant(session, tenant)
    return store.find_replayable(session, tenant, code, again=again, until=until)


def replay_dead_letter(
    session: Session, stream: EventStream, key: DeadLetterKey, now: datetime, *, actor: str, again: bool = False
) -> None:
    """Put one dead letter's event back on the stream, where it counts as arriving now, and mark the letter.

    Raises NotFound; Conflict if the letter was replayed or discarded, unless `again` is given, or if its content is
    gone; and StreamUnavailable, in which case the letter is not marked.
    """
    letter = _lock(session, key)
    if not again:
        _require_waiting(letter, "add `--again` (over REST `?again=true`) to replay it all the same")
    _require_content(letter.code)
    require_tenant(session, letter.tenant)
    _put_back(session, stream, [letter], now, actor)


def replay_oldest(
    session: Session, stream: EventStream, found: Replayable, now: datetime, *, actor: str, most: int
) -> tuple[int, int]:
    """Replay the oldest dead letters that `find_replayable` counted, in this transaction.

    Returns how many were replayed and how many of the counted ones are left. Replays at most `most`, and stops soon
    after BYTES_AT_ONCE to keep the transaction short. Raises StreamUnavailable, in which case none is marked.
    """
    page = store.page_of_replayable(session, found, after=None, most=most) if found.until is not None else []
    batch = next(_batches(page, most), [])
    ready = [locked for letter in batch if (locked := _lock_unchanged(session, letter)) is not None]
    _put_back(session, stream, ready, now, actor)
    return len(ready), max(found.count - len(batch), 0)


def replay_dead_letters(
    sessions: Sessions,
    stream: EventStream,
    found: Replayable,
    now: datetime,
    *,
    actor: str,
    on_replayed: Callable[[int], None] = lambda _: None,
) -> int:
    """Replay the dead letters that `find_replayable` counted, the oldest first, and return how many.

    Each batch is a transaction of its own, after which `on_replayed` gets the size of the batch. Letters that someone
    else has replayed, discarded or deleted meanwhile are skipped. So are letters recorded since the count, because a
    replayed event may fail again and become a new letter.
    """
    total = 0
    for batch in _batches(_pages(sessions, found), AT_ONCE):
        with sessions.begin() as session:
            ready = [locked for letter in batch if (locked := _lock_unchanged(session, letter)) is not None]
            _put_back(session, stream, ready, now, actor)
        total += len(ready)
        on_replayed(len(batch))
    return total


def discard_dead_letter(session: Session, key: DeadLetterKey, reason: str, now: datetime, *, actor: str) -> None:
    """Discard a dead letter with a reason; it stays stored for a while. Raises NotFound, InvalidField and Conflict."""
    detail = check_text("reason", reason, longest=REASON_LONGEST)
    letter = _lock(session, key)
    _require_waiting(letter, "there is nothing left to discard")
    store.mark_discarded(session, key, now)
    _note(session, letter, "discarded", now, actor, detail)


def _position_after(cursor: str | None) -> DeadLetterPosition | None:
    """The position after which a list continues; raises InvalidField."""
    position = moment_and_id_after(cursor)
    if position is None:
        return None
    at, entry = position
    shard, _, entry_id = entry.partition(" ")
    if not re.fullmatch(r"\d{1,4}", shard, re.ASCII) or not is_id(entry_id):
        raise no_position()
    return DeadLetterPosition(at, int(shard), entry_id)


def _lock(session: Session, key: DeadLetterKey) -> DeadLetterSummary:
    letter = store.lock_dead_letter(session, key) if is_id(key.entry_id) else None
    if letter is None:
        raise NotFound("Dead letter", key.entry_id)
    return letter


def _lock_unchanged(session: Session, seen: DeadLetterSummary) -> DeadLetterSummary | None:
    letter = store.lock_dead_letter(session, seen.key)
    return letter if letter == seen else None


def _require_waiting(letter: DeadLetterSummary, otherwise: str) -> None:
    done_at = letter.discarded_at or letter.replayed_at
    if done_at is not None:
        raise Conflict(f"the dead letter was {letter.state} on {done_at:%Y-%m-%d at %H:%M} UTC; {otherwise}")


def _require_content(code: str) -> None:
    if code == LOST:
        raise Conflict("the stream dropped this event before it was applied: its content is gone, send it anew")


def _put_back(
    session: Session, stream: EventStream, letters: Sequence[DeadLetterSummary], now: datetime, actor: str
) -> None:
    """Append the events of one tenant's locked dead letters to the stream, then mark the letters as replayed."""
    if not letters:
        return
    events = [(_ANY_ACCOUNT, store.read_event(session, letter.key)) for letter in letters]
    stream.append(letters[0].tenant, events)
    for letter in letters:
        store.mark_replayed(session, letter.key, now)
        _note(session, letter, "replayed", now, actor, letter.code)


def _note(session: Session, letter: DeadLetterSummary, what: str, now: datetime, actor: str, detail: str) -> None:
    subject = f"{letter.shard} {letter.entry_id}"
    note_operation(
        session, letter.tenant, action=f"dead_letter.{what}", subject=subject, at=now, actor=actor, detail=detail
    )


def _pages(sessions: Sessions, found: Replayable) -> Iterator[DeadLetterSummary]:
    """The dead letters one by one; never more than a page of them is in memory."""
    last: DeadLetterSummary | None = None
    while True:
        with sessions() as session:
            page = store.page_of_replayable(session, found, after=last, most=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]


def _batches(letters: Iterable[DeadLetterSummary], most: int) -> Iterator[list[DeadLetterSummary]]:
    """Batches of at most `most` dead letters; a batch ends with the letter that takes it past BYTES_AT_ONCE."""
    batch: list[DeadLetterSummary] = []
    for letter in letters:
        batch.append(letter)
        if len(batch) == most or sum(each.event_bytes for each in batch) > BYTES_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
