# Generated from milepost/client by `make sync-client`; change it there.
"""The manager, which answers in this process from Postgres; and the documented functions, which call it."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from milepost.client import import_check
from milepost.client.background import Handle, SyncLocal
from milepost.client.transport import Patience
from milepost.sync.goals import Goals
from milepost.sync.interface import Interface
from milepost.sync.rest import Transport

# A killed server of the data directory is back within seconds, and there are no other clients to give way to.
PATIENCE = Patience(attempts=8, heeds_server=False)


class GoalManager(Interface):
    """The goals of one tenant, stored in Postgres, and all else in it. Connects at its first call; many may use it."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(Transport(SyncLocal(handle), PATIENCE))
        self.handle = handle

    def close(self) -> None:
        """Close the connections, and let the embedded servers stop if nobody else uses them."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


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
    local = import_check.load("milepost.client.local")
    return GoalManager(local.open_handle(local.server_config_of(database_url, redis_url, tenant, data_dir)))


Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# The manager that is made if a function is called before there is one; kept, so that its servers keep running.
_kept: list[GoalManager] = []


def _manager() -> GoalManager:
    borrowed = import_check.load("milepost.client.local").borrow_handle()
    if borrowed is not None:
        return GoalManager(borrowed)
    _kept[:] = [easy_goals()]
    return _kept[0]


def _as_function(method: Callable[Concatenate[Goals, Parameters], Result]) -> Callable[Parameters, Result]:
    @wraps(method)
    def call_method(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return method(_manager(), *args, **kwargs)

    return call_method


create_goal = _as_function(Goals.create_goal)
get_goal = _as_function(Goals.get_goal)
list_goals = _as_function(Goals.list_goals)
update_goal = _as_function(Goals.update_goal)
delete_goal = _as_function(Goals.delete_goal)
reopen_goal = _as_function(Goals.reopen_goal)
get_goal_history = _as_function(Goals.get_goal_history)
get_goal_snapshots = _as_function(Goals.get_goal_snapshots)
get_goal_progress = _as_function(Goals.get_goal_progress)
add_milestone = _as_function(Goals.add_milestone)
update_milestone = _as_function(Goals.update_milestone)
delete_milestone = _as_function(Goals.delete_milestone)
list_milestones = _as_function(Goals.list_milestones)
check_milestones = _as_function(Goals.check_milestones)
get_milestone_progress = _as_function(Goals.get_milestone_progress)
get_next_milestone = _as_function(Goals.get_next_milestone)
link_account_to_goal = _as_function(Goals.link_account_to_goal)
get_goal_funding = _as_function(Goals.get_goal_funding)
update_account_allocation = _as_function(Goals.update_account_allocation)
remove_account_from_goal = _as_function(Goals.remove_account_from_goal)
