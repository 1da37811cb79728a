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

from anyio.to_thread import run_sync

from api.context import Load, Result, as_database_away
from api.turns import WAITING_MOST, TooManyRequests
from core.store.database import Sessions
from core.store.driver import NeedsTransaction
from core.store.tenants import Tenant


@dataclass(slots=True)
class _Lane:
    """What a tenant's requests want of one kind: the ids that wait for the next statement, and who waits for them."""

    waiting: dict[str, list[asyncio.Future[Any]]] = field(default_factory=dict)
    # Kept, since the loop itself keeps no reference to a task.
    task: asyncio.Task[None] | None = None


class SharedReads:
    """The reads of all tenants in a process. Only the event loop calls this, so there is nothing to lock."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lanes: dict[tuple[str, Load[Any]], _Lane] = {}

    async def get(self, tenant: Tenant, load: Load[Result], name: str) -> Result | None:
        """What `load` reads of one id; None if it does not exist. Raises DatabaseAway and TooManyRequests."""
        key = tenant.name, load
        lane = self._lanes.setdefault(key, _Lane())
        if sum(map(len, lane.waiting.values())) >= WAITING_MOST:
            raise TooManyRequests
        future: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
        lane.waiting.setdefault(name, []).append(future)
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(lane, tenant, load))
        return await future

    async def _work(self, lane: _Lane, tenant: Tenant, load: Load[Any]) -> None:
        while lane.waiting:
            asked, lane.waiting = lane.waiting, {}
            try:
                found = await run_sync(partial(self._read, tenant, load, list(asked)))
            except Exception as error:  # noqa: BLE001  # it is raised in each of the requests that asked
                for future in _still_waiting(asked):
                    future.set_exception(error)
            else:
                for name, futures in asked.items():
                    for future in _still_waiting({name: futures}):
                        future.set_result(found.get(name))
        del self._lanes[tenant.name, load]

    def _read(self, tenant: Tenant, load: Load[Any], names: Sequence[str]) -> Mapping[str, Any]:
        return read_at_once(self._sessions, tenant, load, names)


def read_at_once(sessions: Sessions, tenant: Tenant, load: Load[Result], names: Sequence[str]) -> Mapping[str, Result]:
    """What `load` reads of these ids: in one statement, or in a transaction if it needs more. Raises DatabaseAway."""
    with as_database_away():
        now = datetime.now(UTC)
        try:
            with sessions.single() as session:
                return load(session, tenant, names, now)
        except NeedsTransaction:
            with sessions.reading() as session:
                return load(session, tenant, names, now)


def _still_waiting(asked: Mapping[str, Sequence[asyncio.Future[Any]]]) -> Iterator[asyncio.Future[Any]]:
    """All but those whose requests were given up meanwhile."""
    return (future for futures in asked.values() for future in futures if not future.done())
