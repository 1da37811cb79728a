"""GET /accounts/{account_id}/allocations: how an account is divided between goals."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any, Protocol
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import MakeClient

MOMENT = "2026-01-31T12:00:00Z"
_numbers = count(1)


class Report(Protocol):
    """States a balance of the account `a`, and applies it."""

    def __call__(self, current: str, currency: str = "USD", **more: Any) -> None: ...


@pytest.fixture
def tell(api: TestClient, apply_stream: Callable[[], Any]) -> Callable[..., None]:
    """Sends an event and applies it."""

    def send(type: str, **data: Any) -> None:
        envelope = {"specversion": "1.0", "id": f"e{next(_numbers)}", "source": "bank", "time": MOMENT}
        body = {**envelope, "type": f"milepost.{type}", "data": {"account_id": "a", **data}}
        assert api.post("/events", json=body).status_code == 202
        assert apply_stream().dead_letters == 0

    return send


@pytest.fixture
def report(tell: Callable[..., None]) -> Report:
    """States balances."""

    def state(current: str, currency: str = "USD", **more: Any) -> None:
        tell("balance.reported", current=current, currency=currency, as_of=MOMENT, **more)

    return state


@pytest.fixture
def link(api: TestClient, new_goal: Callable[..., str]) -> Callable[..., str]:
    """Links an account, `a` unless said otherwise, to a new goal, whose id it gives."""

    def create(percent: Any, account: str = "a", name: str | None = None, **fields: Any) -> str:
        goal_id = new_goal(**fields)
        body = {"account_id": account, "account_name": name, "allocation_percent": percent}
        response = api.post(f"/goals/{goal_id}/funding", json=body)
        assert response.status_code == 201, response.text
        return goal_id

    return create


@pytest.fixture
def read(api: TestClient, exact: Callable[[Any], Any]) -> Callable[..., Any]:
    """The allocations of an account, exactly."""

    def ask(account: str = "a") -> Any:
        response = api.get(f"/accounts/{quote(account, safe='')}/allocations")
        assert response.status_code == 200, response.text
        return exact(response)

    return ask


def test_an_account_is_shown_with_its_goals_and_its_rest(
    api: TestClient, link: Callable[..., str], report: Report, read: Callable[..., Any]
) -> None:
    """60% and 25.5% of 1,000.00 are 600.00 and 255.00, by goal in order of creation, and 145.00 is left."""
    report("1000.00", user_id="ann")
    trip, car = link(60, name="Savings"), link(25.5)
    since = [api.get(f"/goals/{goal_id}/funding").json()[0]["from"] for goal_id in (trip, car)]
    head = {"goal_name": "Emergency Fund", "tracking": "change", "whole": False, "note": None}
    percents, shares = (Decimal("60.0"), Decimal("25.5")), (Decimal("600.00"), Decimal("255.00"))
    assert read() == {
        "account_id": "a",
        "name": "Savings",
        "user_id": "ann",
        "kind": "asset",
        "currency": "USD",
        "worth": Decimal("1000.00"),
        "closed": False,
        "allocated_percent": Decimal("85.5"),
        "unallocated_percent": Decimal("14.5"),
        "unallocated": Decimal("145.00"),
        "over_allocated": False,
        "allocations": [
            {**head, "goal_id": goal_id, "allocation_percent": percent, "share": part, "from": from_}
            for goal_id, percent, part, from_ in zip((trip, car), percents, shares, since, strict=True)
        ],
    }


@pytest.mark.parametrize(
    ("kind", "current", "shares", "rest"),
    [
        ("asset", "1000.01", ["333.33", "333.33", "333.33"], "0.02"),
        ("asset", "0.02", ["0.00", "0.00", "0.00"], "0.02"),
        ("asset", "-0.05", ["-0.01", "-0.01", "-0.01"], "-0.02"),
        ("liability", "1000.01", ["-333.33", "-333.33", "-333.33"], "-0.02"),
    ],
)
def test_shares_never_exceed_the_worth(
    link: Callable[..., str],
    report: Report,
    read: Callable[..., Any],
    kind: str,
    current: str,
    shares: list[str],
    rest: str,
) -> None:
    """Three odd shares of 100% are cut towards zero each; what that leaves is unallocated, with the same sign."""
    report(current, kind=kind)
    for percent in ("33.3333", "33.3333", "33.3334"):
        link(percent)
    body = read()
    assert [str(each["share"]) for each in body["allocations"]] == shares
    assert str(body["unallocated"]) == rest
    assert sum(each["share"] for each in body["allocations"]) + body["unallocated"] == body["worth"]
    assert (body["allocated_percent"], body["over_allocated"]) == (100, False)


def test_more_than_all_of_it_is_over_allocated(
    link: Callable[..., str], report: Report, read: Callable[..., Any]
) -> None:
    """60% for each of two goals is shown as 120% with both shares in full, and nothing is left."""
    report("1000.00")
    link(60), link(60)
    body = read()
    assert body["over_allocated"] is True
    assert (body["allocated_percent"], body["unallocated_percent"]) == (Decimal("120.0"), Decimal("0.0"))
    assert [each["share"] for each in body["allocations"]] == [600, 600]
    assert str(body["unallocated"]) == "0.00"


def test_an_account_without_facts_has_no_amounts(link: Callable[..., str], read: Callable[..., Any]) -> None:
    """An account that was linked before its first fact has its percentages, and null for all amounts."""
    link(60, name="Savings")
    body = read()
    unknown = ("user_id", "currency", "worth", "unallocated")
    assert {name: body[name] for name in unknown} == dict.fromkeys(unknown)
    assert (body["name"], body["kind"], body["unallocated_percent"]) == ("Savings", "asset", 40)
    assert [(each["allocation_percent"], each["share"]) for each in body["allocations"]] == [(60, None)]


def test_what_was_registered_for_an_account_shows(
    link: Callable[..., str], tell: Callable[..., None], report: Report, read: Callable[..., Any]
) -> None:
    """Its own name comes before the one that a link gave; kind and closing show too, and its links stay."""
    link(60, name="Given with the link")
    report("1000.00")
    tell("account.changed", name="Its own", kind="liability", user_id="bob", closed=True)
    body = read()
    assert (body["name"], body["user_id"], body["kind"], body["closed"]) == ("Its own", "bob", "liability", True)
    assert (body["worth"], body["unallocated"], body["allocations"][0]["share"]) == (-1000, -400, -600)


def test_a_link_that_counts_nothing_takes_nothing(
    link: Callable[..., str], report: Report, read: Callable[..., Any]
) -> None:
    """A goal in another currency than the account turns out to have is listed with a note and is outside the sums."""
    link(60, currency="EUR"), link(30, currency="USD")
    report("1000.00")
    body = read()
    assert [each["share"] for each in body["allocations"]] == [0, 300]
    assert [each["note"] is None for each in body["allocations"]] == [False, True]
    assert (body["allocated_percent"], body["unallocated"]) == (30, 700)


@pytest.mark.parametrize("tracking", ["change", "inflow", "balance"])
def test_whole_links_count_as_100_percent(
    api: TestClient,
    new_goal: Callable[..., str],
    link: Callable[..., str],
    report: Report,
    read: Callable[..., Any],
    tracking: str,
) -> None:
    """Under every tracking that takes links: the account is given away, and with another share over-allocated."""
    report("1000.00")
    goal_id = new_goal(tracking=tracking)
    assert api.post(f"/goals/{goal_id}/funding", json={"account_id": "a", "whole": True}).status_code == 201
    body = read()
    assert [(each["whole"], each["allocation_percent"], each["share"]) for each in body["allocations"]] == [
        (True, 100, 1000)
    ]
    assert (body["allocated_percent"], body["unallocated"], body["over_allocated"]) == (100, 0, False)
    link(60)
    body = read()
    assert (body["allocated_percent"], body["unallocated"], body["over_allocated"]) == (160, 0, True)


def test_the_links_of_a_net_worth_goal_are_whole(
    new_goal: Callable[..., str], link: Callable[..., str], report: Report, read: Callable[..., Any]
) -> None:
    """A goal that follows its user's net worth is listed with all of each account, outside the sums."""
    link(60)
    report("1000.00", user_id="ann")
    goal_id = new_goal(user_id="ann", type="net_worth", tracking="net_worth")
    body = read()
    (whole,) = [each for each in body["allocations"] if each["goal_id"] == goal_id]
    assert (whole["tracking"], whole["whole"], whole["share"]) == ("net_worth", True, 1000)
    assert (body["allocated_percent"], body["unallocated"]) == (60, 400)


