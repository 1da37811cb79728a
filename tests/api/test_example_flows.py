"""The documented example flows, number by number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

Exact = Callable[[Any], Any]

EMERGENCY_PERCENTS = ["2.7777", "5.5555", "8.3333", "11.1111", "13.8888", "16.6666"]
EMERGENCY_PERCENTS += ["19.4444", "22.2222", "25.0", "27.7777", "30.5555", "33.3333"]
DEBT_PERCENTS = ["8.8235", "17.647", "26.4705", "35.2941", "44.1176", "52.9411"]
DEBT_PERCENTS += ["61.7647", "70.5882", "79.4117", "88.2352", "97.0588", "100.0"]


def _reached(api: TestClient, goal_id: str) -> list[float]:
    milestones = api.get(f"/goals/{goal_id}/milestones").json()
    return [milestone["amount"] for milestone in milestones if milestone["reached"]]


def _set_amount(api: TestClient, goal_id: str, amount: str) -> dict[str, Any]:
    response = api.patch(f"/goals/{goal_id}", json={"current_amount": amount})
    assert response.status_code == 200, response.text
    goal: dict[str, Any] = response.json()
    return goal


def test_emergency_fund_with_milestones(api: TestClient, new_goal: Callable[..., str], exact: Exact) -> None:
    """18,000 with a milestone each 3,000: twelve months of 500 reach the first in month 6, the second in 12."""
    now = datetime.now(UTC)
    goal_id = new_goal(
        name="6-Month Emergency Fund",
        target_amount=18000.00,
        current_amount=0.00,
        deadline=(now + timedelta(days=730)).isoformat(),
        description="Save 6 months of expenses ($3,000/month)",
        status="active",
    )
    for month in range(1, 7):
        milestone = {
            "amount": month * 3000.00,
            "description": f"{month} month{'s' if month > 1 else ''} of expenses saved",
            "target_date": (now + timedelta(days=month * 60)).isoformat(),
        }
        assert api.post(f"/goals/{goal_id}/milestones", json=milestone).status_code == 201
    amounts, percents, newly_reached = [], [], {}
    for month in range(1, 13):
        before = _reached(api, goal_id)
        current = exact(api.get(f"/goals/{goal_id}"))["current_amount"]
        _set_amount(api, goal_id, str(current + 500))
        progress = exact(api.get(f"/goals/{goal_id}/progress"))
        amounts.append(progress["current_amount"])
        percents.append(str(progress["percent_complete"]))
        new = [amount for amount in _reached(api, goal_id) if amount not in before]
        newly_reached.update({month: new} if new else {})
    assert amounts == [Decimal(500 * month) for month in range(1, 13)]
    assert percents == EMERGENCY_PERCENTS
    assert newly_reached == {6: [3000.0], 12: [6000.0]}
    progress = api.get(f"/goals/{goal_id}/milestones/progress").json()
    assert (progress["total_milestones"], progress["reached_count"]) == (6, 2)
    assert (progress["percent_complete"], progress["next_milestone"]["amount"]) == (33.3333, 9000.0)


THREE_GOALS = {
    "emergency_fund": (("savings_hysa", 100.0),),
    "vacation": (("checking_001", 60.0), ("savings_hysa", 40.0)),
    "down_payment": (("savings_hysa", 50.0), ("investment_brokerage", 30.0), ("checking_001", 20.0)),
}


def _report(account: str, amount: str, as_of: datetime) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{account}-{as_of.isoformat()}",
        "source": "bank",
        "type": "milepost.balance.reported",
        "time": as_of.isoformat(),
        "data": {"account_id": account, "current": amount, "currency": "USD", "as_of": as_of.isoformat()},
    }


def test_three_goals_share_three_accounts(
    api: TestClient, new_goal: Callable[..., str], apply_stream: Callable[[], Any], exact: Exact
) -> None:
    """savings_hysa gives 190% over three goals; what the accounts gain later moves each by its shares."""
    ids = {
        "emergency_fund": new_goal(name="Emergency Fund", target_amount=10000.00, current_amount=0.00),
        "vacation": new_goal(name="Hawaii Vacation", target_amount=5000.00, current_amount=0.00),
        "down_payment": new_goal(name="House Down Payment", target_amount=50000.00, current_amount=10000.00),
    }
    for name, links in THREE_GOALS.items():
        for account, percent in links:
            link = {"account_id": account, "account_name": account.title(), "allocation_percent": percent}
            assert api.post(f"/goals/{ids[name]}/funding", json=link).status_code == 201
    totals: dict[str, float] = {}
    for name, links in THREE_GOALS.items():
        sources = api.get(f"/goals/{ids[name]}/funding").json()
        assert {(s["account_id"], s["allocation_percent"]) for s in sources} == set(links)
        for source in sources:
            totals[source["account_id"]] = totals.get(source["account_id"], 0) + source["allocation_percent"]
    assert totals == {"savings_hysa": 190.0, "checking_001": 80.0, "investment_brokerage": 30.0}

    now = datetime.now(UTC)
    opening = [_report(account, "5000.00", now - timedelta(hours=1)) for account in totals]
    gains = {"savings_hysa": "6000.01", "checking_001": "4749.99", "investment_brokerage": "5100.00"}
    later = [_report(account, amount, now + timedelta(minutes=5)) for account, amount in gains.items()]
    assert api.post("/events", json=opening + later).json() == {"accepted": 6}
    assert apply_stream().dead_letters == 0
    # Gains of 1,000.01, -250.01 and 100.00; each share is cut towards zero, to the cent.
    assert {name: exact(api.get(f"/goals/{ids[name]}"))["current_amount"] for name in ids} == {
        "emergency_fund": Decimal("1000.01"),
        "vacation": Decimal("250.00"),  # 60% of -250.01 is -150.00, 40% of 1,000.01 is 400.00
        "down_payment": Decimal("10480.00"),  # 500.00 + 30.00 - 50.00
    }


def test_one_account_at_130_percent(api: TestClient, new_goal: Callable[..., str]) -> None:
    """60%, 30% and 40% of one account for three goals is allowed: the limit is per goal."""
    shares = {new_goal(name="Emergency"): 60.0, new_goal(name="Vacation"): 30.0, new_goal(name="House"): 40.0}
    for goal_id, percent in shares.items():
        link = {"account_id": "savings_001", "allocation_percent": percent}
        assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    for goal_id, percent in shares.items():
        (source,) = api.get(f"/goals/{goal_id}/funding").json()
        assert (source["account_id"], source["allocation_percent"]) == ("savings_001", percent)


@pytest.mark.parametrize("target", [0.00, 8500.00])
def test_debt_payoff_with_descending_milestones(
    api: TestClient, new_goal: Callable[..., str], exact: Exact, target: float
) -> None:
    """8,500 paid off by 750 a month, in both documented forms: done in month 12, milestones in 4, 6, 9 and 12."""
    goal_id = new_goal(name="Credit Card Payoff", type="debt", target_amount=target, current_amount=8500.00)
    assert exact(api.get(f"/goals/{goal_id}/progress"))["percent_complete"] == Decimal("0.0")
    for amount in (6000.00, 4000.00, 2000.00, 0.00):
        milestone = {"amount": amount, "description": f"Debt reduced to ${amount:,.2f}"}
        assert api.post(f"/goals/{goal_id}/milestones", json=milestone).json()["reached"] is False
    owed, percents, newly_reached = [], [], {}
    for month in range(1, 13):
        before = _reached(api, goal_id)
        current = exact(api.get(f"/goals/{goal_id}"))["current_amount"]
        _set_amount(api, goal_id, str(max(Decimal(0), current - 750)))
        progress = exact(api.get(f"/goals/{goal_id}/progress"))
        owed.append(int(progress["current_amount"]))
        percents.append(str(progress["percent_complete"]))
        new = [amount for amount in _reached(api, goal_id) if amount not in before]
        newly_reached.update({month: new} if new else {})
    assert owed == [7750, 7000, 6250, 5500, 4750, 4000, 3250, 2500, 1750, 1000, 250, 0]
    assert percents == DEBT_PERCENTS
    assert newly_reached == {4: [6000.0], 6: [4000.0], 9: [2000.0], 12: [0.0]}
    done = api.patch(f"/goals/{goal_id}", json={"status": "completed"})
    assert (done.status_code, done.json()["status"]) == (200, "completed")


def test_the_documented_lifecycle(api: TestClient, new_goal: Callable[..., str]) -> None:
    """A goal is paused and resumed, then completed; after that no other status is taken."""
    goal_id = new_goal()
    for status in ("paused", "active", "completed", "completed"):
        assert api.patch(f"/goals/{goal_id}", json={"status": status}).json()["status"] == status
    for status in ("active", "paused", "abandoned"):
        response = api.patch(f"/goals/{goal_id}", json={"status": status})
        assert response.status_code == 409
        assert response.json() == {"detail": f"A goal that is completed cannot become {status}"}
