"""GET /goals/{goal_id}/snapshots: the amount at the end of every local day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient

from api.cursors import Listing
from core.services.tenants import create_tenant
from core.store.database import Sessions
from tests.api.conftest import SAVINGS, MakeClient
from tests.api.paging import refused_fields, walk

DAY = timedelta(days=1)


@pytest.fixture
def goal_id(api: TestClient, new_goal: Callable[..., str], apply_stream: Callable[[], Any]) -> str:
    """100.00 from 2026-01-03 on, 150.25 from 2026-01-05 on, and 50.25 from 2026-01-08 on."""
    made = new_goal(current_amount=100, start_date="2026-01-03")
    link = {"account_id": "a", "allocation_percent": 50, "from": "2026-01-03"}
    assert api.post(f"/goals/{made}/funding", json=link).status_code == 201
    for number, (day, amount) in enumerate({"2026-01-05": "100.50", "2026-01-08": "-200"}.items()):
        data = {"account_id": "a", "transaction_id": f"t{number}", "amount": amount, "currency": "USD"}
        head = {"specversion": "1.0", "id": f"e{number}", "source": "bank", "time": f"{day}T12:00:00Z"}
        event = {**head, "type": "milepost.transaction.recorded", "data": {**data, "posted_at": day}}
        assert api.post("/events", json=event).status_code == 202
    assert apply_stream().dead_letters == 0
    return made


def _walk(api: TestClient, first: str) -> list[list[str]]:
    return [[close["day"] for close in page] for page in walk(api, first)]


def _days(first: date, last: date) -> list[str]:
    return [(first + number * DAY).isoformat() for number in range((last - first).days + 1)]


def test_every_day_has_its_snapshot(api: TestClient, goal_id: str, exact: Callable[[Any], Any]) -> None:
    """Each day of the range is there once, in order, with the exact amount, whether or not it moved."""
    response = api.get(f"/goals/{goal_id}/snapshots?from=2026-01-04&to=2026-01-09")
    assert response.status_code == 200
    assert exact(response) == [
        {"day": "2026-01-04", "amount": Decimal("100.00")},
        {"day": "2026-01-05", "amount": Decimal("150.25")},
        {"day": "2026-01-06", "amount": Decimal("150.25")},
        {"day": "2026-01-07", "amount": Decimal("150.25")},
        {"day": "2026-01-08", "amount": Decimal("50.25")},
        {"day": "2026-01-09", "amount": Decimal("50.25")},
    ]
    assert '"amount":50.25}]' in response.text
    assert "link" not in response.headers


def test_a_range_is_cut_to_the_days_that_are_closed(api: TestClient, goal_id: str) -> None:
    """Days before the start date and days that are not over are left out; without a range all others come."""
    before = datetime.now(UTC).date() - DAY
    found = [_walk(api, f"/goals/{goal_id}/snapshots{query}") for query in ("", "?from=2025-12-01", "?to=2030-01-01")]
    after = datetime.now(UTC).date() - DAY
    for pages in found:
        assert pages in ([_days(date(2026, 1, 3), before)], [_days(date(2026, 1, 3), after)])


@pytest.mark.parametrize("query", ["?from=2025-01-01&to=2026-01-02", "?from=2100-01-01", "?to=1990-01-01"])
def test_a_range_without_closed_days_is_empty(api: TestClient, goal_id: str, query: str) -> None:
    """A range before the goal's start or in the future holds no day."""
    assert _walk(api, f"/goals/{goal_id}/snapshots{query}") == [[]]


