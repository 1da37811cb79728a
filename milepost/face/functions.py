"""The documented functions: each is the method of that name, of the manager that is open in this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from milepost import shadows
from milepost.face.goals import Goals
from milepost.face.manager import GoalManager, easy_goals

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Made where a function is called before any manager; kept, so that its servers stay.
_kept: list[GoalManager] = []


def _manager() -> GoalManager:
    loan = shadows.load("milepost.local.leases").loan()
    if loan is not None:
        return GoalManager(loan)
    _kept[:] = [easy_goals()]
    return _kept[0]


def _function(method: Callable[Concatenate[Goals, Parameters], Result]) -> Callable[Parameters, Result]:
    @wraps(method)
    def act(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return method(_manager(), *args, **kwargs)

    return act


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
