"""add_goals: the goal routes in an application's own FastAPI app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from milepost.client import import_check
from milepost.client.errors import InvalidField

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI
    from fastapi.params import Depends

    from milepost.client.manager import GoalManager
    from milepost.sync.manager import GoalManager as SyncGoalManager

    Auth = Callable[..., Any] | Depends
    Manager = TypeVar("Manager", GoalManager, SyncGoalManager)


@overload
def add_goals(
    app: FastAPI | APIRouter,
    manager: None = None,
    *,
    prefix: str = ...,
    auth: Auth | Sequence[Auth] | None = ...,
    include_in_schema: bool = ...,
) -> GoalManager: ...
@overload
def add_goals(
    app: FastAPI | APIRouter,
    manager: Manager,
    *,
    prefix: str = ...,
    auth: Auth | Sequence[Auth] | None = ...,
    include_in_schema: bool = ...,
) -> Manager: ...
def add_goals(
    app: FastAPI | APIRouter,
    manager: GoalManager | SyncGoalManager | None = None,
    *,
    prefix: str = "/goals",
    auth: Auth | Sequence[Auth] | None = None,
    include_in_schema: bool = True,
) -> GoalManager | SyncGoalManager:
    """Serve the goals of a manager's tenant at `prefix`: the documented endpoints, and `check` and `next` milestones.

    `auth` is the application's own dependency, or several: each runs before anything else, and the application
    answers what it raises, as it does everywhere. Without it, whoever reaches the app may read and change all goals of
    the tenant. The rest of the app does not change. Returns the manager, `easy_goals()` unless given. Raises
    ValueError for a prefix that does not begin with / or that ends with it, for what is no dependency, for an empty
    list of dependencies, and for what is no manager.
    """
    from milepost.client.manager import easy_goals

    dependencies = _dependencies(auth)
    hosting = import_check.load("api.hosting")
    chosen = easy_goals() if manager is None else manager
    handle = getattr(chosen, "handle", None)
    if handle is None:
        raise InvalidField.of("manager", "must be one that easy_goals() made")
    app.include_router(
        hosting.goal_router(handle, prefix=prefix, dependencies=dependencies, include_in_schema=include_in_schema)
    )
    return chosen


def _dependencies(auth: Auth | Sequence[Auth] | None) -> list[Depends]:
    """`auth` as FastAPI's dependencies. Refuses an empty list: more likely a slip than a wish to let everyone in."""
    from fastapi.params import Depends

    if auth is None:
        return []
    given = list(auth) if isinstance(auth, Sequence) else [auth]
    found = [each if isinstance(each, Depends) else Depends(each) for each in given]
    if not found or not all(callable(each.dependency) for each in found):
        raise InvalidField.of(
            "auth", "must be a dependency as FastAPI takes it, or a list of some; leave it out to let everyone in"
        )
    return found
