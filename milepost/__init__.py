"""The face: the command line, the embedded servers and the Python interface, whose names are imported when asked for.

Client, records and enumerations need nothing of ours but this package; the manager and add_goals need all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost.arguments import GoalChanges
    from milepost.errors import (
        AllocationExceeded,
        Conflict,
        GoalMoved,
        InvalidField,
        MilepostError,
        NotAllowed,
        NotFound,
        ServerFault,
        Unavailable,
    )
    from milepost.exact import Exact
    from milepost.face.client import Client
    from milepost.face.functions import (
        add_milestone,
        check_milestones,
        create_goal,
        delete_goal,
        get_goal,
        get_goal_funding,
        get_goal_progress,
        get_milestone_progress,
        get_next_milestone,
        link_account_to_goal,
        list_goals,
        list_milestones,
        remove_account_from_goal,
        update_account_allocation,
        update_goal,
    )
    from milepost.face.goals import Goals
    from milepost.face.manager import GoalManager, easy_goals
    from milepost.hosting import add_goals
    from milepost.models import (
        FundingSource,
        Goal,
        GoalProgress,
        GoalStatus,
        GoalType,
        Milestone,
        MilestoneProgress,
        Tracking,
        get_celebration_message,
    )

__all__ = [
    "AllocationExceeded",
    "Client",
    "Conflict",
    "Exact",
    "FundingSource",
    "Goal",
    "GoalChanges",
    "GoalManager",
    "GoalMoved",
    "GoalProgress",
    "GoalStatus",
    "GoalType",
    "Goals",
    "InvalidField",
    "MilepostError",
    "Milestone",
    "MilestoneProgress",
    "NotAllowed",
    "NotFound",
    "ServerFault",
    "Tracking",
    "Unavailable",
    "add_goals",
    "add_milestone",
    "check_milestones",
    "create_goal",
    "delete_goal",
    "easy_goals",
    "get_celebration_message",
    "get_goal",
    "get_goal_funding",
    "get_goal_progress",
    "get_milestone_progress",
    "get_next_milestone",
    "link_account_to_goal",
    "list_goals",
    "list_milestones",
    "remove_account_from_goal",
    "update_account_allocation",
    "update_goal",
]

# Commands and workers import this package too, and have no use for an HTTP client.
_MODULES = {
    "Client": "face.client",
    "Exact": "exact",
    "GoalChanges": "arguments",
    "GoalManager": "face.manager",
    "Goals": "face.goals",
    "add_goals": "hosting",
    "easy_goals": "face.manager",
    **dict.fromkeys(
        (
            "AllocationExceeded",
            "Conflict",
            "GoalMoved",
            "InvalidField",
            "MilepostError",
            "NotAllowed",
            "NotFound",
            "ServerFault",
            "Unavailable",
        ),
        "errors",
    ),
    **dict.fromkeys(
        (
            "FundingSource",
            "Goal",
            "GoalProgress",
            "GoalStatus",
            "GoalType",
            "Milestone",
            "MilestoneProgress",
            "Tracking",
            "get_celebration_message",
        ),
        "models",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'face.functions')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
