"""The documented quick start, as it is written but for the import."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from milepost import GoalManager, GoalStatus, GoalType
from tests.documented.goals import IMPORT, block
from tests.documented.page import Reader

# svc-infra is no part of this environment; tests/integrations runs the block on its app.
PLAIN_APP = {
    "from svc_infra.api.fastapi.ease import easy_service_app\n": "",
    'easy_service_app(name="FinanceAPI")': 'FastAPI(title="FinanceAPI")',
}


def test_the_blocks_run_one_after_another(reader: Reader) -> None:
    """A goal is made, and two of its three milestones are reached, with the documented output."""
    assert reader.run(block("Quick Start", "1. Basic Setup (Programmatic)"), IMPORT) == [
        "Goal Created: Emergency Fund",
        "Target: $10,000.00",
        "Current: $2,500.00",
        "Progress: 25.0%",
    ]
    goal = reader.names["goal"]
    assert (goal["type"], goal.status) == (GoalType.SAVINGS, GoalStatus.ACTIVE)
    assert (goal["target_amount"], goal.current_amount) == (Decimal("10000.00"), 2500.00)
    in_a_year = datetime.now(UTC) + timedelta(days=365)  # the block takes the local clock as UTC
    assert abs(goal["deadline"] - in_a_year) < timedelta(days=2)

    assert reader.run(block("Quick Start", "2. Milestone Tracking"), IMPORT) == [
        "Newly Reached Milestones: 2",
        "Reached: 2/3",
        "Completion: 66.7%",
    ]
    newly_reached = reader.names["newly_reached"]
    assert [milestone["amount"] for milestone in newly_reached] == [2500.00, 5000.00]
    assert all(milestone["reached"] for milestone in newly_reached)
    assert reader.names["progress"]["next_milestone"]["amount"] == 7500.00
    assert reader.names["goal"]["current_amount"] == 5500.00


def test_the_funding_block_keeps_the_100_percent(reader: Reader) -> None:
    """The third block raises 60% to 70% while another account has 40%: that is refused as the documentation says.

    Its calls go through where the other account is removed first.
    """
    reader.run(block("Quick Start", "1. Basic Setup (Programmatic)"), IMPORT)
    funding_block = block("Quick Start", "3. Funding Allocation")
    with pytest.raises(ValueError, match=r"^Total allocation would exceed 100%$"):
        reader.run(funding_block, IMPORT)
    assert reader.printed == ["Funding Sources: 2", " High Yield Savings: 60.0%", " Primary Checking: 40.0%"]
    manager, goal_id = reader.names["manager"], reader.names["goal"]["id"]
    sources = reader.wait(manager.get_goal_funding(goal_id))
    assert [(each["account_id"], each["allocation_percent"]) for each in sources] == [
        ("savings_001", 60.0),
        ("checking_001", 40.0),
    ]

    start, update, remove = re.split(r"(?=# Update allocation|# Remove account)", funding_block.text)
    reader.run(replace(funding_block, text=start + remove + update), IMPORT)
    (source,) = reader.wait(manager.get_goal_funding(goal_id))
    assert (source["account_id"], source["account_name"]) == ("savings_001", "High Yield Savings")
    assert source["allocation_percent"] == 70.0


def test_the_routes_are_on_the_app(reader: Reader) -> None:
    """The thirteen endpoints that the fourth block lists are what the app says it has."""
    app_block = block("Quick Start", "4. FastAPI Integration")
    assert reader.run(app_block, {**IMPORT, **PLAIN_APP}) == []
    app, manager = reader.names["app"], reader.names["manager"]
    assert isinstance(app, FastAPI)
    assert isinstance(manager, GoalManager)
    listed = [line.split()[1:3] for line in app_block.text.splitlines() if line.startswith("# ") and " - " in line]
    assert len(listed) == 13
    with TestClient(app) as client:
        paths = client.get("/openapi.json").json()["paths"]
        assert [(method, path) for method, path in listed if method.lower() not in paths.get(path, {})] == []
        goal = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}
        goal_id = client.post("/goals", json=goal).json()["id"]
    assert reader.wait(manager.get_goal(goal_id))["name"] == "Emergency Fund"
