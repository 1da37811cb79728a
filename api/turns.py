"""Turns: how many requests of one tenant are in progress at once.

Each request in progress has a thread and a connection to the database, of which there are few. Without turns, sixty
changes of one goal that wait for its lock would have them all, and no other tenant would be answered.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter

from core.errors import MilepostError

OF_ONE_TENANT = 10
WAITING_MOST = 200


class TooManyRequests(MilepostError):
    """So many requests of the tenant wait for their turn that one more would wait too long."""

    def __init__(self, text: str = "Too many requests of this tenant are waiting") -> None:
        super().__init__(text)


class Turns:
    """The turns of each tenant in a process. Only the event loop calls this, so there is nothing to lock."""

    def __init__(self) -> None:
        self._limiters: dict[str, CapacityLimiter] = {}

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait until fewer than OF_ONE_TENANT requests are in progress; raises TooManyRequests instead of a long wait.

        Those that wait go on in the order in which they came.
        """
        limiter = self._limiters.get(tenant)
        if limiter is None:
            limiter = self._limiters[tenant] = CapacityLimiter(OF_ONE_TENANT)
        if limiter.statistics().tasks_waiting >= WAITING_MOST:
            raise TooManyRequests
        try:
            async with limiter:
                yield
        finally:
            if not limiter.borrowed_tokens and not limiter.statistics().tasks_waiting:
                self._limiters.pop(tenant, None)
