# Made from milepost/face by `make twins`; change it there.
"""The documented Python interface: milepost.face awaits, and milepost.sync, which is made from it, blocks."""

from __future__ import annotations

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
from milepost.sync.client import Client
from milepost.sync.functions import (
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
from milepost.sync.goals import Goals
from milepost.sync.manager import GoalManager, easy_goals

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