def test_only_open_links_are_listed(
    api: TestClient, link: Callable[..., str], report: Report, read: Callable[..., Any]
) -> None:
    """After a change of the share and an unlinking, the account has the new share, and then none."""
    report("1000.00")
    goal_id = link(60)
    since = read()["allocations"][0]["from"]
    api.patch(f"/goals/{goal_id}/funding/a", json={"allocation_percent": 10})
    (changed,) = read()["allocations"]
    assert (changed["allocation_percent"], changed["share"], changed["from"]) == (10, 100, since)
    api.delete(f"/goals/{goal_id}/funding/a")
    body = read()
    assert (body["allocations"], body["unallocated"], body["allocated_percent"]) == ([], 1000, 0)


@pytest.mark.parametrize("account", ["DE/12 34?ü%", "a/allocations", "allocations", "/a", "a//b", "v1."])
def test_an_account_that_can_be_linked_can_be_asked_for(
    link: Callable[..., str], read: Callable[..., Any], account: str
) -> None:
    """An id with slashes, spaces and accents finds its account and no other."""
    goal_id = link(60, account=account)
    link(10, account="allocations/a")
    body = read(account)
    assert (body["account_id"], [each["goal_id"] for each in body["allocations"]]) == (account, [goal_id])


def test_the_sums_are_the_same_on_every_page(
    api: TestClient, link: Callable[..., str], report: Report, exact: Callable[[Any], Any]
) -> None:
    """A page of one goal shows the account as a whole, and following the links meets each goal once."""
    report("1000.00")
    made = [link(percent, account="a") for percent in (10, 20, 30)]
    met, following = [], "/accounts/a/allocations?limit=1"
    while following:
        response = api.get(following)
        body = exact(response)
        assert (body["allocated_percent"], body["unallocated"]) == (60, 400)
        met += [each["goal_id"] for each in body["allocations"]]
        following = response.links.get("next", {}).get("url", "")
    assert met == made


@pytest.mark.parametrize("account", ["never", "%00", "x" * 9000, "%F0%9F%98%80", "'; DROP"])
def test_an_account_that_no_one_named_is_not_found(api: TestClient, account: str) -> None:
    """An account without events and links is 404, whatever its id looks like."""
    response = api.get(f"/accounts/{account}/allocations")
    assert (response.status_code, response.json()) == (404, {"detail": "Account not found"})


def test_an_account_is_its_tenants_own(client: MakeClient, link: Callable[..., str], report: Report) -> None:
    """Another tenant does not find it, and has its own account of the same id."""
    report("1000.00")
    link(60)
    other = client(tenant="other")
    assert other.get("/accounts/a/allocations").status_code == 404
    goal = {"user_id": "u", "name": "Other", "type": "savings", "target_amount": 1}
    goal_id = other.post("/goals", json=goal).json()["id"]
    other.post(f"/goals/{goal_id}/funding", json={"account_id": "a", "allocation_percent": 5})
    body = other.get("/accounts/a/allocations").json()
    assert (body["worth"], [each["goal_id"] for each in body["allocations"]]) == (None, [goal_id])
