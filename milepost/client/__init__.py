"""The Python interface for coroutines; milepost.sync, which is generated from it, is the same interface that blocks."""

from __future__ import annotations

from milepost.client.arguments import GoalChanges
from milepost.client.errors import (
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
from milepost.client.goals import Goals
from milepost.client.hosting import add_goals
from milepost.client.http_client import Client
from milepost.client.manager import (
    GoalManager,
    add_milestone,
    check_milestones,
    create_goal,
    delete_goal,
    easy_goals,
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
from milepost.client.models import (
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
from milepost.client.records import Exact

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
