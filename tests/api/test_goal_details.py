"""What an application keeps with a goal for itself, and milestones that a goal has from the start."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

GOAL = {"user_id": "user_123", "name": "Trip", "type": "savings", "target_amount": 1000}
DETAILS = {
    "external_id": "app-7",
    "metadata": {"colour": "green", "tags": ["a", "ü"], "limit": {"eur": 1.10}, "none": None},
    "position": 0,
    "image_url": "https://img.example/trip.png?w=200",
}


def test_they_come_back_as_they_were_given(api: TestClient) -> None:
    """On creation, in GET and in lists; numbers in the metadata keep their digits."""
    made = api.post("/goals", content=json.dumps({**GOAL, **DETAILS}).replace("1.1}", "1.10}"))
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in DETAILS} == DETAILS
    assert '"eur":1.10}' in made.text
    assert api.get(f"/goals/{made.json()['id']}").text == made.text
    assert api.get("/goals").text == f"[{made.text}]"
    assert {name: api.post("/goals", json=GOAL).json()[name] for name in DETAILS} == dict.fromkeys(DETAILS)


def test_a_patch_changes_and_clears_them(api: TestClient) -> None:
    """Each alone, with a new version and no line in the ledger; metadata are replaced as a whole."""
    goal = api.post("/goals", json={**GOAL, **DETAILS}).json()
    url = f"/goals/{goal['id']}"
    for name, value in {"external_id": "app-8", "metadata": {"b": 1}, "position": 4, "image_url": None}.items():
        changed = api.patch(url, json={name: value}).json()
        assert (changed[name], changed["version"]) == (value, goal["version"] + 1)
        assert {key for key in goal if changed[key] != goal[key]} == {name, "version", "updated_at"}
        goal = changed
    assert api.patch(url, json={"metadata": {}}).json()["metadata"] == {}
    assert len(api.get(f"{url}/history").json()) == 1


def test_an_own_id_is_that_of_one_goal_of_a_user(api: TestClient, dump: Callable[[], str]) -> None:
    """Another goal of the user cannot have it, one of another user can, and a deleted goal gives it free."""
    first = api.post("/goals", json={**GOAL, "external_id": "app-7"}).json()
    other = api.post("/goals", json=GOAL).json()
    before = dump()
    refused = [
        api.post("/goals", json={**GOAL, "external_id": "app-7"}),
        api.patch(f"/goals/{other['id']}", json={"external_id": "app-7", "name": "Other"}),
    ]
    for answer in refused:
        assert answer.status_code == 409
        assert answer.json() == {"detail": "The user has a goal with this external_id already"}
    assert dump() == before
    assert api.post("/goals", json={**GOAL, "user_id": "user_2", "external_id": "app-7"}).status_code == 201
    assert api.get("/goals", params={"external_id": "app-7", "user_id": "user_123"}).json() == [
        api.get(f"/goals/{first['id']}").json()
    ]
    assert api.delete(f"/goals/{first['id']}").status_code == 204
    assert api.patch(f"/goals/{other['id']}", json={"external_id": "app-7"}).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("external_id", ""),
        ("external_id", "x" * 201),
        ("external_id", 7),
        ("external_id", "a\x00b"),
        ("metadata", "text"),
        ("metadata", [1]),
        ("metadata", {"big": "x" * 4_096}),
        ("metadata", {"big": "x" * 1_000_000}),
        ("metadata", {"half": "\ud800"}),
        ("metadata", {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}}}),
        ("position", -1),
        ("position", 2**31),
        ("position", 1.5),
        ("position", True),
        ("image_url", "http://img.example/trip.png"),
        ("image_url", "javascript:alert(1)"),
        ("image_url", "https://"),
        ("image_url", "https://user:secret@img.example/"),
        ("image_url", "https://img.example/a b"),
        ("image_url", "https://img.example:port/"),
        ("image_url", "https://img.example/" + "x" * 2_048),
        ("image_url", ""),
    ],
)
def test_what_cannot_be_is_refused_by_name(api: TestClient, dump: Callable[[], str], field: str, value: Any) -> None:
    """On creation and in a change, and nothing is stored."""
    goal = api.post("/goals", json=GOAL).json()
    before = dump()
    for method, url in (("POST", "/goals"), ("PATCH", f"/goals/{goal['id']}")):
        answer = api.request(method, url, content=json.dumps({**(GOAL if method == "POST" else {}), field: value}))
        assert answer.status_code in (413, 422), answer.text
        if answer.status_code == 422:
            assert answer.json()["errors"][0]["loc"][:2] == ["body", field], answer.text
    assert dump() == before


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-1e999999999"])
def test_no_json_number_in_metadata_is_refused(api: TestClient, number: bytes) -> None:
    """What no reader of JSON could parse must not come back."""
    body = json.dumps({**GOAL, "metadata": {"n": 0}}).encode().replace(b'"n": 0', b'"n": ' + number)
    answer = api.post("/goals", content=body)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "metadata"])


def test_milestones_come_with_the_goal(api: TestClient) -> None:
    """Those that the amount has reached already are reached at once, the next one is the nearest of the others."""
    milestones = [
        {"amount": 750, "description": "Three quarters"},
        {"amount": "250.00", "target_date": "2027-01-31"},
        {"amount": 500},
    ]
    goal = api.post("/goals", json={**GOAL, "current_amount": 500, "milestones": milestones}).json()
    assert [(each["amount"], each["reached"]) for each in goal["milestones"]] == [
        (250, True),
        (500, True),
        (750, False),
    ]
    url = f"/goals/{goal['id']}/milestones"
    assert api.get(f"{url}/next").json()["description"] == "Three quarters"
    assert [each["amount"] for each in api.post(f"{url}/check").json()] == [250, 500]
    api.patch(f"/goals/{goal['id']}", json={"current_amount": 800})
    assert [each["amount"] for each in api.post(f"{url}/check").json()] == [750]


@pytest.mark.parametrize(
    ("milestones", "loc"),
    [
        ([{"amount": 1}, {"amount": 1}], ["body", "milestones", 1, "amount"]),
        ([{"amount": 1}, {"amount": 1001}], ["body", "milestones", 1, "amount"]),
        ([{"amount": "much"}], ["body", "milestones", 0, "amount"]),
        ([{"amount": 1, "description": "a\0b"}], ["body", "milestones", 0, "description"]),
        ([{"amount": 1, "taget_date": "2027-01-31"}], ["body", "milestones", 0, "taget_date"]),
        ([{}], ["body", "milestones", 0, "amount"]),
        ([7], ["body", "milestones", 0]),
        ({"amount": 1}, ["body", "milestones"]),
        ([{"amount": 1 + n} for n in range(101)], ["body", "milestones"]),
    ],
)
def test_a_wrong_milestone_leaves_no_goal(
    api: TestClient, dump: Callable[[], str], milestones: Any, loc: list[Any]
) -> None:
    """The refusal says which of them it is, by its number among them, in its place and in the text for a person."""
    before = dump()
    answer = api.post("/goals", json={**GOAL, "milestones": milestones})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, loc), answer.text
    assert answer.json()["detail"].startswith(".".join(map(str, loc[1:])) + ": ")
    assert dump() == before


@pytest.mark.parametrize(
    ("deadline", "is_past"),
    [
        ("2020-01-01", True),
        ("2020-01-01T12:00:00Z", True),
        ("0001-01-01", True),
        ("2999-12-31", False),
        ("9999-12-31", False),
        (None, False),
    ],
)
def test_a_deadline_that_has_passed_gets_a_note(api: TestClient, deadline: str | None, is_past: bool) -> None:
    """In the answer to whoever gave it; it is taken all the same, and later readers know it."""
    note = "the deadline has passed already" if is_past else None
    made = api.post("/goals", json={**GOAL, "deadline": deadline}).json()
    url = f"/goals/{made['id']}"
    assert (made["note"], api.patch(url, json={"deadline": deadline}).json()["note"]) == (note, note)
    assert api.get(url).json()["note"] is None
    assert api.patch(url, json={"name": "Other"}).json()["note"] is None
