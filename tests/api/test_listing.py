"""GET /goals: its filters and its pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.api.paging import refused_fields, walk


def test_filters_narrow_the_list(api: TestClient, new_goal: Callable[..., str]) -> None:
    """user_id, type and status each narrow the list, and together they do so together."""
    ann = new_goal(user_id="ann")
    ann_debt = new_goal(user_id="ann", type="debt")
    ann_paused = new_goal(user_id="ann", status="paused")
    bob = new_goal(user_id="bob")
    expected = {
        "": {ann, ann_debt, ann_paused, bob},
        "?user_id=ann": {ann, ann_debt, ann_paused},
        "?type=debt": {ann_debt},
        "?status=paused": {ann_paused},
        "?user_id=ann&type=savings&status=active": {ann},
        "?user_id=nobody": set(),
        "?type=income": set(),
    }
    assert {query: {g["id"] for g in api.get(f"/goals{query}").json()} for query in expected} == expected


@pytest.mark.parametrize("user_id", ["Anna\u00a0B", "👩\u200d🌾", "zero\u200bwidth", "\ufeffa", "x" * 200])
def test_whoever_can_have_a_goal_can_be_asked_for(api: TestClient, new_goal: Callable[..., str], user_id: str) -> None:
    """A user id with spaces that do not break, joiners or marks finds the goals that were created under it."""
    goal_id = new_goal(user_id=user_id)
    new_goal(user_id="somebody else")
    assert [goal["id"] for goal in api.get("/goals", params={"user_id": user_id}).json()] == [goal_id]


@pytest.mark.parametrize("user_id", ["", " ", "a\nb", "\u009f", "x" * 201])
def test_who_cannot_have_a_goal_has_none(api: TestClient, new_goal: Callable[..., str], user_id: str) -> None:
    """A user id that no goal can be created under finds nothing, and does not trouble the database."""
    new_goal()
    response = api.get("/goals", params={"user_id": user_id})
    assert (response.status_code, response.json()) == (200, [])


def test_pages_hold_every_goal_once(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Following the Link headers meets every goal exactly once, whatever the size of a page."""
    made = {new_goal(name=f"Goal {number}") for number in range(7)}
    for limit, sizes in ((1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (200, [7])):
        pages = walk(api, f"/goals?limit={limit}")
        assert [len(page) for page in pages if page] == sizes
        assert {goal["id"] for page in pages for goal in page} == made


def test_the_next_page_keeps_the_filters(api: TestClient, new_goal: Callable[..., str]) -> None:
    """The link to the next page asks with the same filters, whatever characters they hold."""
    user = "a&b=ü /?"
    mine = [new_goal(user_id=user) for _ in range(3)]
    new_goal(user_id="other")
    first = api.get("/goals", params={"user_id": user, "type": "savings", "status": "active", "limit": 2})
    second = api.get(first.links["next"]["url"])
    assert sorted(goal["id"] for goal in first.json() + second.json()) == sorted(mine)


def test_a_page_is_a_hundred_goals_by_default(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Without a limit a page has 100 goals."""
    for number in range(101):
        new_goal(name=f"Goal {number}")
    assert [len(page) for page in walk(api, "/goals")] == [100, 1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("type=gold", "type"),
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=1e2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=zzz", "cursor"),
        ("cursor=%00%ff", "cursor"),
        ("cursor=é", "cursor"),
    ],
)
def test_a_bad_question_names_its_parameter(api: TestClient, query: str, field: str) -> None:
    """An unknown type or status, a limit out of range or a cursor that is not ours is 422, by name."""
    assert refused_fields(api.get(f"/goals?{query}")) == [["query", field]]


def test_a_page_has_a_most_of_bytes(
    api: TestClient, new_goal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit comes with the next pages, each goal once; a goal that is larger than a page comes alone."""
    monkeypatch.setattr("api.routes.goals.PAGE_BYTES_MOST", 3_000)
    ids = [new_goal(name="n" * (100 if number % 4 else 200), description="d" * 900) for number in range(9)]
    large = ids[4]
    for amount in range(1, 30):
        api.post(f"/goals/{large}/milestones", json={"amount": amount, "description": "m" * 200})
    seen, url = [], "/goals?limit=200"
    while url:
        response = api.get(url)
        page = [goal["id"] for goal in response.json()]
        assert len(response.content) <= 3_100 or page == [large]
        seen += page
        url = response.links.get("next", {}).get("url", "")
    assert seen == ids
