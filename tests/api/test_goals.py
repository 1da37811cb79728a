"""The documented endpoints of goals, with their documented bodies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

DOCUMENTED_PROGRESS = {
    "goal_id",
    "current_amount",
    "target_amount",
    "percent_complete",
    "status",
    "deadline",
    "projected_completion_date",
    "projection_note",
}
DOCUMENTED = {
    "user_id": "user_123",
    "name": "Emergency Fund",
    "type": "savings",
    "target_amount": 10000.00,
    "current_amount": 0.00,
    "deadline": "2026-11-09T00:00:00",
    "description": "Build 6-month emergency fund",
    "status": "active",
}
DOCUMENTED_KEYS = {*DOCUMENTED, "id", "created_at", "updated_at", "milestones"}
OUR_KEYS = {
    "percent_complete",
    "external_id",
    "metadata",
    "position",
    "image_url",
    "tracking",
    "start_date",
    "auto_complete",
    "currency",
    "waiting_for",
    "version",
    "note",
}


def test_create_answers_with_the_documented_body(api: TestClient) -> None:
    """POST /goals gives 201 and the goal with exactly the documented keys and those that we add."""
    response = api.post("/goals", json=DOCUMENTED)
    goal = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/goals/{goal['id']}"
    assert set(goal) == DOCUMENTED_KEYS | OUR_KEYS
    expected = {**DOCUMENTED, "milestones": [], "waiting_for": []}
    assert {name: goal[name] for name in expected} == expected
    assert (goal["currency"], goal["tracking"], goal["auto_complete"]) == ("USD", "change", False)
    assert goal["created_at"] == goal["updated_at"]
    assert goal["created_at"].endswith("Z")


def test_what_was_created_is_what_is_read(api: TestClient) -> None:
    """GET /goals/{goal_id} gives the body that POST /goals gave."""
    later = {"deadline": "9000-11-09", "auto_complete": True, "start_date": "2025-01-31"}
    created = api.post("/goals", json={**DOCUMENTED, **later})
    read = api.get(f"/goals/{created.json()['id']}")
    assert read.status_code == 200
    assert read.text == created.text
    assert (read.json()["auto_complete"], read.json()["start_date"]) == (True, "2025-01-31")


@pytest.mark.parametrize(
    ("currency", "given", "written"),
    [
        ("USD", 10000, "10000.00"),
        ("USD", "10000.5", "10000.50"),
        ("JPY", 10000.0, "10000"),
        ("KWD", "0.125", "0.125"),
        ("USD", "9999999999999.99", "9999999999999.99"),
    ],
)
def test_amounts_have_the_digits_of_their_currency(api: TestClient, currency: str, given: Any, written: str) -> None:
    """Amounts come in as numbers or decimal strings and go out as numbers with the currency's digits."""
    fields = {**DOCUMENTED, "currency": currency, "target_amount": given, "current_amount": None}
    response = api.post("/goals", json=fields)
    assert response.status_code == 201, response.text
    assert f'"target_amount":{written},' in response.text


def test_an_amount_never_passes_through_float(api: TestClient) -> None:
    """A number with more digits than a float holds keeps them all."""
    body = b'{"user_id":"u","name":"n","type":"savings","target_amount":9007199254740.93}'
    assert '"target_amount":9007199254740.93,' in api.post("/goals", content=body).text


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-11-09T00:00:00", "2026-11-09T00:00:00"),
        ("2026-11-09t00:00:00.000", "2026-11-09T00:00:00"),
        ("2026-11-09", "2026-11-09T00:00:00"),
        ("0001-01-01", "0001-01-01T00:00:00"),
        ("9999-12-31", "9999-12-31T00:00:00"),
        ("2026-11-09T00:00:00Z", "2026-11-09T00:00:00Z"),
        ("2026-11-09T00:00:00+00:00", "2026-11-09T00:00:00Z"),
        ("2026-11-09T02:30:00+02:30", "2026-11-09T00:00:00Z"),
        ("2026-11-09T00:00:00+01:00", "2026-11-08T23:00:00Z"),
        ("2026-11-09T00:00:00.25", "2026-11-09T00:00:00.250000Z"),
        ("2026-11-09T12:00:00", "2026-11-09T12:00:00Z"),
        (None, None),
    ],
)
def test_a_deadline_is_a_day_or_a_moment(api: TestClient, given: str | None, kept: str | None) -> None:
    """A date, or a midnight without offset, is a day and goes out as that midnight; all else is a moment in UTC."""
    goal = api.post("/goals", json={**DOCUMENTED, "deadline": given}).json()
    assert goal["deadline"] == kept
    assert api.get(f"/goals/{goal['id']}/progress").json()["deadline"] == kept
    cleared = api.patch(f"/goals/{goal['id']}", json={"deadline": None}).json()
    assert cleared["deadline"] is None
    assert api.patch(f"/goals/{goal['id']}", json={"deadline": given}).json()["deadline"] == kept
    milestone = {"amount": 1, "target_date": given}
    assert api.post(f"/goals/{goal['id']}/milestones", json=milestone).json()["target_date"] == kept
    assert api.get(f"/goals/{goal['id']}/milestones/next").json()["target_date"] == kept


