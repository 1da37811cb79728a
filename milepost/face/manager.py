"""The manager: goals in this process, kept in Postgres."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from milepost import shadows
from milepost.doors import AsyncLocal
from milepost.face.goals import Goals
from milepost.wire import SyncDoor


class GoalManager(Goals):
    """The goals of one tenant, kept in Postgres; connects at its first call; many may use it at once."""

    def __init__(self, local: SyncDoor) -> None:
        super().__init__(AsyncLocal(local))
        self.local = local

    async def close(self) -> None:
        """Give back the connections, and the embedded servers if nobody else uses them."""
        await self._door.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()


def easy_goals(
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    tenant: str | None = None,
    data_dir: str | Path | None = None,
) -> GoalManager:
    """A manager of a tenant's goals, `default` unless named.

    Without a `database_url`, here or in MILEPOST_DATABASE_URL, it uses the embedded servers of `data_dir`, starts
    them at its first call if they don't run, and lets them stop once no process uses them. Raises ValueError for an
    address that makes no sense, and ImportError where a package of the application hides one of Milepost's.
    """
    leases = shadows.load("milepost.local.leases")
    place = leases.place_of(database_url, redis_url, tenant, data_dir)
    return GoalManager(leases.lease(place))