def test_a_goal_of_today_has_no_closes_yet(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Its first day is not over."""
    assert _walk(api, f"/goals/{new_goal()}/snapshots") == [[]]


def test_pages_hold_every_day_once(api: TestClient, goal_id: str) -> None:
    """Whatever the size of a page, following the links meets each day once and in order."""
    expected = _days(date(2026, 1, 3), date(2026, 1, 9))
    for limit, sizes in ((1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (3660, [7])):
        pages = _walk(api, f"/goals/{goal_id}/snapshots?to=2026-01-09&limit={limit}")
        assert [len(page) for page in pages] == sizes
        assert [day for page in pages for day in page] == expected


# A query, and the parameter that is wrong in it.
BAD_RANGES = [
    ("from=2026-01-09&to=2026-01-08", "from"),
    ("from=2016-01-01&to=2026-01-08", "from"),
    ("from=2026-02-30", "from"),
    ("to=2026-1-1", "to"),
    ("from=2026-01-01T00:00:00Z", "from"),
    ("from=1767225600", "from"),
    ("from=", "from"),
    ("to=yesterday", "to"),
    ("to=0000-01-01", "to"),
    ("from=%00", "from"),
    ("limit=0", "limit"),
    ("limit=3661", "limit"),
    ("as_known_at=2100-01-01T00:00:00Z", "as_known_at"),
    ("as_known_at=yesterday", "as_known_at"),
    ("as_known_at=", "as_known_at"),
    ("as_known_at=0001-01-01T00:00:00%2B14:00", "as_known_at"),
    ("cursor=zzz", "cursor"),
    ("cursor=", "cursor"),
]


def test_a_bad_range_names_its_parameter(api: TestClient, goal_id: str) -> None:
    """A range backwards or over ten years, what is no date, and a limit out of range are 422, by name."""
    for query, field in BAD_RANGES:
        response = api.get(f"/goals/{goal_id}/snapshots?{query}")
        assert refused_fields(response) == [["query", field]], query


def test_ten_years_may_be_asked_for_at_once(api: TestClient, new_goal: Callable[..., str]) -> None:
    """3,660 days are one page; one more from the goal's start is refused, and without a range the last ones come."""
    goal_id = new_goal(start_date="2005-01-01")
    first, last = date(2005, 1, 1), date(2005, 1, 1) + 3659 * DAY
    assert _walk(api, f"/goals/{goal_id}/snapshots?from={first}&to={last}") == [_days(first, last)]
    for query in (f"from={first}&to={last + DAY}", f"from={first}"):
        assert api.get(f"/goals/{goal_id}/snapshots?{query}").status_code == 422
    before = datetime.now(UTC).date() - DAY
    (page,) = _walk(api, f"/goals/{goal_id}/snapshots")
    after = datetime.now(UTC).date() - DAY
    assert page in (_days(before - 3659 * DAY, before), _days(after - 3659 * DAY, after))


def test_a_cursor_belongs_to_its_range(api: TestClient, goal_id: str) -> None:
    """The cursor of one range is refused by another, and one that leads nowhere by all."""
    url = f"/goals/{goal_id}/snapshots"
    cursor = api.get(f"{url}?to=2026-01-09&limit=1").links["next"]["url"].partition("cursor=")[2]
    assert api.get(f"{url}?to=2026-01-09&cursor={cursor}").status_code == 200
    refused = [f"{url}?to=2026-01-10&cursor={cursor}", f"{url}?from=2026-01-04&to=2026-01-09&cursor={cursor}"]
    for position in ("", "x", "9999-12-31", "2026-02-30", "\0"):
        made = Listing("default", ("goals", goal_id, "snapshots")).link(url, 5, position)
        assert made is not None
        refused.append(made["Link"].partition(">")[0].removeprefix("<"))
    for address in refused:
        assert refused_fields(api.get(address)) == [["query", "cursor"]], address


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_last_day_is_the_tenants_yesterday(client: MakeClient, session_factory: Sessions, zone: str) -> None:
    """Which day has ended depends on the tenant's time zone, not on the server's."""
    with session_factory.begin() as session:
        create_tenant(session, "far", zone, datetime.now(UTC))
    api = client(tenant="far")
    start = datetime.now(ZoneInfo(zone)).date() - 3 * DAY
    made = api.post("/goals", json={**SAVINGS, "start_date": start.isoformat()})
    before = datetime.now(ZoneInfo(zone)).date() - DAY
    (page,) = _walk(api, f"/goals/{made.json()['id']}/snapshots")
    after = datetime.now(ZoneInfo(zone)).date() - DAY
    assert page in (_days(start, before), _days(start, after))


def test_closes_are_their_tenants_own(client: MakeClient, goal_id: str) -> None:
    """The snapshots of another tenant's goal are not found, nor those of a goal that was never there."""
    assert client(tenant="other").get(f"/goals/{goal_id}/snapshots").status_code == 404
    assert client().get("/goals/goal_0/snapshots").json() == {"detail": "Goal not found"}
