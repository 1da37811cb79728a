"""Every list comes in pages, and a cursor opens the list that gave it and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.cursors import Listing
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk

MILESTONES = "/goals/{goal_id}/milestones"
FUNDING = "/goals/{goal_id}/funding"
HISTORY = "/goals/{goal_id}/history"
ALLOCATIONS = "/accounts/a/allocations"
ACCOUNTS = "/accounts"
REPORTS = "/accounts/a/reports"
LISTS = ("/goals", MILESTONES, FUNDING, HISTORY, ALLOCATIONS, ACCOUNTS, REPORTS)

# Positions that no list gives, each sealed as if one had.
NOWHERE = {
    "/goals": ["", "\0", "\n", " ", "x" * 201],
    MILESTONES: ["", "x", "1.5", "1e3", "9" * 19, "9" * 30, "9" * 5000, "\0"],
    FUNDING: ["", "x", "2026-01-31 a", "2026-01-31T12:00:00 a", "9999-99-99T00:00:00+00:00 a"],
    HISTORY: ["", "x", "-9223372036854775809", "NaN"],
    ALLOCATIONS: ["", "\0", "\x7f"],
    ACCOUNTS: ["", "\0", "\n", " ", "x" * 201],
    REPORTS: ["", "x", "2026-01-31 USD", "2026-01-31T12:00:00 USD", "2026-01-31T12:00:00Z ", "2026-01-31T12:00:00Z \0"],
}


def _refuses_the_cursor(api: TestClient, url: str) -> bool:
    return refused_fields(api.get(url)) == [["query", "cursor"]]


@pytest.fixture
def goal_id(api: TestClient, new_goal: Callable[..., str], apply_stream: Callable[[], Any]) -> str:
    """A goal with three milestones, accounts and ledger entries; with two others it shares the account `a`.

    That account has three reports.
    """
    goals = [new_goal(name=f"Goal {number}", current_amount=0) for number in range(3)]
    for goal_id in goals:
        link = {"account_id": "a", "allocation_percent": 10}
        assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    for number, account in ((1, "DE/12 ü"), (2, "b")):
        link = {"account_id": account, "allocation_percent": 10}
        assert api.post(f"/goals/{goals[0]}/funding", json=link).status_code == 201
        assert api.patch(f"/goals/{goals[0]}", json={"current_amount": number}).status_code == 200
    for amount in (2500, 7500, 5000):
        assert api.post(f"/goals/{goals[0]}/milestones", json={"amount": amount}).status_code == 201
    for day in (1, 2, 3):
        data = {"account_id": "a", "current": 1000, "currency": "USD", "as_of": f"2026-01-0{day}T12:00:00Z"}
        head = {"specversion": "1.0", "id": f"e{day}", "source": "bank", "type": "milepost.balance.reported"}
        report = {**head, "time": "2026-01-31T12:00:00Z", "data": data}
        assert api.post("/events", json=report).status_code == 202
    assert apply_stream().dead_letters == 0
    return goals[0]


def test_pages_together_are_the_list(api: TestClient, goal_id: str) -> None:
    """Pages of one and of two hold, in order, what a page that is long enough holds, and only that has no next."""
    for url in (path.format(goal_id=goal_id) for path in LISTS):
        (whole,) = walk(api, url)
        assert len(whole) == 3, url
        assert walk(api, f"{url}?limit=1") == [[item] for item in whole], url
        assert walk(api, f"{url}?limit=2") == [whole[:2], whole[2:]], url
        assert walk(api, f"{url}?limit=3") == walk(api, f"{url}?limit=200") == [whole], url


def test_the_next_page_of_an_odd_account_has_its_slashes_encoded(api: TestClient, new_goal: Callable[..., str]) -> None:
    """However the account was spelt in the request, the Link spells it so that nothing on the way takes it apart."""
    for _ in range(2):
        link = {"account_id": "DE//12 ü", "allocation_percent": 10}
        assert api.post(f"/goals/{new_goal()}/funding", json=link).status_code == 201
    for spelling in ("DE%2F%2F12%20%C3%BC", "DE//12 ü", "%44E%2F/12%20ü"):
        following = api.get(f"/accounts/{spelling}/allocations?limit=1").links["next"]["url"]
        assert following.startswith("/accounts/DE%2F%2F12%20%C3%BC/allocations?limit=1&cursor=")
        assert len(api.get(following).json()["allocations"]) == 1


def test_a_limit_out_of_range_is_refused(api: TestClient, goal_id: str) -> None:
    """A page has from 1 to 200 items; anything else is 422 and names `limit`."""
    for url in (path.format(goal_id=goal_id) for path in LISTS):
        for limit in ("0", "201", "-1", "ten", "1e2", ""):
            response = api.get(f"{url}?limit={limit}")
            assert refused_fields(response) == [["query", "limit"]], (url, limit)


def test_a_cursor_opens_its_own_list_only(api: TestClient, goal_id: str, new_goal: Callable[..., str]) -> None:
    """The cursor of a list is refused by every other list, by the same one of another goal, and with other filters."""
    urls = [path.format(goal_id=goal_id) for path in LISTS]
    cursors = {url: api.get(f"{url}?limit=1").links["next"]["url"].partition("cursor=")[2] for url in urls}
    assert all(api.get(f"{url}?cursor={cursor}").status_code == 200 for url, cursor in cursors.items())
    foreign = [(url, cursor) for url in urls for owner, cursor in cursors.items() if owner != url]
    other = new_goal()
    foreign += [(url.replace(goal_id, other), cursor) for url, cursor in cursors.items() if goal_id in url]
    assert [pair for pair in foreign if not _refuses_the_cursor(api, f"{pair[0]}?cursor={pair[1]}")] == []
    assert _refuses_the_cursor(api, f"/goals?user_id=user_123&cursor={cursors['/goals']}")
    assert _refuses_the_cursor(api, f"/accounts/b/allocations?cursor={cursors[ALLOCATIONS]}")


def test_a_cursor_is_its_tenants_own(api: TestClient, client: MakeClient, goal_id: str) -> None:
    """What one tenant was given does not open the list of another."""
    cursor = api.get("/goals?limit=1").links["next"]["url"].partition("cursor=")[2]
    assert api.get(f"/goals/{goal_id}").status_code == 200
    assert _refuses_the_cursor(client(tenant="other"), f"/goals?cursor={cursor}")


def test_a_changed_cursor_is_refused(api: TestClient, goal_id: str) -> None:
    """Any one character changed, added or taken away makes it 422; all lists seal theirs the same way."""
    for number, url in enumerate(path.format(goal_id=goal_id) for path in LISTS):
        cursor = api.get(f"{url}?limit=1").links["next"]["url"].partition("cursor=")[2]
        places = range(number, len(cursor), 1 if number == 0 else len(LISTS))
        changed = {cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in places}
        changed |= {cursor + "A", "A" + cursor, cursor[:-1], cursor[1:], "." + cursor, cursor + "."}
        assert [each for each in sorted(changed) if not _refuses_the_cursor(api, f"{url}?cursor={each}")] == [], url


def test_a_sealed_cursor_that_leads_nowhere_is_refused(api: TestClient, goal_id: str) -> None:
    """The seal is no secret: a position that no list gives is 422 even under a good seal."""
    for path, positions in NOWHERE.items():
        url = path.format(goal_id=goal_id)
        for position in positions:
            made = Listing("default", tuple(url.removeprefix("/").split("/"))).link(url, 200, position)
            assert made is not None
            assert _refuses_the_cursor(api, made["Link"].partition(">")[0].removeprefix("<")), (url, position)


def test_funding_linked_meanwhile_comes_last(api: TestClient, goal_id: str) -> None:
    """An account linked or unlinked between two pages shifts none of those that were there."""
    url = f"/goals/{goal_id}/funding"
    first = api.get(f"{url}?limit=1")
    api.delete(f"{url}/a")
    api.post(url, json={"account_id": "0", "allocation_percent": 1})
    following = walk(api, first.links["next"]["url"])
    assert [source["account_id"] for page in following for source in page] == ["DE/12 ü", "b", "0"]


@pytest.mark.parametrize("part", ["milestones", "funding", "history", "snapshots"])
def test_the_lists_of_an_odd_goal_are_not_found(api: TestClient, part: str) -> None:
    """An id that does not exist is 404, whatever it looks like."""
    for goal_id in ("goal_0", "%00", "%2E%2E", "x" * 9000, "'; DROP", "%F0%9F%98%80", "a%2Fb"):
        assert api.get(f"/goals/{goal_id}/{part}").status_code == 404, goal_id


def test_answers_have_the_described_keys(api: TestClient, goal_id: str) -> None:
    """The keys of the ledger and of what is shown of accounts are the ones that the OpenAPI text gives."""
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    account = api.get(ALLOCATIONS).json()
    shown = {
        "HistoryEntry": api.get(HISTORY.format(goal_id=goal_id)).json()[0],
        "AccountAllocations": account,
        "Allocation": account["allocations"][0],
        "Account": api.get("/accounts/a").json(),
        "LastFact": api.get("/accounts/a").json()["last_fact"],
        "Report": api.get(REPORTS).json()[0],
    }
    assert {name: set(body) for name, body in shown.items()} == {
        name: set(schemas[name]["properties"]) for name in shown
    }
