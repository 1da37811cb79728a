"""ETags: no one changes or deletes a goal that is not as they saw it, and no one reads again what they have."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.store.database import Sessions
from core.store.goals import lock_goal

LINK = {"account_id": "savings_001", "allocation_percent": 10}

# What changes a goal or what belongs to it: method, what follows the goal's path, body.
WRITES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PATCH", "", {"name": "Changed"}),
    ("POST", "/milestones", {"amount": 50}),
    ("POST", "/funding", {"account_id": "other", "allocation_percent": 5}),
    ("PATCH", "/funding/savings_001", {"allocation_percent": 20}),
    ("DELETE", "/funding/savings_001", None),
    ("DELETE", "", None),
]
# Writes too, but changes nothing that a goal's body shows.
CHECK = ("POST", "/milestones/check", None)


@pytest.fixture
def goal(api: TestClient, new_goal: Callable[..., str]) -> str:
    """The path of a goal with a funding source."""
    path = f"/goals/{new_goal()}"
    assert api.post(f"{path}/funding", json=LINK).status_code == 201
    return path


def _tag(api: TestClient, goal: str) -> str:
    return api.get(goal).headers["ETag"]


def test_post_get_and_patch_give_the_same_tag_for_the_same_goal(api: TestClient) -> None:
    """The ETag of POST is that of GET until the goal changes; PATCH gives the next; each is strong and in quotes."""
    fields = {"user_id": "u", "name": "n", "type": "savings", "target_amount": 1}
    created = api.post("/goals", json=fields)
    path = created.headers["Location"]
    assert created.headers["ETag"] == _tag(api, path)
    changed = api.patch(path, json={"name": "m"})
    assert changed.headers["ETag"] == _tag(api, path)
    assert created.headers["ETag"] != changed.headers["ETag"]
    assert changed.headers["ETag"][0] == changed.headers["ETag"][-1] == '"'
    assert changed.json()["version"] == created.json()["version"] + 1


def test_an_empty_patch_keeps_the_tag(api: TestClient, goal: str) -> None:
    """A PATCH that changes nothing leaves the goal at its version."""
    before = _tag(api, goal)
    assert api.patch(goal, json={"status": "active"}).headers["ETag"] == before


@pytest.mark.parametrize(("method", "rest", "body"), [*WRITES, CHECK])
def test_an_old_tag_changes_nothing(
    api: TestClient, dump: Callable[[], str], goal: str, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    """A write with the tag of before is 412 with the present one and what to do, and leaves every table as it was."""
    old = _tag(api, goal)
    version = api.patch(goal, json={"description": "someone else was here"}).json()["version"]
    before = dump()
    answer = api.request(method, goal + rest, json=body, headers={"If-Match": old})
    detail = f"The goal has changed since it was read: it is at version {version} now; read it again"
    assert (answer.status_code, answer.json()) == (412, {"detail": detail})
    assert answer.headers["ETag"] == _tag(api, goal)
    assert dump() == before


@pytest.mark.parametrize(("method", "rest", "body"), [*WRITES, CHECK])
def test_the_present_tag_gets_through(
    api: TestClient, goal: str, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    """A write with the present tag is done."""
    answer = api.request(method, goal + rest, json=body, headers={"If-Match": _tag(api, goal)})
    assert answer.status_code in {200, 201, 204}


def test_the_present_tag_may_be_one_of_a_list(api: TestClient, goal: str) -> None:
    """It gets through alone and in a list, and `*` is any; how it is read does not depend on the request."""
    for form in ("{tag}", "*", '"x", {tag}', ' , W/"y" ,{tag},'):
        answer = api.patch(goal, json={"name": form}, headers={"If-Match": form.format(tag=_tag(api, goal))})
        assert answer.status_code == 200, form


@pytest.mark.parametrize(("method", "rest", "body"), [write for write in WRITES if write[0:2] != ("DELETE", "")])
def test_every_write_moves_the_tag(
    api: TestClient, goal: str, method: str, rest: str, body: dict[str, Any] | None
) -> None:
    """After each write that leaves the goal, the tag of before is old."""
    old = _tag(api, goal)
    assert api.request(method, goal + rest, json=body).status_code in {200, 201, 204}
    assert _tag(api, goal) != old
    assert api.patch(goal, json={"name": "late"}, headers={"If-Match": old}).status_code == 412


def test_an_event_that_moves_the_amount_moves_the_tag(
    api: TestClient, goal: str, apply_stream: Callable[[], Any]
) -> None:
    """What a worker changes counts too: the tag of before its batch is old."""
    assert api.post(f"{goal}/milestones", json={"amount": 5}).status_code == 201
    old = _tag(api, goal)
    posted = api.get(f"{goal}/funding").json()[0]["from"]
    data = {"account_id": "savings_001", "transaction_id": "t", "amount": 100, "currency": "USD", "posted_at": posted}
    event = {"specversion": "1.0", "id": "e", "source": "s", "type": "milepost.transaction.recorded", "time": posted}
    assert api.post("/events", json={**event, "data": data}).status_code == 202
    assert apply_stream().dead_letters == 0
    assert api.get(goal).json()["milestones"][0]["reached"]
    assert _tag(api, goal) != old
    assert api.patch(goal, json={"current_amount": 1}, headers={"If-Match": old}).status_code == 412


def test_the_tag_of_one_goal_fits_no_other(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Two goals at the same version have different tags."""
    one, other = (f"/goals/{new_goal()}" for _ in range(2))
    assert api.get(one).json()["version"] == api.get(other).json()["version"]
    assert api.delete(one, headers={"If-Match": _tag(api, other)}).status_code == 412