def test_update_changes_what_is_given_and_nothing_else(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """PATCH /goals/{goal_id} changes the fields in the body and leaves the others."""
    goal_id = new_goal(description="before", deadline="2027-01-01")
    before = exact(api.get(f"/goals/{goal_id}"))
    response = api.patch(f"/goals/{goal_id}", json={"current_amount": 3500.00, "status": "active"})
    after = exact(response)
    assert response.status_code == 200
    assert after["current_amount"] == Decimal("3500.00")
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"current_amount", "percent_complete", "updated_at", "version"}
    assert exact(api.get(f"/goals/{goal_id}")) == after


def test_update_takes_every_documented_field(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Name, description, target, amount, deadline and status can be changed in one request."""
    goal_id = new_goal()
    fields = {
        "name": "Rainy days",
        "description": "Two lines\nof text",
        "target_amount": 12000.50,
        "current_amount": 100.25,
        "deadline": "2028-02-29T12:00:00Z",
        "status": "paused",
    }
    goal = api.patch(f"/goals/{goal_id}", json=fields).json()
    assert {name: goal[name] for name in fields} == fields


def test_null_clears_the_deadline_and_the_description(api: TestClient, new_goal: Callable[..., str]) -> None:
    """PATCH with null takes the deadline and the description away."""
    goal_id = new_goal(description="before", deadline="2027-01-01")
    goal = api.patch(f"/goals/{goal_id}", json={"deadline": None, "description": None}).json()
    assert (goal["deadline"], goal["description"]) == (None, None)


def test_an_empty_update_changes_nothing(api: TestClient, new_goal: Callable[..., str]) -> None:
    """PATCH with an empty object answers with the goal as it is, but for the time of the request."""
    goal_id = new_goal(current_amount=5)
    before = api.get(f"/goals/{goal_id}").json()
    after = api.patch(f"/goals/{goal_id}", json={}).json()
    assert {**after, "updated_at": before["updated_at"]} == before


def test_a_deleted_goal_is_gone(api: TestClient, new_goal: Callable[..., str]) -> None:
    """DELETE gives 204 without a body; after it the goal is not found, and not listed."""
    goal_id = new_goal()
    response = api.delete(f"/goals/{goal_id}")
    assert (response.status_code, response.content) == (204, b"")
    for again in (api.get(f"/goals/{goal_id}"), api.delete(f"/goals/{goal_id}")):
        assert (again.status_code, again.json()) == (404, {"detail": "Goal not found"})
    assert api.get("/goals").json() == []


def test_progress_has_the_documented_body(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """GET /goals/{goal_id}/progress: 6,500 of 10,000 is 65.0 percent; a note explains that no date is projected."""
    goal_id = new_goal(current_amount=6500, deadline="2026-11-09T00:00:00")
    response = api.get(f"/goals/{goal_id}/progress")
    assert '"percent_complete":65.0,' in response.text
    body = exact(response)
    assert {name: body[name] for name in DOCUMENTED_PROGRESS} == {
        "goal_id": goal_id,
        "current_amount": Decimal("6500.00"),
        "target_amount": Decimal("10000.00"),
        "percent_complete": Decimal("65.0"),
        "status": "active",
        "deadline": "2026-11-09T00:00:00",
        "projected_completion_date": None,
        "projection_note": "too little history: 0 days of at least one month",
    }


def test_progress_tells_pace_and_deadline(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """2,500 of 10,000 in a year needs about 625.00 a month, in exact digits; without snapshots there is no pace."""
    now = datetime.now(UTC)
    goal_id = new_goal(current_amount=2500, deadline=(now + timedelta(days=365)).isoformat())
    body = exact(api.get(f"/goals/{goal_id}/progress"))
    assert set(body) - DOCUMENTED_PROGRESS == {
        "projected_at",
        "trend_months",
        "monthly_contribution_actual",
        "contribution_months",
        "monthly_contribution_target",
        "on_track",
        "calculated_at",
        "as_of",
        "note",
    }
    # If a 29th of February is between, 365 days are a day less than twelve months.
    assert Decimal("625.00") <= body["monthly_contribution_target"] < Decimal("627.00")
    assert (body["monthly_contribution_actual"], body["on_track"]) == (None, None)
    assert (body["trend_months"], body["contribution_months"]) == (0, 0)
    assert body["projected_at"] == body["calculated_at"]
    assert abs(datetime.fromisoformat(body["calculated_at"]) - now) < timedelta(seconds=30)
    assert body["as_of"] == api.get(f"/goals/{goal_id}").json()["created_at"]
    api.patch(f"/goals/{goal_id}", json={"current_amount": 10000})
    body = exact(api.get(f"/goals/{goal_id}/progress"))
    assert str(body["monthly_contribution_target"]) == "0.00"
    assert body["on_track"] is True


def test_a_list_has_progress_if_it_is_asked_for(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any]
) -> None:
    """Each goal of `include=progress` has what its own progress says, on the next page too; without it none has any."""
    made = [new_goal(current_amount=amount, deadline="9000-11-09") for amount in (0, 2500, 10000)]
    link = {"account_id": "a", "allocation_percent": 10}
    assert api.post(f"/goals/{made[1]}/funding", json=link).status_code == 201
    plain = exact(api.get("/goals"))
    assert not any("progress" in goal for goal in plain)
    first = api.get("/goals?include=progress&limit=2")
    goals = exact(first) + exact(api.get(first.links["next"]["url"]))
    moments = {"calculated_at": None, "projected_at": None}
    own = [exact(api.get(f"/goals/{goal_id}/progress")) | moments for goal_id in made]
    assert [goal.pop("progress") | moments for goal in goals] == own
    assert goals == plain
    refused = api.get("/goals?include=history")
    assert (refused.status_code, "include" in refused.text) == (422, True)


def test_created_is_now(api: TestClient) -> None:
    """created_at is the moment of the request, in UTC."""
    created = datetime.fromisoformat(api.post("/goals", json=DOCUMENTED).json()["created_at"])
    assert abs(datetime.now(UTC) - created) < timedelta(seconds=30)


def test_a_completed_goal_is_reopened(api: TestClient, new_goal: Callable[..., str]) -> None:
    """POST /goals/{goal_id}/reopen gives 200 and the active goal with its ETag; asking twice is a conflict."""
    goal_id = new_goal(auto_complete=True)
    completed = api.patch(f"/goals/{goal_id}", json={"status": "completed"}).json()
    response = api.post(f"/goals/{goal_id}/reopen", headers={"Idempotency-Key": "once"})
    goal = response.json()
    assert (response.status_code, goal["status"], goal["auto_complete"]) == (200, "active", False)
    assert goal["version"] > completed["version"]
    assert api.get(f"/goals/{goal_id}").headers["ETag"] == response.headers["ETag"]
    again = api.post(f"/goals/{goal_id}/reopen")
    reason = "The goal is active: only one that is completed or abandoned can be reopened"
    assert (again.status_code, again.json()) == (409, {"detail": reason})
    repeated = api.post(f"/goals/{goal_id}/reopen", headers={"Idempotency-Key": "once"})
    assert (repeated.status_code, repeated.json(), repeated.headers["ETag"]) == (200, goal, response.headers["ETag"])
    assert api.post("/goals/none/reopen").status_code == 404
