"""The feed of messages for those who listen: what is announced is read once a tenant and process, and shared.

A process has one connection on which it listens for notifications, while anybody listens to it. It only makes things
quicker: every second all tenants with listeners are looked at anyway, by one statement, so a notification that is lost
costs a second. No listener has a connection or a thread while it waits. Only the event loop calls this, so there is
nothing to lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Task
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import psycopg
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from api.auth import has_scope
from api.context import DatabaseAway, as_database_away
from api.listeners import PIECE_BYTES, Event, Listener, Piece, TenantFeed, piece_of
from api.turns import TooManyRequests
from core.services.inputs import Caller
from core.services.keys import Scope
from core.services.messages import FeedForgotten, read_messages
from core.store.announcements import listen, newest_positions
from core.store.database import Sessions
from core.store.driver import Session
from core.store.outbox import FeedFilter, Listed
from core.store.tenants import Tenant, scopes_in_use

OF_A_KEY, OF_A_TENANT, OF_A_PROCESS = 100, 1_000, 2_000
"""How many listeners there may be at most; 2,000 of them take about 60 MB.

One announcement to 2,000 listeners takes a tenth of a second, in which the process answers nobody else.
"""
LOOKED_EVERY_S = 1.0
KEYS_CHECKED_EVERY_S = 10.0
KEYS_KNOWN_MOST_S = 15.0
"""After how long without a look at the keys nothing is read for anybody, since a key may be revoked."""
_GIVEN_UP_AFTER_S = 2.0
_TAKEN_WITHIN_S, _LOOKED_AT_AGAIN_S = 1.0, 0.005
_TOGETHER_S = 0.02
_CONNECT_AGAIN_S, _CONNECT_AGAIN_MOST_S = 1.0, 30.0
# Of 100 messages, or of 256 kB if they are long, all listeners of a tenant get theirs before more are read.
_SHARED_MOST, _SHARED_BYTES = 100, 262_144
_OWN_MOST = 50
_READING_OWN = 2
_EVERYTHING = FeedFilter()
_log = logging.getLogger("milepost")

Result = TypeVar("Result")
Render = Callable[[str, Listed], bytes]
"""A message of a tenant as it is sent."""


class TooManyListeners(TooManyRequests):
    """There are as many listeners as there may be, of the key, of the tenant or of the process."""

    def __init__(self, of_what: str, most: int) -> None:
        super().__init__(f"There are {most} streams of {of_what} already, as many as there may be")


class Feed:
    """The listeners of a process, and what they share. `noted` gets the number of them whenever it changes."""

    def __init__(
        self,
        sessions: Sessions,
        threads: CapacityLimiter,
        url: str,
        *,
        render: Render,
        format_id: Callable[[str, int], str],
        noted: Callable[[int], None],
    ) -> None:
        self._sessions, self._threads, self._url = sessions, threads, url
        self._render, self._format_id, self._noted = render, format_id, noted
        # Of the threads for reading, most stay for requests when many listeners come at once and read what they missed.
        self._own_reads = CapacityLimiter(_READING_OWN)
        self._tenants: dict[str, TenantFeed] = {}
        self._of_keys: Counter[tuple[str, str]] = Counter()
        self._count = 0
        self._tasks: list[Task[None]] = []
        self._wanted = asyncio.Event()
        self._keys_checked_s = 0.0
        self._is_ending = False

    @property
    def count(self) -> int:
        """How many listeners there are."""
        return self._count

    def join(self, caller: Caller, wanted: FeedFilter, position: int) -> Listener:
        """A new listener, whose key was valid a moment ago; `leave` has to be called. Raises TooManyListeners."""
        name = caller.tenant.name
        feed = self._tenants.get(name) or TenantFeed(caller.tenant)
        self._require_room(caller, feed)
        format_id = partial(self._format_id, name)
        listener = Listener(feed, caller.key_id, wanted, position, self._read_own, format_id)
        self._tenants[name] = feed
        feed.listeners.add(listener)
        self._of_keys[name, caller.key_id] += 1
        self._count += 1
        self._noted(self._count)
        if self._is_ending:
            listener.end()
        elif not self._tasks:
            self._keys_checked_s = time.monotonic()
            self._tasks = [asyncio.create_task(each()) for each in (self._look, self._listen, self._keep_alive)]
        if feed.known is None:
            self._wanted.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """The stream of this listener has ended."""
        feed = listener.feed
        feed.listeners.discard(listener)
        self._count -= 1
        self._noted(self._count)
        key = feed.tenant.name, listener.key_id
        self._of_keys[key] -= 1
        if not self._of_keys[key]:
            del self._of_keys[key]
        if not feed.listeners:
            del self._tenants[feed.tenant.name]
        if not self._count:
            self._stop()

    def end_all(self) -> None:
        """End all streams, and each that begins from now on."""
        if not self._is_ending:
            self._is_ending = True
            for listener in self._listeners():
                listener.end()

    async def close(self) -> None:
        """End all streams, and close the connection."""
        self.end_all()
        tasks = self._stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self) -> Sequence[Task[None]]:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        return tasks

    def _require_room(self, caller: Caller, feed: TenantFeed) -> None:
        if self._of_keys[caller.tenant.name, caller.key_id] >= OF_A_KEY:
            raise TooManyListeners("this key", OF_A_KEY)
        if len(feed.listeners) >= OF_A_TENANT:
            raise TooManyListeners("this tenant", OF_A_TENANT)
        if self._count >= OF_A_PROCESS:
            raise TooManyListeners("this process", OF_A_PROCESS)

    def _listeners(self) -> Iterator[Listener]:
        return (listener for feed in self._tenants.values() for listener in feed.listeners)

    async def _listen(self) -> None:
        """Let `_look` look at once when messages are announced; connect again whenever the connection is lost."""
        wait_s = _CONNECT_AGAIN_S
        while True:
            try:
                async for tenant in listen(self._url, application_name="milepost-api-listen"):
                    wait_s = _CONNECT_AGAIN_S
                    if not tenant or tenant in self._tenants:
                        self._wanted.set()
            except (psycopg.Error, OSError) as error:
                reason = str(error).partition("\n")[0]
                _log.warning("no notifications of messages, which are looked for every second: %s", reason)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _CONNECT_AGAIN_MOST_S)

    async def _look(self) -> None:
        """Check the keys now and then, and have read what is new, every second or when it is announced."""
        while True:
            self._wanted.clear()
            try:
                await self._check_keys()
                await self._find_new()
            except DatabaseAway:
                pass  # requests say so in the log
            except Exception:  # noqa: BLE001  # the process edge: all streams would stand still
                _log.exception("the feed of messages could not be looked at")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOKED_EVERY_S):
                    await self._wanted.wait()
            # What is announced for many tenants at once takes one statement.
            await asyncio.sleep(_TOGETHER_S)

    async def _keep_alive(self) -> None:
        """Have signs of life sent, and give up on readers that do not take what is left of a stream that has ended."""
        while True:
            await asyncio.sleep(LOOKED_EVERY_S)
            now_s = time.monotonic()
            for listener in self._listeners():
                if listener.is_silent(now_s):
                    listener.wake()
                if listener.task is not None and now_s - (listener.ended_s or now_s) > _GIVEN_UP_AFTER_S:
                    listener.task.cancel()

    async def _check_keys(self) -> None:
        """End the streams of keys that were revoked."""
        now_s = time.monotonic()
        if now_s - self._keys_checked_s < KEYS_CHECKED_EVERY_S:
            return
        keys = list(self._of_keys)
        scopes = await self._in_thread(partial(self._read_single, lambda session: scopes_in_use(session, keys)))
        ended = {key for key in keys if not has_scope(scopes.get(key, ()), Scope.GOALS_READ)}
        for listener in self._listeners() if ended else ():
            if (listener.feed.tenant.name, listener.key_id) in ended:
                listener.end()
        self._keys_checked_s = now_s

    async def _find_new(self) -> None:
        """Look which tenants have messages that were announced since, and begin to read these."""
        names = list(self._tenants)
        newest = await self._in_thread(partial(self._read_single, lambda session: newest_positions(session, names)))
        for name, position in newest.items():
            feed = self._tenants.get(name)
            if feed is None or feed.task is not None:
                continue
            if feed.known is None:
                feed.skip_to(position)
            elif feed.known < position:
                feed.task = asyncio.create_task(self._share(feed, feed.known, position))

    async def _share(self, feed: TenantFeed, known: int, newest: int) -> None:
        """Read what was announced, some at a time, for the listeners that have got everything before it."""
        try:
            while known < newest:
                near = [listener for listener in feed.listeners if listener.position >= known]
                if not near:
                    break
                events, through = await self._in_thread(partial(self._read_shared, feed.tenant, known, newest))
                feed.share(events, through)
                known = through
                await _until_taken(near, through)
                # Whoever is too slow reads for itself, so that nobody's pace is what we keep in memory.
                feed.skip_to(known)
            feed.skip_to(max(known, newest))
            # What was announced meanwhile.
            self._wanted.set()
        except FeedForgotten:
            feed.skip_to(newest)
        except DatabaseAway:
            pass  # the next look tries again
        except Exception:  # noqa: BLE001  # the process edge: the tenant's streams would stand still
            _log.exception("messages could not be read for streams")
        finally:
            feed.task = None

    def _read_shared(self, tenant: Tenant, known: int, newest: int) -> tuple[list[Event], int]:
        with self._reading() as session:
            page = read_messages(session, tenant, _EVERYTHING, after=known, limit=_SHARED_MOST)
        events, is_cut = self._rendered(tenant.name, page.messages, _SHARED_BYTES)
        if is_cut:
            return events, events[-1].position
        # If there is nothing more, nothing is left of what was announced up to `newest`.
        return events, page.next if page.has_more else max(page.next, newest)

    async def _read_own(self, listener: Listener) -> Piece:
        """As ReadOwn. What is known is as old as the last look, so all up to it is in what is read now."""
        if time.monotonic() - self._keys_checked_s > KEYS_KNOWN_MOST_S:
            raise DatabaseAway
        known = listener.feed.known or 0
        read = partial(self._read_own_in_thread, listener.feed.tenant, listener.wanted, listener.position, known)
        async with self._own_reads:
            return await self._in_thread(read)

    def _read_own_in_thread(self, tenant: Tenant, wanted: FeedFilter, after: int, known: int) -> Piece:
        with self._reading() as session:
            page = read_messages(session, tenant, wanted, after=after, limit=_OWN_MOST)
        events, is_cut = self._rendered(tenant.name, page.messages, PIECE_BYTES)
        if is_cut:
            return piece_of(events, events[-1].position)
        return piece_of(events, page.next if page.has_more else max(page.next, known))

    def _rendered(self, tenant: str, messages: Collection[Listed], most_bytes: int) -> tuple[list[Event], bool]:
        """The messages as they are sent, until they have so many bytes; and whether some are left out."""
        events: list[Event] = []
        size = 0
        for each in messages:
            if size >= most_bytes:
                break
            events.append(Event(each.position, each.type, each.user_id, each.goal_id, self._render(tenant, each)))
            size += len(events[-1].sent)
        return events, len(events) < len(messages)

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        return await run_sync(function, limiter=self._threads)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with as_database_away(), self._sessions.reading() as session:
            yield session

    def _read_single(self, read: Callable[[Session], Any]) -> Any:
        with as_database_away(), self._sessions.single() as session:
            return read(session)


async def _until_taken(listeners: Collection[Listener], position: int) -> None:
    """Wait until these have taken what is shared, but for those whose readers are slow."""
    deadline_s = time.monotonic() + _TAKEN_WITHIN_S
    while time.monotonic() < deadline_s and any(
        each.position < position and not each.is_sending and not each.has_ended for each in listeners
    ):
        await asyncio.sleep(_LOOKED_AT_AGAIN_S)
