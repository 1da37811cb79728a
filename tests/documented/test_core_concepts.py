"""The documented core concepts: goal types, statuses, milestones, funding and progress, as they are written."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from milepost import Goal, GoalStatus, GoalType
from tests.documented.conftest import new_goal
from tests.documented.goals import assert_as_documented, block, literal
from tests.documented.page import Reader


def _milestones(given: Reader, *amounts: float, description: str | None = None, target_date: Any = None) -> None:
    for amount in amounts:
        milestone = given.names["manager"].add_milestone(given.names["goal"]["id"], amount, description, target_date)
        given.wait(milestone)


def _progress(given: Reader, goal: Goal) -> Any:
    return given.wait(given.names["manager"].get_goal_progress(goal["id"]))


@pytest.mark.parametrize(
    ("heading", "type", "target", "current", "deadline", "percent"),
    [
        ("Example: Savings Goal", GoalType.SAVINGS, 5000.00, 0.00, "2026-06-01T00:00:00", 0.0),
        ("Example: Debt Payoff Goal", GoalType.DEBT, 8500.00, 8500.00, "2026-12-31T00:00:00", 0.0),
        ("Example: Net Worth Milestone", GoalType.NET_WORTH, 5e5, 3.5e5, "2028-01-01T00:00:00", 70.0),
    ],
)
def test_goals_of_each_kind_are_made(
    given: Reader, heading: str, type: GoalType, target: float, current: float, deadline: str, percent: float
) -> None:
    """The goal is what was asked for; its deadline is the day that was given, and a debt begins at 0%."""
    given.run(block("Core Concepts", heading))
    goal = given.names["goal"]
    assert (goal["type"], goal["target_amount"], goal["current_amount"]) == (type, target, current)
    assert (goal["deadline"].isoformat(), goal["status"]) == (deadline, GoalStatus.ACTIVE)
    assert _progress(given, goal)["percent_complete"] == percent


def test_the_debt_decreases_towards_0(given: Reader) -> None:
    """A quarter of the documented total debt is paid off: 25%."""
    given.run(block("Core Concepts", "Example: Debt Payoff Goal"))
    goal = given.wait(given.names["manager"].update_goal(given.names["goal"]["id"], current_amount=6375.00))
    assert _progress(given, goal)["percent_complete"] == 25.0


def test_a_completed_goal_is_not_abandoned(given: Reader) -> None:
    """The goal is paused, resumed and completed; the last call of the block breaks the rule that this is final."""
    statuses = block("Core Concepts", "Status Management")
    with pytest.raises(ValueError, match=r"^A goal that is completed cannot become abandoned$"):
        given.run(statuses)
    manager, goal = given.names["manager"], given.names["goal"]
    assert goal["status"] == GoalStatus.COMPLETED
    assert given.wait(manager.get_goal(goal["id"])) == goal

    given.names["goal"] = new_goal(given)
    given.run(statuses, {"GoalStatus.COMPLETED": "GoalStatus.ACTIVE"})
    assert given.names["goal"]["status"] == GoalStatus.ABANDONED


def test_a_milestone_has_the_documented_structure(given: Reader) -> None:
    """A milestone that is not reached has each documented field and value."""
    structure = literal(block("Core Concepts", "Milestone Structure").text)
    manager, goal = given.names["manager"], given.names["goal"]
    asked = {name: structure[name] for name in ("amount", "description", "target_date")}
    assert_as_documented(structure, given.wait(manager.add_milestone(goal_id=goal["id"], **asked)))
    (milestone,) = given.wait(manager.get_goal(goal["id"]))["milestones"]
    assert_as_documented(structure, milestone)


def test_milestones_are_marked_and_told_once(given: Reader) -> None:
    """check_milestones and get_milestone_progress return what the comments of the block say."""
    _milestones(given, 2500.00, 5000.00, 7500.00, 10000.00)
    manager, goal = given.names["manager"], given.names["goal"]
    assert len(given.wait(manager.check_milestones(goal["id"]))) == 1
    marking = block("Core Concepts", "Auto-Completion Logic")
    given.run(marking)
    comments = "\n".join(line.lstrip("# ") for line in marking.text.splitlines() if line.startswith("#"))
    newly_reached, progress = re.findall(r"^Returns: (\[.*?\]$|\{.*?^\})", comments, re.MULTILINE | re.DOTALL)
    assert_as_documented(literal(newly_reached), given.names["newly_reached"])
    assert_as_documented(literal(progress), given.names["progress"])
    assert given.wait(manager.check_milestones(goal["id"])) == []


def test_a_funding_source_has_the_documented_structure(given: Reader) -> None:
    """A link has each documented field and value."""
    structure = literal(block("Core Concepts", "Funding Structure").text)
    manager, goal = given.names["manager"], given.names["goal"]
    assert_as_documented(structure, given.wait(manager.link_account_to_goal(goal_id=goal["id"], **structure)))
    assert_as_documented([structure], given.wait(manager.get_goal_funding(goal_id=goal["id"])))


def test_a_fourth_account_is_one_too_many(given: Reader) -> None:
    """50%, 30% and 20% are linked; 10% more raise the documented error and change nothing."""
    with pytest.raises(ValueError, match=r"^Total allocation would exceed 100%$"):
        given.run(block("Core Concepts", "Multi-Account Allocation"))
    sources = given.wait(given.names["manager"].get_goal_funding(given.names["goal"]["id"]))
    assert [(source["account_name"], source["allocation_percent"]) for source in sources] == [
        ("High Yield Savings", 50.0),
        ("Primary Checking", 30.0),
        ("Brokerage Account", 20.0),
    ]


def test_an_account_may_fund_several_goals(given: Reader) -> None:
    """The shares of savings_001 that the block's comments name are all taken: 130% over three goals."""
    manager = given.names["manager"]
    shares = re.findall(r"^# - (.*): (\d+)%", block("Core Concepts", "Shared Account Allocation").text, re.MULTILINE)
    assert len(shares) == 3
    for name, percent in shares:
        goal = new_goal(given, name=name)
        given.wait(manager.link_account_to_goal(goal["id"], "savings_001", allocation_percent=float(percent)))
        (source,) = given.wait(manager.get_goal_funding(goal["id"]))
        assert source["allocation_percent"] == float(percent)


def test_progress_has_the_documented_structure(given: Reader) -> None:
    """Each documented field and value; there is no projected date before a whole month."""
    given.names["goal"] = new_goal(given, current_amount=6500.00, deadline="2025-11-09")
    asking = block("Core Concepts", "Get Progress")
    given.run(asking)
    shown = literal(asking.text.partition("# Returns:\n")[2])
    progress = given.names["progress"]
    projected = shown.pop("projected_completion_date")
    assert "projected_completion_date" in progress
    if progress["projected_completion_date"] is not None:
        assert_as_documented(projected, progress["projected_completion_date"])
    assert_as_documented(shown, progress)


def test_milestone_progress_has_the_documented_structure(given: Reader) -> None:
    """Each documented field and value."""
    asking = block("Core Concepts", "Get Milestone Progress")
    shown = literal(asking.text.partition("# Returns:\n")[2])
    given.names["goal"] = new_goal(given, current_amount=5000.00)
    _milestones(given, 2500.00, 5000.00, 10000.00)
    following = shown["next_milestone"]
    target_date = datetime.fromisoformat(following["target_date"])
    _milestones(given, following["amount"], description=following["description"], target_date=target_date)
    given.run(asking)
    assert_as_documented(shown, given.names["progress"])
