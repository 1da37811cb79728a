"""HEAD: what GET answers, without the body."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize("rest", ["", "/{goal_id}", "/{goal_id}/progress", "/{goal_id}/milestones", "/none"])
def test_head_is_get_without_the_body(api: TestClient, new_goal: Callable[..., str], rest: str) -> None:
    """Status and headers are those of GET, Content-Length included, and there is no body."""
    url = "/goals" + rest.format(goal_id=new_goal())
    got, head = api.get(url), api.head(url)
    assert (head.status_code, head.content) == (got.status_code, b"")
    varying = {"x-request-id"}
    assert {n: v for n, v in head.headers.items() if n not in varying} == {
        n: v for n, v in got.headers.items() if n not in varying
    }


def test_head_can_ask_whether_a_goal_has_changed(api: TestClient, new_goal: Callable[..., str]) -> None:
    """HEAD gives the ETag, and 304 to who has it."""
    url = f"/goals/{new_goal()}"
    tag = api.head(url).headers["ETag"]
    assert api.head(url, headers={"If-None-Match": tag}).status_code == 304


def test_head_of_what_cannot_be_got_is_405(api: TestClient) -> None:
    """An address that only takes POST has no HEAD."""
    assert api.head("/events").status_code == 405


def test_head_needs_a_key_too(api: TestClient) -> None:
    """HEAD without a key is 401."""
    del api.headers["Authorization"]
    assert api.head("/goals").status_code == 401
