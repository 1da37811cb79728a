"""The manager: goals in this process, kept in Postgres; and the documented functions, which call it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from milepost.client import import_check
from milepost.client.goals import Goals
from milepost.client.transport import AsyncLocal, SyncTransport


class GoalManager(Goals):
    """The goals of one tenant, kept in Postgres; connects at its first call; many may use it at once."""

    def __init__(self, local: SyncTransport) -> None:
        super().__init__(AsyncLocal(local))
        self.local = local

    async def close(self) -> None:
        """Give back the connections, and the embedded servers if nobody else uses them."""
        await self._transport.close()

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
    handles = import_check.load("milepost.client.in_process")
    server_config = handles.server_config_of(database_url, redis_url, tenant, data_dir)
    return GoalManager(handles.open_handle(server_config))


Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Made where a function is called before any manager; kept, so that its servers stay.
_kept: list[GoalManager] = []


def _manager() -> GoalManager:
    borrow_handle = import_check.load("milepost.client.in_process").borrow_handle()
    if borrow_handle is not None:
        return GoalManager(borrow_handle)
    _kept[:] = [easy_goals()]
    return _kept[0]


def _function(method: Callable[Concatenate[Goals, Parameters], Result]) -> Callable[Parameters, Result]:
    @wraps(method)
    def operation(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return method(_manager(), *args, **kwargs)

    return operation


create_goal = _function(Goals.create_goal)
get_goal = _function(Goals.get_goal)
list_goals = _function(Goals.list_goals)
update_goal = _function(Goals.update_goal)
delete_goal = _function(Goals.delete_goal)
get_goal_progress = _function(Goals.get_goal_progress)
add_milestone = _function(Goals.add_milestone)
list_milestones = _function(Goals.list_milestones)
check_milestones = _function(Goals.check_milestones)
get_milestone_progress = _function(Goals.get_milestone_progress)
get_next_milestone = _function(Goals.get_next_milestone)
link_account_to_goal = _function(Goals.link_account_to_goal)
get_goal_funding = _function(Goals.get_goal_funding)
update_account_allocation = _function(Goals.update_account_allocation)
remove_account_from_goal = _function(Goals.remove_account_from_goal)
