"""`as_known_at`: snapshots and the ledger as they were at a moment, over REST."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import pytest
from fastapi.testclient import TestClient

from core.jobs.snapshot import run_snapshot
from core.store.database import Sessions
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk

DAY = timedelta(days=1)


def _moment(offset: str = "Z") -> str:
    return quote(datetime.now(UTC).isoformat().replace("+00:00", offset))


class Story:
    """A goal since three days before today, and its late payments."""

    def __init__(
        self, api: TestClient, goal_id: str, apply_stream: Callable[[], Any], close: Callable[[], Any]
    ) -> None:
        self._api, self._apply_stream, self._close = api, apply_stream, close
        self.goal_id = goal_id
        self._payments = 0

    def pay(self, days_ago: int, amount: str, *, close: bool = True) -> None:
        """A payment dated back, applied, and the days that it changed closed again."""
        self._payments += 1
        now = datetime.now(UTC)
        data = {"account_id": "a", "transaction_id": f"t{self._payments}", "amount": amount, "currency": "USD"}
        head = {"specversion": "1.0", "id": f"e{self._payments}", "source": "bank", "time": now.isoformat()}
        event = {**head, "type": "milepost.transaction.recorded"}
        posted_at = (now - days_ago * DAY).date().isoformat()
        assert self._api.post("/events", json={**event, "data": {**data, "posted_at": posted_at}}).status_code == 202
        assert self._apply_stream().dead_letters == 0
        if close:
            self._close()

    def closes(self, query: str = "") -> list[float]:
        """The amounts of the days, oldest first."""
        pages = walk(self._api, f"/goals/{self.goal_id}/snapshots{query}")
        return [close["amount"] for page in pages for close in page]


@pytest.fixture
def story(
    api: TestClient, new_goal: Callable[..., str], apply_stream: Callable[[], Any], session_factory: Sessions
) -> Story:
    """Nothing paid and no day closed yet."""
    start = (datetime.now(UTC) - 3 * DAY).date().isoformat()
    goal_id = new_goal(start_date=start)
    link = {"account_id": "a", "allocation_percent": 100, "from": start}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    return Story(api, goal_id, apply_stream, lambda: run_snapshot(session_factory, datetime.now(UTC)))


def test_snapshots_are_shown_as_they_were_stored(story: Story) -> None:
    """Before the first closing there are none, and a late payment is in them from its closing on."""
    before = _moment()
    story.pay(2, "10")
    first = _moment()
    story.pay(1, "5", close=False)
    assert story.closes() == [0, 10, 15]
    touched = _moment()
    story.pay(3, "1")
    # As a client sends it that does not encode the plus sign.
    last = unquote(_moment("+00:00"))
    assert story.closes(f"?as_known_at={before}") == []
    assert story.closes(f"?as_known_at={first}") == [0, 10, 10]
    assert story.closes(f"?as_known_at={touched}") == [0, 10, 10]
    assert story.closes(f"?as_known_at={last}") == story.closes() == [1, 11, 16]


def test_pages_are_of_one_moment(story: Story, api: TestClient) -> None:
    """Each page's link asks for the same moment, whatever is closed anew meanwhile, and is good for no other."""
    story.pay(2, "10")
    first = _moment()
    story.pay(3, "1")
    assert story.closes(f"?as_known_at={first}&limit=1") == [0, 10, 10]
    page = api.get(f"/goals/{story.goal_id}/snapshots?as_known_at={first}&limit=1").links["next"]["url"]
    assert f"as_known_at={quote(first, safe='%')}" in page
    assert refused_fields(api.get(page.replace(f"as_known_at={first}", f"as_known_at={_moment()}"))) == [
        ["query", "cursor"]
    ]


def test_the_ledger_is_shown_as_it_was(story: Story, api: TestClient) -> None:
    """Its first line has the amount of that moment: none before the goal was made, and no later line."""
    before = quote((datetime.now(UTC) - DAY).isoformat())
    made = _moment()
    story.pay(2, "10")
    first = _moment()
    story.pay(0, "5")
    address = f"/goals/{story.goal_id}/history"
    assert api.get(f"{address}?as_known_at={before}").json() == []
    assert [entry["after"] for entry in api.get(f"{address}?as_known_at={made}").json()] == [0]
    (page, rest) = walk(api, f"{address}?as_known_at={first}&limit=1")
    assert ([entry["after"] for entry in page], [entry["after"] for entry in rest]) == ([10], [0])
    assert [entry["after"] for entry in api.get(address).json()] == [15, 10, 0]


@pytest.mark.parametrize("moment", ["2100-01-01T00:00:00Z", "soon", ""])
def test_the_ledger_of_no_moment_is_refused(story: Story, api: TestClient, moment: str) -> None:
    """A moment to come and what is no moment are 422, by name."""
    response = api.get(f"/goals/{story.goal_id}/history?as_known_at={moment}")
    assert refused_fields(response) == [["query", "as_known_at"]]


def test_what_was_known_is_its_tenants_own(story: Story, client: MakeClient) -> None:
    """No other tenant sees a goal, at any moment."""
    story.pay(2, "10")
    other = client(tenant="other")
    for what in ("snapshots", "history"):
        assert other.get(f"/goals/{story.goal_id}/{what}?as_known_at={_moment()}").status_code == 404
