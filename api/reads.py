"""Shared reads: requests of one tenant that ask for single goals at the same time are answered by one statement.

A statement for one goal takes a thread, a connection and a round trip. For the goals that were asked for while the
statement before was in progress, one more statement is enough, however many these are. So nobody waits for others to
come: alone, a request is read at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from api.context import DatabaseAway, Load, Result, as_database_away
from api.turns import WAITING_MOST, TooManyRequests, Turns
from core.store.database import Sessions
from core.store.driver import read_shortly
from core.store.tenants import Tenant


class _ReadAlone(Exception):
    """One of the ids that were read together failed, or needs a transaction, so each is to be read by itself."""


@dataclass(slots=True)
class _Lane:
    """What a tenant's requests want of one kind: the ids that wait for the next statement, and who waits for them."""

    tenant: Tenant
    waiting: dict[str, list[asyncio.Future[Any]]] = field(default_factory=dict)
    # Kept, since the loop itself keeps no reference to a task.
    task: asyncio.Task[None] | None = None


class SharedReads:
    """The reads of all tenants in a process. Only the event loop calls this, so there is nothing to lock."""

    def __init__(self, sessions: Sessions, turns: Turns, threads: CapacityLimiter) -> None:
        self._sessions, self._turns, self._threads = sessions, turns, threads
        self._lanes: dict[tuple[str, Load[Any]], _Lane] = {}

    async def get(self, tenant: Tenant, load: Load[Result], name: str) -> Result | None:
        """What `load` reads of one id; None if it does not exist. Raises DatabaseAway and TooManyRequests.

        If an id fails, or needs more than one statement, those that were read with it are read each by itself.
        """
        try:
            return await self._shared(tenant, load, name)
        except _ReadAlone:
            read = partial(self._read, tenant, load, [name])
            async with self._turns.turn(tenant.name):
                return (await run_sync(partial(read_shortly, read), limiter=self._threads)).get(name)

    async def _shared(self, tenant: Tenant, load: Load[Result], name: str) -> Result | None:
        key = tenant.name, load
        lane = self._lanes.setdefault(key, _Lane(tenant))
        lane.tenant = tenant
        if sum(map(len, lane.waiting.values())) >= WAITING_MOST:
            raise TooManyRequests
        future: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
        lane.waiting.setdefault(name, []).append(future)
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(key, lane))
        return await future

    async def _work(self, key: tuple[str, Load[Any]], lane: _Lane) -> None:
        asked: dict[str, list[asyncio.Future[Any]]] = {}
        try:
            while lane.waiting:
                asked, lane.waiting = lane.waiting, {}
                try:
                    found = await run_sync(
                        partial(self._read, lane.tenant, key[1], list(asked), True), limiter=self._threads
                    )
                except Exception as error:  # noqa: BLE001  # each of the requests that asked reads again, and raises its own
                    for future in _still_waiting(asked):
                        future.set_exception(_own_error(error))
                else:
                    for name, futures in asked.items():
                        for future in _still_waiting({name: futures}):
                            future.set_result(found.get(name))
        finally:
            del self._lanes[key]
            # If the loop is ending, nobody may wait for a task that is no more.
            for future in (*_still_waiting(asked), *_still_waiting(lane.waiting)):
                future.cancel()

    def _read(self, tenant: Tenant, load: Load[Result], names: Sequence[str], is_single: bool) -> Mapping[str, Result]:
        begin = self._sessions.single if is_single else self._sessions.reading
        with as_database_away(), begin() as session:
            return load(session, tenant, names, datetime.now(UTC))


def _own_error(error: Exception) -> Exception:
    """What to raise in one of the requests whose ids were read together: an error of its own."""
    if not isinstance(error, DatabaseAway):
        return _ReadAlone()
    away = DatabaseAway()
    away.__cause__ = error.__cause__
    return away


def _still_waiting(asked: Mapping[str, Sequence[asyncio.Future[Any]]]) -> Iterator[asyncio.Future[Any]]:
    """All but those whose requests were given up meanwhile."""
    return (future for futures in asked.values() for future in futures if not future.done())
