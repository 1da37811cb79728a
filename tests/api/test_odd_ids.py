"""Goal ids that do not exist are 404, whatever they look like."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.budget import examples

ODD = [
    "\0",
    "a\0b",
    "x" * 10_000,
    "'; DROP TABLE goals; --",
    '"',
    "../",
    "..",
    ".",
    "%2f",
    "a/b",
    "-1",
    "0",
    "null",
    "NaN",
    "😀",
    "\u202egoal",
    "\r\nSet-Cookie: a=b",
    " ",
    "goal_",
]


def _everywhere(api: TestClient, goal_id: str) -> None:
    # Clients resolve dot segments themselves unless they are encoded.
    path = f"/goals/{quote(goal_id, safe='').replace('.', '%2E')}"
    answers = [
        api.get(path),
        api.patch(path, json={"name": "n"}),
        api.delete(path),
        api.get(f"{path}/progress"),
        api.post(f"{path}/milestones", json={"amount": 1}),
        api.get(f"{path}/milestones"),
        api.get(f"{path}/milestones/progress"),
        api.post(f"{path}/funding", json={"account_id": "a", "allocation_percent": 1}),
        api.get(f"{path}/funding"),
        api.patch(f"{path}/funding/a", json={"allocation_percent": 1}),
        api.delete(f"{path}/funding/a"),
    ]
    for answer in answers:
        assert answer.status_code == 404, (goal_id, answer.request.url, answer.text)
        assert answer.json()["detail"] in {"Goal not found", "Not Found"}


@pytest.mark.parametrize("goal_id", ODD, ids=range(len(ODD)))
def test_an_odd_id_is_not_found(api: TestClient, goal_id: str) -> None:
    """NUL bytes, ten kilobytes, quotes and encoded slashes are ids like others: not there."""
    _everywhere(api, goal_id)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_id_is_not_found(api: TestClient, goal_id: str) -> None:
    """No text makes a goal appear, or the API stumble."""
    _everywhere(api, goal_id)


def test_an_id_that_is_almost_right_is_not_found(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Another case, a space or a NUL beside a good id makes it another id."""
    goal_id = new_goal()
    for other in (goal_id.upper(), goal_id + " ", " " + goal_id, goal_id + "\0", goal_id[:-1], goal_id + "%"):
        assert api.get(f"/goals/{quote(other, safe='')}").status_code == 404, other
    assert api.get(f"/goals/{goal_id}").status_code == 200
