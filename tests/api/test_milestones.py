"""The documented endpoints of milestones, with their documented bodies."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fastapi.testclient import TestClient

HALFWAY = {"amount": 5000.00, "description": "Halfway to emergency fund", "target_date": "2025-12-31T00:00:00"}


def test_add_answers_with_the_documented_body(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """POST gives 201 and the documented keys with a `celebration`; the goal then shows the same milestone."""
    goal_id = new_goal()
    response = api.post(f"/goals/{goal_id}/milestones", json=HALFWAY)
    milestone = {
        "id": response.json()["id"],
        "amount": Decimal("5000.00"),
        "description": "Halfway to emergency fund",
        "target_date": "2025-12-31T00:00:00",
        "reached": False,
        "reached_date": None,
        "celebration": None,
    }
    assert response.status_code == 201
    assert exact(response) == milestone
    assert exact(api.get(f"/goals/{goal_id}/milestones")) == [milestone]
    assert exact(api.get(f"/goals/{goal_id}"))["milestones"] == [milestone]


def test_only_the_amount_is_needed(api: TestClient, new_goal: Callable[..., str]) -> None:
    """A milestone needs neither description nor target date."""
    body = api.post(f"/goals/{new_goal()}/milestones", json={"amount": "2500.00"}).json()
    assert (body["amount"], body["description"], body["target_date"]) == (2500.0, None, None)


def test_a_milestone_that_is_passed_already_is_reached_at_once(api: TestClient, new_goal: Callable[..., str]) -> None:
    """With the amount at 6,000, a milestone at 5,000 comes back as reached, with a date and words for it."""
    goal_id = new_goal(current_amount=6000)
    body = api.post(f"/goals/{goal_id}/milestones", json=HALFWAY).json()
    assert body["reached"] is True
    assert body["reached_date"].endswith("Z")
    assert body["celebration"] == "Milestone reached: 5,000.00 USD (Halfway to emergency fund)."
    assert api.get(f"/goals/{goal_id}/milestones").json() == api.get(f"/goals/{goal_id}").json()["milestones"] == [body]


def test_a_mark_stays_when_the_amount_falls(api: TestClient, new_goal: Callable[..., str]) -> None:
    """A milestone reached once keeps its date when the amount falls below it and comes back."""
    goal_id = new_goal()
    api.post(f"/goals/{goal_id}/milestones", json=HALFWAY)
    dates = []
    for amount in (5000, 4999.99, 5000.01):
        goal = api.patch(f"/goals/{goal_id}", json={"current_amount": amount}).json()
        dates.append(goal["milestones"][0]["reached_date"])
    assert dates[0] is not None
    assert len(set(dates)) == 1


def test_a_check_gives_what_is_new(api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]) -> None:
    """At 2,500 with milestones at 2,500, 5,000 and 7,500, then 5,500: two, as the list shows them; then none."""
    goal = f"/goals/{new_goal(current_amount=2500)}"
    for amount in (7500, 2500, 5000):
        assert api.post(f"{goal}/milestones", json={"amount": amount}).status_code == 201
    tag = api.patch(goal, json={"current_amount": 5500}).headers["ETag"]
    checked = api.post(f"{goal}/milestones/check", headers={"If-Match": tag})
    assert checked.status_code == 200
    assert exact(checked) == exact(api.get(f"{goal}/milestones"))[:2]
    assert api.post(f"{goal}/milestones/check").json() == []
    assert api.get(goal).headers["ETag"] == tag


def test_a_check_needs_the_scope_to_write(client: Any, new_goal: Callable[..., str]) -> None:
    """Who may only read checks nothing; a goal that is not there, or is another tenant's, is not found."""
    goal = f"/goals/{new_goal(current_amount=10)}"
    writer = client("goals:write")
    assert writer.post(f"{goal}/milestones", json={"amount": 10}).status_code == 201
    assert client("goals:read").post(f"{goal}/milestones/check").status_code == 403
    assert client(tenant="other").post(f"{goal}/milestones/check").status_code == 404
    assert writer.post(f"{goal}/milestones/check", headers={"If-Match": '"x"'}).status_code == 412
    assert [milestone["amount"] for milestone in writer.post(f"{goal}/milestones/check").json()] == [10]


