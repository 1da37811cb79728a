"""The three long examples of the documentation, and its tips for finding faults."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from milepost import GoalStatus
from tests.documented.conftest import new_goal
from tests.documented.goals import IMPORT, block
from tests.documented.page import Reader

PERCENTS = ["2.8", "5.6", "8.3", "11.1", "13.9", "16.7", "19.4", "22.2", "25.0", "27.8", "30.6", "33.3"]


def test_emergency_fund_with_milestones(reader: Reader) -> None:
    """Twelve months of 500 reach the first milestone in month 6 and the second in month 12."""
    expected = []
    for month, percent in enumerate(PERCENTS, 1):
        expected += [f"Month {month}: Reached 1 milestone(s)!"] if month in (6, 12) else []
        expected.append(f"Month {month}: ${500 * month:,.2f} / $18,000.00 ({percent}%)")
    assert reader.run(block("Examples", "Example 1: Emergency Fund with Milestones"), IMPORT) == expected
    goal = reader.wait(reader.names["manager"].get_goal(reader.names["goal"]["id"]))
    assert goal["current_amount"] == 6000.00
    told = [(milestone["description"], milestone["reached"]) for milestone in goal["milestones"]]
    assert told[:3] == [
        ("1 month of expenses saved", True),
        ("2 months of expenses saved", True),
        ("3 months of expenses saved", False),
    ]
    assert len(told) == 6


def test_multi_goal_funding_allocation(reader: Reader) -> None:
    """Three goals share three accounts, one of them at 190% in total."""
    assert reader.run(block("Examples", "Example 2: Multi-Goal Funding Allocation"), IMPORT) == [
        "",
        "Emergency Fund Funding:",
        " High Yield Savings: 100.0%",
        "",
        "Hawaii Vacation Funding:",
        " Primary Checking: 60.0%",
        " High Yield Savings: 40.0%",
        "",
        "House Down Payment Funding:",
        " High Yield Savings: 50.0%",
        " Brokerage Account: 30.0%",
        " Primary Checking: 20.0%",
    ]


def test_debt_payoff_goal(reader: Reader) -> None:
    """8,500 at 750 a month is paid off in month 12, with milestones in months 4, 6, 9 and 12."""
    assert reader.run(block("Examples", "Example 3: Debt Payoff Goal"), IMPORT) == [
        "Month 4: Reached milestone! Debt now $5,500.00",
        "Month 6: Reached milestone! Debt now $4,000.00",
        "Month 9: Reached milestone! Debt now $1,750.00",
        "Month 12: Reached milestone! Debt now $0.00",
        "Month 12: DEBT PAID OFF! 🎉",
    ]
    goal = reader.wait(reader.names["manager"].get_goal(reader.names["debt_goal"]["id"]))
    assert (goal["status"], goal["current_amount"]) == (GoalStatus.COMPLETED, 0.00)
    assert all(milestone["reached"] for milestone in goal["milestones"])


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """The root logger is left as it was."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.mark.usefixtures("logging_as_before")
def test_milestones_are_looked_into(given: Reader) -> None:
    """With debug logging on, a milestone that was passed is found by checking and seen in the goal."""
    given.run(block("Troubleshooting", "Enable Debug Logging"))
    goal = new_goal(given, current_amount=6000.00)
    given.wait(given.names["manager"].add_milestone(goal["id"], 5000.00, "Halfway"))
    given.names["goal_id"] = goal["id"]
    checked, seen = given.run(block("Troubleshooting", "Test Milestone Logic"))
    assert checked.startswith("Newly reached: [{'amount': Exact('5000.00'), 'description': 'Halfway'")
    assert seen.startswith("Milestones: [{'amount': Exact('5000.00'), 'description': 'Halfway'")


def test_the_stores_are_not_to_be_had(reader: Reader) -> None:
    """The dictionaries that the documented module kept its goals in do not exist: goals are in Postgres."""
    with pytest.raises(ModuleNotFoundError, match=r"milepost\.management"):
        reader.run(block("Troubleshooting", "Inspect Store State"), {"fin_infra.goals.": "milepost."})
