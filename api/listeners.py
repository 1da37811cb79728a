"""Listeners of the feed of messages: each is one open stream, and keeps a position and not what is to be sent.

What all listeners of a tenant want that have read everything so far is read once and shared (api.feed); one that is
further behind reads for itself. Only the event loop calls this, so there is nothing to lock.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import CancelledError, Future, Task
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.context import DatabaseAway
from core.services.messages import FeedForgotten
from core.store.outbox import FeedFilter
from core.store.tenants import Tenant

HEARTBEAT_S = 15.0
"""After how long without a message a stream says that it lives: proxies end connections on which nothing is sent."""
RETRY_MS = 2_000
"""How long a client is to wait before it connects again."""
PIECE_BYTES = 16_384
"""About as much is sent at once; a slow reader makes us keep one piece, besides what the connection buffers."""
_TRY_AGAIN_S = 1.0
HEADERS = {"X-Accel-Buffering": "no"}
"""So that nginx sends on what comes at once."""


class Event(NamedTuple):
    """A message as it is sent, and what filters go by."""

    position: int
    type: str
    user_id: str | None
    goal_id: str | None
    sent: bytes


class Piece(NamedTuple):
    """Events to be sent together, none if `sent` is empty; the position of the last one, and that at which to go on."""

    sent: bytes
    last: int
    next: int


@dataclass(slots=True, eq=False)
class TenantFeed:
    """What is known of the feed of a tenant that has listeners.

    `events` are all messages after the position `after` up to `known`, which is the newest that is known; it is None
    until the database was asked.
    """

    tenant: Tenant
    listeners: set[Listener] = field(default_factory=set)
    known: int | None = None
    after: int = 0
    events: Sequence[Event] = ()
    # The reading of what is new; kept, since the loop itself keeps no reference to a task.
    task: Task[None] | None = None

    def share(self, events: Sequence[Event], through: int) -> None:
        """Offer what was read after the position that was known."""
        self.after, self.events, self.known = self.known or 0, events, through
        self.wake_all()

    def skip_to(self, position: int) -> None:
        """Offer nothing up to a position; whoever has not read so far reads for itself."""
        self.after, self.events, self.known = position, (), position
        self.wake_all()

    def wake_all(self) -> None:
        """Let every listener look."""
        for listener in self.listeners:
            listener.wake()


ReadOwn = Callable[["Listener"], Coroutine[Any, Any, Piece]]
"""Reads what comes after the listener's position. Raises DatabaseAway and FeedForgotten."""


@dataclass(slots=True, eq=False)
class Listener:
    """One open stream. `is_sending` says that its reader has not taken yet what is being sent."""

    feed: TenantFeed
    key_id: str
    wanted: FeedFilter
    position: int
    read_own: ReadOwn
    format_id: Callable[[int], str]
    is_sending: bool = False
    ended_s: float | None = None
    task: Task[Any] | None = None
    _sent_s: float = field(default_factory=time.monotonic)
    _sent_id: int | None = None
    _waiter: Future[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to be sent."""
        return self.ended_s is not None

    def end(self) -> None:
        """End the stream as soon as what is being sent is taken."""
        if not self.has_ended:
            self.ended_s = time.monotonic()
        self.wake()

    def wake(self) -> None:
        """Look for what is to be sent."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def is_silent(self, now_s: float) -> bool:
        """Whether a sign of life is due."""
        return now_s - self._sent_s >= HEARTBEAT_S

    async def pieces(self) -> AsyncIterator[bytes]:
        """All that is to be sent, one after the other; ends when the stream does."""
        yield format_sse_event(retry=RETRY_MS)
        while not self.has_ended:
            try:
                piece = await self._next()
            except FeedForgotten:
                # It was too slow for months. The client learns from GET /messages where to go on.
                return
            if piece and not self.has_ended:
                self.is_sending = True
                yield piece
                self.is_sending, self._sent_s = False, time.monotonic()
                # A connection that takes all at once gives no turn to others.
                await asyncio.sleep(0)

    async def _next(self) -> bytes:
        """What is to be sent now; empty if there was nothing, after a wait or a look."""
        known = self.feed.known
        is_behind = known is not None and self.position < known
        if is_behind:
            try:
                piece = self._take() if self.position >= self.feed.after else await self.read_own(self)
            except DatabaseAway:
                await asyncio.sleep(_TRY_AGAIN_S)
            else:
                self.position = piece.next
                if piece.sent:
                    self._sent_id = piece.last
                    return piece.sent
        if self.is_silent(time.monotonic()):
            return self._sign_of_life()
        if not is_behind:
            await self._wait()
        return b""

    def _take(self) -> Piece:
        """Of the events that are shared, what this listener wants and has not got."""
        chosen: list[Event] = []
        size = 0
        events, known = self.feed.events, self.feed.known or 0
        for event in events[bisect_right(events, self.position, key=lambda each: each.position) :]:
            if _is_wanted(event, self.wanted):
                chosen.append(event)
                size += len(event.sent)
                if size >= PIECE_BYTES:
                    break
        return piece_of(chosen, chosen[-1].position if size >= PIECE_BYTES else known)

    def _sign_of_life(self) -> bytes:
        """The position, if it has changed: an event without data is not shown, but a client goes on from its id."""
        if self.position == self._sent_id:
            return KEEPALIVE_COMMENT
        self._sent_id = self.position
        return format_sse_event(id=self.format_id(self.position))

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


def piece_of(events: Sequence[Event], then: int) -> Piece:
    """These events together."""
    return Piece(b"".join([event.sent for event in events]), events[-1].position if events else then, then)


def _is_wanted(event: Event, wanted: FeedFilter) -> bool:
    return (
        (wanted.types is None or event.type in wanted.types)
        and (wanted.user_id is None or event.user_id == wanted.user_id)
        and (wanted.goal_id is None or event.goal_id == wanted.goal_id)
    )


class StreamResponse(EventSourceResponse):
    """The answer to a listener: it ends when the listener is ended, or at once when the client goes away.

    Starlette's own would take a group of tasks for each, which is more memory.
    """

    def __init__(self, listener: Listener, leave: Callable[[Listener], None]) -> None:
        super().__init__(listener.pieces(), headers=HEADERS)
        self._listener, self._leave = listener, leave

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        listener = self._listener
        listener.task = asyncio.current_task()
        gone = asyncio.create_task(_end_when_gone(listener, receive))
        try:
            await self.stream_response(send)
        except CancelledError:
            if not listener.has_ended:
                raise
        finally:
            listener.task = None
            gone.cancel()
            self._leave(listener)
            with suppress(CancelledError):
                await gone


async def _end_when_gone(listener: Listener, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end()