def test_the_next_milestone_is_given_alone(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """The nearest that is not reached, with the keys of a milestone; `null` when there is none."""
    goal = f"/goals/{new_goal()}"
    assert (api.get(f"{goal}/milestones/next").status_code, api.get(f"{goal}/milestones/next").text) == (200, "null")
    for amount in (20, 10):
        api.post(f"{goal}/milestones", json={"amount": amount})
    assert exact(api.get(f"{goal}/milestones/next")) == exact(api.get(f"{goal}/milestones"))[0]
    api.patch(goal, json={"current_amount": 10})
    assert api.get(f"{goal}/milestones/next").json()["amount"] == 20
    api.patch(goal, json={"current_amount": 20})
    assert api.get(f"{goal}/milestones/next").json() is None
    assert api.get("/goals/none/milestones/next").status_code == 404


def test_progress_counts_and_names_the_next(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """Two of four reached is 50.0 percent, and the next one comes with the documented keys."""
    goal_id = new_goal()
    added = [api.post(f"/goals/{goal_id}/milestones", json={"amount": amount}) for amount in (10000, 2500, 7500, 5000)]
    api.patch(f"/goals/{goal_id}", json={"current_amount": 5500.00})
    assert exact(api.get(f"/goals/{goal_id}/milestones/progress")) == {
        "goal_id": goal_id,
        "total_milestones": Decimal(4),
        "reached_count": Decimal(2),
        "remaining_count": Decimal(2),
        "percent_complete": Decimal("50.0"),
        "next_milestone": {
            "id": added[2].json()["id"],
            "amount": Decimal("7500.00"),
            "description": None,
            "target_date": None,
            "reached": False,
        },
    }
    amounts = [milestone["amount"] for milestone in api.get(f"/goals/{goal_id}/milestones").json()]
    assert amounts == [2500, 5000, 7500, 10000]


def test_a_goal_without_milestones_has_none_to_come(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Without milestones the list is empty, the percentage 0.0 and the next one null."""
    goal_id = new_goal()
    assert api.get(f"/goals/{goal_id}/milestones").json() == []
    progress = api.get(f"/goals/{goal_id}/milestones/progress").json()
    del progress["goal_id"]
    assert progress == {
        "total_milestones": 0,
        "reached_count": 0,
        "remaining_count": 0,
        "percent_complete": 0.0,
        "next_milestone": None,
    }


def test_a_debt_counts_its_milestones_downwards(api: TestClient, new_goal: Callable[..., str]) -> None:
    """The next milestone of a debt is the highest that is still below the amount owed."""
    goal_id = new_goal(type="debt", target_amount=0, current_amount=8500)
    for amount in (0, 6000, 4000, 2000):
        api.post(f"/goals/{goal_id}/milestones", json={"amount": amount})
    api.patch(f"/goals/{goal_id}", json={"current_amount": 6000})
    progress = api.get(f"/goals/{goal_id}/milestones/progress").json()
    assert (progress["reached_count"], progress["next_milestone"]["amount"]) == (1, 4000)
    amounts = [milestone["amount"] for milestone in api.get(f"/goals/{goal_id}/milestones").json()]
    assert amounts == [0, 2000, 4000, 6000]


def test_a_milestone_is_changed_and_deleted_by_its_id(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """PATCH gives 200 and the milestone as it is then, evaluated anew; DELETE gives 204, and after it both are 404."""
    goal_id = new_goal(current_amount=5500)
    address = f"/goals/{goal_id}/milestones"
    milestone_id = api.post(address, json=HALFWAY).json()["id"]
    response = api.patch(f"{address}/{milestone_id}", json={"amount": 6000.00, "target_date": "2026-06-30"})
    milestone = {
        "id": milestone_id,
        "amount": Decimal("6000.00"),
        "description": "Halfway to emergency fund",
        "target_date": "2026-06-30T00:00:00",
        "reached": False,
        "reached_date": None,
        "celebration": None,
    }
    assert (response.status_code, exact(response)) == (200, milestone)
    assert exact(api.get(address)) == exact(api.get(f"/goals/{goal_id}"))["milestones"] == [milestone]
    assert exact(api.get(f"{address}/next")) == milestone
    assert api.patch(f"{address}/{milestone_id}", json={}).json() == response.json()
    refused = api.patch(f"{address}/{milestone_id}", json={"amount": None})
    assert (refused.status_code, "amount" in refused.text) == (422, True)
    response = api.delete(f"{address}/{milestone_id}")
    assert (response.status_code, response.content) == (204, b"")
    for again in (api.delete(f"{address}/{milestone_id}"), api.patch(f"{address}/{milestone_id}", json={"amount": 1})):
        assert (again.status_code, again.json()) == (404, {"detail": "Milestone not found"})
    assert api.get(address).json() == []


def test_a_goal_has_at_most_a_hundred(api: TestClient, new_goal: Callable[..., str]) -> None:
    """One more is a conflict, and changes nothing; where one was deleted there is room again."""
    url = f"/goals/{new_goal()}/milestones"
    for amount in range(1, 101):
        assert api.post(url, json={"amount": amount}).status_code == 201
    refused = api.post(url, json={"amount": 101})
    assert (refused.status_code, refused.json()) == (
        409,
        {"detail": "A goal has at most 100 milestones: delete one first"},
    )
    milestones = api.get(url).json()
    assert [each["amount"] for each in milestones] == list(range(1, 101))
    assert api.delete(f"{url}/{milestones[0]['id']}").status_code == 204
    assert api.post(url, json={"amount": 101}).status_code == 201