@pytest.mark.parametrize("form", ["W/{tag}", '"x"', '""', '"{bare}x"'])
def test_what_is_no_strong_tag_of_the_goal_does_not_match(api: TestClient, goal: str, form: str) -> None:
    """A weak tag, or one that never was the goal's, is 412."""
    tag = _tag(api, goal)
    headers = {"If-Match": form.format(tag=tag, bare=tag.strip('"'))}
    assert api.patch(goal, json={"name": "Changed"}, headers=headers).status_code == 412


@pytest.mark.parametrize("value", ["", "7", "{tag}{tag}", "*, {tag}", '"', "{bare}", 'w/"x"', "'{bare}'"])
def test_what_is_no_list_of_tags_is_422(api: TestClient, dump: Callable[[], str], goal: str, value: str) -> None:
    """An If-Match that does not parse is refused by name, and nothing changes."""
    tag = _tag(api, goal)
    before = dump()
    headers = {"If-Match": value.format(tag=tag, bare=tag.strip('"'))}
    answer = api.patch(goal, json={"name": "Changed"}, headers=headers)
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["errors"]] == [["header", "If-Match"]]
    assert dump() == before


def test_a_goal_that_is_not_there_is_404_whatever_the_tag(api: TestClient) -> None:
    """If-Match does not turn what is not found into 412."""
    for value in ("*", '"x"'):
        assert api.patch("/goals/none", json={}, headers={"If-Match": value}).status_code == 404


@pytest.mark.parametrize("late", [("PATCH", {"name": "second"}), ("DELETE", None)])
def test_of_two_writers_with_one_tag_one_gets_through(
    app: FastAPI,
    api: TestClient,
    session_factory: Sessions,
    until_waiting: Callable[[int], None],
    goal: str,
    late: tuple[str, dict[str, Any] | None],
) -> None:
    """Of two writes with one tag that wait for one goal, one is done, the other 412 (404 if it is gone)."""
    headers = {**api.headers, "If-Match": _tag(api, goal)}

    def write(method: str, body: dict[str, Any] | None) -> int:
        return TestClient(app, headers=headers).request(method, goal, json=body).status_code

    with ThreadPoolExecutor(2) as threads:
        with session_factory.begin() as holder:
            assert lock_goal(holder, ("default", goal.removeprefix("/goals/")))
            writes = [threads.submit(write, "PATCH", {"name": "first"}), threads.submit(write, *late)]
            until_waiting(2)
        statuses = [each.result() for each in writes]
    assert tuple(statuses) in {(200, 412), (412, 200), (404, 204)}
    winner = ("PATCH", {"name": "first"}) if statuses[0] == 200 else late
    found = api.get(goal)
    assert found.json()["name"] == winner[1]["name"] if winner[1] else found.status_code == 404


def test_a_stale_version_in_the_body_is_412(api: TestClient, dump: Callable[[], str], goal: str) -> None:
    """PATCH with the `version` of before changes nothing; with the present one it is done."""
    version = api.get(goal).json()["version"]
    done = api.patch(goal, json={"name": "First", "version": version})
    assert (done.status_code, done.json()["version"]) == (200, version + 1)
    before = dump()
    refused = api.patch(goal, json={"name": "Second", "version": version})
    assert (refused.status_code, refused.headers["ETag"]) == (412, done.headers["ETag"])
    assert dump() == before


def test_header_and_body_must_both_hold(api: TestClient, goal: str) -> None:
    """A good version beside an old tag is 412, as is a good tag beside an old version."""
    old, first = _tag(api, goal), api.get(goal).json()["version"]
    now = api.patch(goal, json={"name": "Changed"})
    tag, version = now.headers["ETag"], now.json()["version"]
    for if_match, stated, status in ((old, version, 412), (tag, first, 412), ("*", first, 412), (tag, version, 200)):
        answer = api.patch(goal, json={"version": stated}, headers={"If-Match": if_match})
        assert answer.status_code == status, (if_match, stated)


@pytest.mark.parametrize("version", [None, "3", True, 1.5, [], "*"])
def test_a_version_that_is_no_integer_is_422(api: TestClient, goal: str, version: Any) -> None:
    """`version` in a body is an integer, as it was given."""
    answer = api.patch(goal, json={"version": version})
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["errors"]] == [["body", "version"]]


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"x", {tag}', "*"])
def test_who_has_the_goal_gets_304(api: TestClient, goal: str, form: str) -> None:
    """GET with If-None-Match naming the present tag is 304 with the tag and without a body."""
    tag = _tag(api, goal)
    answer = api.get(goal, headers={"If-None-Match": form.format(tag=tag)})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize("form", ["{old}", '"x"', "not a tag", ""])
def test_who_has_not_gets_the_goal(api: TestClient, goal: str, form: str) -> None:
    """GET with an older tag, another one, or what is none, gives the goal as it is."""
    old = _tag(api, goal)
    changed = api.patch(goal, json={"name": "Changed"})
    answer = api.get(goal, headers={"If-None-Match": form.format(old=old)})
    assert (answer.status_code, answer.text) == (200, changed.text)
    assert answer.headers["ETag"] == changed.headers["ETag"]


def test_a_goal_that_is_not_there_is_no_304(api: TestClient) -> None:
    """GET of an unknown goal is 404 whatever the reader has."""
    assert api.get("/goals/none", headers={"If-None-Match": "*"}).status_code == 404
