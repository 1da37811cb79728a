"""The documented endpoints of funding sources, with their documented bodies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.api.paging import refused_fields, walk

HYSA = {"account_id": "savings_001", "account_name": "High Yield Savings", "allocation_percent": 60.0}
CHECKING = {"account_id": "checking_001", "account_name": "Primary Checking", "allocation_percent": 40.0}
DOCUMENTED_KEYS = {"account_id", "account_name", "allocation_percent"}
OUR_KEYS = {"from", "whole", "counted", "note"}
TOO_MUCH = "Total allocation would exceed 100%"


def _shares(api: TestClient, goal_id: str) -> dict[str, float]:
    sources = api.get(f"/goals/{goal_id}/funding").json()
    return {source["account_id"]: source["allocation_percent"] for source in sources}


def test_link_answers_with_the_documented_body(api: TestClient, new_goal: Callable[..., str]) -> None:
    """POST gives 201 and the documented keys with those that we add; the list shows the same."""
    goal_id = new_goal()
    response = api.post(f"/goals/{goal_id}/funding", json=HYSA)
    source = response.json()
    assert response.status_code == 201
    assert set(source) == DOCUMENTED_KEYS | OUR_KEYS
    assert {name: source[name] for name in HYSA} == HYSA
    assert '"allocation_percent":60.0,' in response.text
    assert source["whole"] is False
    assert abs(datetime.now(UTC) - datetime.fromisoformat(source["from"])) < timedelta(seconds=30)
    assert api.get(f"/goals/{goal_id}/funding").json() == [source]


def test_a_changed_share_moves_no_row_between_pages(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Accounts keep their place in the order of linking when a share changes between two pages; one that was unlinked
    and linked again comes last.
    """
    goal_id = new_goal()
    url = f"/goals/{goal_id}/funding"
    for account in "abc":
        assert api.post(url, json={"account_id": account, "allocation_percent": 20}).status_code == 201
    first = api.get(f"{url}?limit=2")
    assert api.patch(f"{url}/a", json={"allocation_percent": 30}).status_code == 200
    second = api.get(first.links["next"]["url"])
    assert [each["account_id"] for each in (*first.json(), *second.json())] == ["a", "b", "c"]
    assert [each["account_id"] for each in api.get(url).json()] == ["a", "b", "c"]
    assert api.delete(f"{url}/a").status_code == 204
    assert api.post(url, json={"account_id": "a", "allocation_percent": 20}).status_code == 201
    assert [page[0]["account_id"] for page in walk(api, f"{url}?limit=1")] == ["b", "c", "a"]


def test_shares_are_exact_to_four_decimals(api: TestClient, new_goal: Callable[..., str]) -> None:
    """33.3333 percent stays 33.3333, given as a number or as text."""
    goal_id = new_goal()
    for account, percent in (("a", 33.3333), ("b", "33.3334"), ("c", "33.3333")):
        link = {"account_id": account, "allocation_percent": percent}
        assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    assert _shares(api, goal_id) == {"a": 33.3333, "b": 33.3334, "c": 33.3333}


def test_a_goal_takes_a_hundred_percent_and_no_more(api: TestClient, new_goal: Callable[..., str]) -> None:
    """50 + 30 + 20 percent fit; ten more are refused with the documented text, and nothing changes."""
    goal_id = new_goal()
    shares = {"savings_001": 50.0, "checking_001": 30.0, "investment_001": 20.0}
    for account, percent in shares.items():
        link = {"account_id": account, "allocation_percent": percent}
        assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    more = api.post(f"/goals/{goal_id}/funding", json={"account_id": "another_account", "allocation_percent": 10.0})
    assert (more.status_code, more.json()) == (
        400,
        {"detail": TOO_MUCH, "allocated_percent": 100.0, "left_percent": 0.0},
    )
    assert _shares(api, goal_id) == shares


def test_an_update_answers_with_the_new_share(api: TestClient, new_goal: Callable[..., str]) -> None:
    """PATCH gives 200 and the source with the new share, which the list shows too."""
    goal_id = new_goal()
    api.post(f"/goals/{goal_id}/funding", json=HYSA)
    response = api.patch(f"/goals/{goal_id}/funding/savings_001", json={"allocation_percent": 70.0})
    assert response.status_code == 200
    assert {name: response.json()[name] for name in DOCUMENTED_KEYS} == {**HYSA, "allocation_percent": 70.0}
    assert _shares(api, goal_id) == {"savings_001": 70.0}


