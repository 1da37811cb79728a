"""The documented integration patterns, with the calls that svc-infra and fin-infra really have."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from milepost import GoalStatus, GoalType, easy_goals
from tests.documented.goals import IMPORT, block
from tests.documented.page import Reader
from tests.integrations.differences import Difference, Tell, run_with_each

RELEASE = Difference(
    "svc-infra",
    'easy_service_app(name="FinanceAPI")',
    'easy_service_app(name="FinanceAPI", release="1.0.0")',
    TypeError,
)
SETUP_LOGGING = Difference(
    "svc-infra",
    "from svc_infra.logging import setup_logging",
    "from svc_infra.app.logging import setup_logging",
    ImportError,
)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The host's setup_logging replaces the root logger's handlers; they are put back."""
    root = logging.getLogger()
    level, handlers = root.level, copy(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


class Bank:
    """A bank, as fin-infra's net worth asks one: by an access token, for balances in floats."""

    async def get_accounts(self, access_token: str) -> list[dict[str, Any]]:
        """A savings account, a checking account and a card."""
        assert access_token == "token"
        return [
            {"id": "savings_001", "type": "savings", "name": "High Yield Savings", "balance": 480000.10},
            {"id": "checking_001", "type": "checking", "name": "Primary Checking", "balance": 25000.20},
            {"id": "card_001", "type": "credit_card", "name": "Card", "balance": 5000.30},
        ]


@pytest.mark.parametrize(
    ("section", "heading", "differences"),
    [
        ("Quick Start", "4. FastAPI Integration", [RELEASE]),
        ("Integration Patterns", "With svc-infra", [SETUP_LOGGING, RELEASE]),
    ],
)
def test_with_svc_infra(
    reader: Reader, tell_missing: Tell, section: str, heading: str, differences: list[Difference]
) -> None:
    """The goals are on the application that the block makes, beside the host's own routes, logging and metrics."""
    pattern = block(section, heading)
    assert run_with_each(reader, pattern, {}, IMPORT, differences, tell_missing) == []
    app = reader.names["app"]
    assert isinstance(app, FastAPI)
    with TestClient(app) as client:
        goal = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}
        goal_id = client.post("/goals", json=goal).json()["id"]
        assert client.get("/ping").status_code == 200
        assert 'route="/goals"' in client.get("/metrics").text
    assert reader.wait(reader.names["manager"].get_goal(goal_id))["name"] == "Emergency Fund"


def _nothing_was_asked(names: Mapping[str, Any]) -> str | None:
    return "the bank is not asked, and the net worth is 0.0" if names["current_net_worth"] == 0 else None


def test_net_worth_tracking(reader: Reader, tell_missing: Tell) -> None:
    """A goal follows fin-infra's net worth to the cent, and is completed when that reaches the target."""
    reader.names["manager"] = manager = easy_goals()
    goal = reader.wait(manager.create_goal("user_123", "$500K", GoalType.NET_WORTH, 500000.00))
    differences = [
        Difference("fin-infra", "easy_net_worth()", "easy_net_worth(banking=bank)", ValueError),
        Difference(
            "fin-infra",
            'calculate_net_worth(user_id="user_123")',
            'calculate_net_worth(user_id="user_123", access_token="token")',
            symptom=_nothing_was_asked,
        ),
        Difference("fin-infra", 'snapshot["net_worth"]', "snapshot.total_net_worth", TypeError),
    ]
    given = {"bank": Bank(), "GoalStatus": GoalStatus}  # the block does not import GoalStatus
    own_goal = {"net_worth_goal_123": goal["id"]}
    pattern = block("Integration Patterns", "Net Worth Tracking")
    # What is not tried as documented would complete the goal, and a completed goal takes no amount.
    tried = {**IMPORT, **own_goal, ">= goal": ">= 1e9 + goal"}
    run_with_each(reader, pattern, given, tried, differences, tell_missing)
    edits = {**IMPORT, **own_goal, **{each.written: each.instead for each in differences}}
    reader.run(pattern, edits)
    done = reader.wait(manager.get_goal(goal["id"]))
    assert (done["current_amount"], done["status"]) == (500000.00, GoalStatus.COMPLETED)


def test_budget_management(reader: Reader, tell_missing: Tell, database_url: str) -> None:
    """A goal grows by what a budget of fin-infra's sets aside for it."""
    differences = [
        Difference("fin-infra", "easy_budgets()", "easy_budgets(db_url=database_url)", ValueError),
        Difference(
            "fin-infra",
            'create_budget(\n    user_id="user_123",\n    name="November 2025",\n',
            'create_budget(\n    user_id="user_123",\n    name="November 2025", type="personal", period="monthly",\n',
            TypeError,
        ),
    ]
    pattern = block("Integration Patterns", "Budget Management")
    more_of_the_same = {"        ...\n": ""}
    run_with_each(
        reader, pattern, {"database_url": database_url}, {**IMPORT, **more_of_the_same}, differences, tell_missing
    )
    budget, goal = reader.names["budget"], reader.names["goal"]
    assert budget.categories == {"Vacation Savings": 500.00}
    assert reader.wait(reader.names["goal_manager"].get_goal(goal["id"]))["current_amount"] == 500.00
    reader.wait(reader.names["budget_tracker"].db_engine.dispose())


def test_analytics(reader: Reader, tell_missing: Tell) -> None:
    """What fin-infra says is saved a month is shared out between the active goals."""
    reader.names["manager"] = manager = easy_goals()
    for name in ("Emergency Fund", "Vacation"):
        reader.wait(manager.create_goal("user_123", name, GoalType.SAVINGS, 5000.00))
    paused = manager.create_goal("user_123", "Later", GoalType.SAVINGS, 5000.00, status=GoalStatus.PAUSED)
    reader.wait(paused)
    differences = [Difference("fin-infra", "savings.monthly_savings_amount", "savings.savings_amount", AttributeError)]
    pattern = block("Integration Patterns", "Analytics")
    printed = run_with_each(reader, pattern, {}, IMPORT, differences, tell_missing)
    monthly = reader.names["monthly_savings"]
    assert printed == [f"Monthly Savings: ${monthly:,.2f}", f"Recommended per goal: ${monthly / 2:,.2f}"]
    nobody = reader.wait(reader.names["analytics"].savings_rate(user_id="nobody", period="monthly"))
    assert nobody.savings_amount == monthly, "the savings are a user's own now"
    tell_missing(
        "fin-infra", f"savings_rate(user_id=...): not a user's own: {monthly:,.2f} for anybody, without a bank"
    )