def test_an_update_beyond_a_hundred_percent_is_refused(api: TestClient, new_goal: Callable[..., str]) -> None:
    """70 percent beside 40 is refused with the documented text, and the share stays 60."""
    goal_id = new_goal()
    for link in (HYSA, CHECKING):
        api.post(f"/goals/{goal_id}/funding", json=link)
    response = api.patch(f"/goals/{goal_id}/funding/savings_001", json={"allocation_percent": 70.0})
    assert (response.status_code, response.json()) == (
        400,
        {"detail": TOO_MUCH, "allocated_percent": 40.0, "left_percent": 60.0},
    )
    assert _shares(api, goal_id) == {"savings_001": 60.0, "checking_001": 40.0}


def test_linking_again_replaces_the_share(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Linking an account that is linked already gives it the new share and does not add the two up."""
    goal_id = new_goal()
    api.post(f"/goals/{goal_id}/funding", json=HYSA)
    again = api.post(f"/goals/{goal_id}/funding", json={**HYSA, "allocation_percent": 90.0})
    assert again.status_code == 201
    assert _shares(api, goal_id) == {"savings_001": 90.0}


def test_a_removed_account_frees_its_share(api: TestClient, new_goal: Callable[..., str]) -> None:
    """DELETE gives 204 without a body, and the share can be given to another account."""
    goal_id = new_goal()
    for link in (HYSA, CHECKING):
        api.post(f"/goals/{goal_id}/funding", json=link)
    response = api.delete(f"/goals/{goal_id}/funding/checking_001")
    assert (response.status_code, response.content) == (204, b"")
    other = {"account_id": "other", "allocation_percent": 40}
    assert api.post(f"/goals/{goal_id}/funding", json=other).status_code == 201
    assert _shares(api, goal_id) == {"savings_001": 60.0, "other": 40.0}


@pytest.mark.parametrize("account", ["never_linked", "%00", "a%2Fb", "%2E%2E", "x" * 9000, "'; DROP"])
def test_an_account_that_is_not_linked_is_not_found(
    api: TestClient, new_goal: Callable[..., str], account: str
) -> None:
    """Changing or removing what is not linked is 404, whatever the id looks like."""
    url = f"/goals/{new_goal()}/funding/{account}"
    change = api.patch(url, json={"allocation_percent": 10})
    for response in (change, api.delete(url)):
        assert response.status_code == 404, response.text
        assert list(response.json()) == ["detail"]


def test_account_ids_may_hold_any_character(api: TestClient, new_goal: Callable[..., str]) -> None:
    """An integrator's account id with slashes, spaces and accents can be linked, changed and removed."""
    goal_id = new_goal()
    account, quoted = "DE/12 34?ü%", "DE%2F12%2034%3F%C3%BC%25"
    api.post(f"/goals/{goal_id}/funding", json={"account_id": account, "allocation_percent": 10})
    changed = api.patch(f"/goals/{goal_id}/funding/{quoted}", json={"allocation_percent": 20})
    assert (changed.status_code, changed.json()["account_id"]) == (200, account)
    assert api.delete(f"/goals/{goal_id}/funding/{quoted}").status_code == 204
    assert _shares(api, goal_id) == {}


@pytest.mark.parametrize("account", ["...", "a..b", ".hidden", "a/...", "v1.", "/a", "a//b", "a\u00a0b"])
def test_an_account_that_can_be_linked_can_be_addressed(
    api: TestClient, new_goal: Callable[..., str], account: str
) -> None:
    """Whatever id is taken, a URL that holds it reaches the link and nothing else."""
    goal_id = new_goal()
    link = {"account_id": account, "allocation_percent": 10}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    url = f"/goals/{goal_id}/funding/{quote(account, safe='')}"
    assert api.patch(url, json={"allocation_percent": 20}).json()["account_id"] == account
    assert api.delete(url).status_code == 204
    assert _shares(api, goal_id) == {}


def test_a_link_made_too_late_is_mended_by_linking_again(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Linking again with an earlier `from` adds the days that were missed; `from` shows since when it counts."""
    goal_id = new_goal()
    assert api.post(f"/goals/{goal_id}/funding", json=HYSA).status_code == 201
    again = api.post(f"/goals/{goal_id}/funding", json={**HYSA, "from": "2026-01-03"})
    assert (again.status_code, again.json()["from"]) == (201, "2026-01-03T00:00:00Z")
    assert _shares(api, goal_id) == {"savings_001": 60.0}


@pytest.mark.parametrize("given", ["2026-01-02T03:04:05", "2026-01-02T04:04:05+01:00"])
def test_a_link_may_be_dated_back_to_a_time(api: TestClient, new_goal: Callable[..., str], given: str) -> None:
    """`from` as a time is kept as that instant."""
    link: dict[str, Any] = {**HYSA, "from": given}
    assert api.post(f"/goals/{new_goal()}/funding", json=link).json()["from"] == "2026-01-02T03:04:05Z"


def test_a_link_may_be_dated_back_to_a_day(api: TestClient, new_goal: Callable[..., str]) -> None:
    """`from` as a date is the first instant of that day in the tenant's time zone, here UTC."""
    link = {**HYSA, "from": "2026-01-02"}
    assert api.post(f"/goals/{new_goal()}/funding", json=link).json()["from"] == "2026-01-02T00:00:00Z"


def test_links_made_at_once_do_not_exceed_a_hundred_percent(
    app: FastAPI, api: TestClient, new_goal: Callable[..., str]
) -> None:
    """Of eight links of 30% sent at the same time, three are made and five refused."""
    goal_id = new_goal()
    start = Barrier(8)

    def link(number: int) -> int:
        start.wait()
        body = {"account_id": f"acct{number}", "allocation_percent": 30}
        client = TestClient(app, headers=api.headers)
        return client.post(f"/goals/{goal_id}/funding", json=body).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(link, range(8)))
    assert statuses == [201] * 3 + [400] * 5
    assert len(_shares(api, goal_id)) == 3


def test_a_share_is_corrected_from_a_day_on(api: TestClient, new_goal: Callable[..., str]) -> None:
    """PATCH takes `correct_from` in its body and DELETE in its query; a day before the goal began is 422 by name."""
    today = datetime.now(UTC).date()
    goal_id = new_goal(start_date=str(today - timedelta(days=9)))
    address = f"/goals/{goal_id}/funding/savings_001"
    link = {"account_id": "savings_001", "allocation_percent": 60, "from": str(today - timedelta(days=5))}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    early, late = str(today - timedelta(days=10)), str(today - timedelta(days=3))
    for place, refused in (
        ("body", api.patch(address, json={"allocation_percent": 40, "correct_from": early})),
        ("query", api.delete(address, params={"correct_from": early})),
        ("query", api.delete(address, params={"correct_from": "2026-01-01T00:00:00Z"})),
    ):
        assert refused_fields(refused) == [[place, "correct_from"]]
    corrected = api.patch(address, json={"allocation_percent": 40, "correct_from": late})
    assert (corrected.status_code, corrected.json()["allocation_percent"]) == (200, 40)
    key = {"Idempotency-Key": "once"}
    assert api.delete(address, params={"correct_from": late}, headers=key).status_code == 204
    assert api.delete(address, params={"correct_from": late}, headers=key).status_code == 204
    assert api.delete(address, params={"correct_from": early}, headers=key).status_code == 422
    assert api.get(f"/goals/{goal_id}/funding").json() == []
    assert api.delete(address, params={"correct_from": late}).status_code == 404


@pytest.mark.parametrize(
    ("share", "note"),
    [
        (0.6, "no event has said anything of this account yet; 0.6 is 0.6%; did you mean 60?"),
        (0.0525, "no event has said anything of this account yet; 0.0525 is 0.0525%; did you mean 5.25?"),
        (1, "no event has said anything of this account yet"),
        (60, "no event has said anything of this account yet"),
    ],
)
def test_what_looks_like_a_slip_gets_a_note(
    api: TestClient, new_goal: Callable[..., str], share: float, note: str
) -> None:
    """The link counts all the same, in the list too; of two such things both are said."""
    url = f"/goals/{new_goal()}/funding"
    response = api.post(url, json={"account_id": "a", "allocation_percent": share})
    assert (response.status_code, response.json()["note"]) == (201, note)
    assert [each["note"] for each in api.get(url).json()] == [note]


def test_an_account_that_is_known_gets_no_note_but_about_its_share(
    api: TestClient, new_goal: Callable[..., str], apply_stream: Callable[[], Any]
) -> None:
    """Once anything was said of it, be it only what kind it is."""
    about = {"specversion": "1.0", "id": "1", "source": "bank", "time": "2026-01-01T00:00:00Z"}
    for number, data in enumerate(({"kind": "asset"}, {"name": "Mine"}, {"currency": "USD"})):
        account = f"known-{number}"
        event = {**about, "id": account, "type": "milepost.account.changed", "data": {"account_id": account, **data}}
        assert api.post("/events", json=[event]).status_code == 202
        apply_stream()
        for share, note in ((60, None), (0.6, "0.6 is 0.6%; did you mean 60?")):
            link = {"account_id": account, "allocation_percent": share}
            response = api.post(f"/goals/{new_goal()}/funding", json=link)
            assert (response.status_code, response.json()["note"]) == (201, note)
