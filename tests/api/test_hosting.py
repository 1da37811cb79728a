"""The goal routes in an app that is not ours: they answer as in our own, and leave everything else alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from openapi_spec_validator import validate
from pydantic import BaseModel

from api.hosting import goal_router
from api.routes import goals
from core.services.tenants import create_tenant
from core.store.database import Sessions, open_sessions
from tests.api.conftest import SAVINGS
from tests.api.foreign import TenantHost, foreign_app
from tests.api.paging import walk

PREFIXES = ("/goals", "/v1/finance/goals")
LINK = {"account_id": "acct/1", "account_name": "High Yield", "allocation_percent": 60}
MILESTONE = {"amount": 5000, "description": "Halfway"}
DOCUMENTED: list[tuple[str, str, Any, int]] = [
    ("post", "", SAVINGS, 201),
    ("get", "", None, 200),
    ("get", "/{goal_id}", None, 200),
    ("patch", "/{goal_id}", {"current_amount": 2500}, 200),
    ("get", "/{goal_id}/progress", None, 200),
    ("post", "/{goal_id}/milestones", MILESTONE, 201),
    ("get", "/{goal_id}/milestones", None, 200),
    ("get", "/{goal_id}/milestones/progress", None, 200),
    ("post", "/{goal_id}/funding", LINK, 201),
    ("get", "/{goal_id}/funding", None, 200),
    ("patch", "/{goal_id}/funding/{account_id}", {"allocation_percent": 70}, 200),
    ("delete", "/{goal_id}/funding/{account_id}", None, 204),
    ("delete", "/{goal_id}", None, 204),
]


class Goal(BaseModel):
    """The app's own, which has nothing to do with ours."""

    colour: str


def _hosted(sessions: Sessions, prefix: str, **options: Any) -> TestClient:
    return TestClient(foreign_app(goal_router(TenantHost(sessions), prefix=prefix, **options)))


def _paths(app: Any) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return paths


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_thirteen_routes_answer_as_documented(session_factory: Sessions, prefix: str) -> None:
    """Each documented request gets its documented success below the prefix, where OpenAPI shows it too."""
    client = _hosted(session_factory, prefix)
    goal_id = client.post(prefix, json=SAVINGS).json()["id"]
    answers = {}
    for method, path, body, status in DOCUMENTED:
        url = prefix + path.replace("{goal_id}", goal_id).replace("{account_id}", "acct%2F1")
        answer = client.request(method, url, json=body)
        assert (answer.status_code, answer.headers["X-Foreign"]) == (status, "yes"), (method, path, answer.text)
        assert method in _paths(client.app)[prefix + path]
        answers[method, path] = answer.json() if answer.content else None
    assert answers["get", "/{goal_id}/progress"]["percent_complete"] == 25
    assert answers["get", "/{goal_id}/milestones/progress"]["next_milestone"]["amount"] == 5000
    assert answers["patch", "/{goal_id}/funding/{account_id}"]["allocation_percent"] == 70
    assert client.get(f"{prefix}/{goal_id}").status_code == 404


@pytest.mark.parametrize("prefix", PREFIXES)
def test_addresses_in_answers_have_the_prefix(session_factory: Sessions, prefix: str) -> None:
    """Location is the new goal, and the Link of each list leads through all of its pages."""
    _follow_addresses(_hosted(session_factory, prefix), prefix)


def test_addresses_are_right_in_an_app_below_another(session_factory: Sessions, app: FastAPI, api: TestClient) -> None:
    """Mounted below /outer, or behind a proxy that takes off a path, what the answers name is found by the caller."""
    outer = FastAPI()
    outer.mount("/outer", foreign_app(goal_router(TenantHost(session_factory), prefix="/goals")))
    _follow_addresses(TestClient(outer), "/outer/goals")
    outer.mount("/own", app)
    _follow_addresses(TestClient(outer, headers=api.headers), "/own/goals")
    behind = TestClient(foreign_app(goal_router(TenantHost(session_factory), prefix="/goals")), root_path="/behind")
    _follow_addresses(behind, "/goals", shown="/behind/goals")
    _follow_addresses(behind, "/behind/goals")


def _follow_addresses(client: TestClient, prefix: str, shown: str | None = None) -> None:
    """Answers to requests below `prefix` name addresses below `shown`, which lead to the same."""
    shown = shown or prefix
    user = {"user_id": f"ü of {prefix} {shown}"}
    for _ in range(3):
        made = client.post(prefix, json={**SAVINGS, **user})
        goal = made.headers["Location"]
        assert goal == f"{shown}/{made.json()['id']}"
        assert client.get(goal).json() == made.json()
    for number in (1, 2, 3):
        assert client.post(f"{goal}/milestones", json={"amount": number}).status_code == 201
        link = {"account_id": f"{user} {number}", "allocation_percent": 1}
        assert client.post(f"{goal}/funding", json=link).status_code == 201
    goal = goal.removeprefix(shown)
    for path in (f"?{urlencode(user)}&limit=2", f"{goal}/milestones?limit=2", f"{goal}/funding?limit=2"):
        assert client.get(prefix + path).links["next"]["url"].startswith(f"{shown}{path}&cursor=")
        assert [len(page) for page in walk(client, prefix + path)] == [2, 1]


def test_what_is_the_apps_own_stays_as_it_is(session_factory: Sessions) -> None:
    """Its routes, its 404, 405 and 422, its handlers and its middleware answer as they do without ours."""
    without, with_goals = TestClient(foreign_app()), _hosted(session_factory, "/goals")
    asked = [("GET", f"/things/{number}") for number in ("1", "0", "-1", "one")]
    for method, url in [*asked, ("PUT", "/things/1"), ("GET", "/nothing"), ("GET", "/docs"), ("HEAD", "/things/1")]:
        ours, theirs = with_goals.request(method, url), without.request(method, url)
        assert (ours.status_code, ours.headers, ours.content) == (theirs.status_code, theirs.headers, theirs.content)
    assert without.get("/things/one").json() == {"foreign": "RequestValidationError"}
    assert _paths(with_goals.app)["/things/{number}"] == _paths(without.app)["/things/{number}"]


def test_refusals_have_our_shape(session_factory: Sessions) -> None:
    """400, 404, 409, 412, 413 and 422 are as documented, whatever handlers the app has for them."""
    client = _hosted(session_factory, "/goals")
    goal = client.post("/goals", json={**SAVINGS, "status": "paused"}).headers["Location"]
    answers = {
        400: client.post(f"{goal}/funding", json={"account_id": "a", "allocation_percent": 101}),
        404: client.get("/goals/none"),
        409: client.patch(goal, json={"status": "completed"}),
        412: client.patch(goal, json={"version": 99}),
        413: client.post("/goals", content=b" " * 100_001),
    }
    assert {status: answer.status_code for status, answer in answers.items()} == {status: status for status in answers}
    assert answers[400].json().pop("detail") == "Total allocation would exceed 100%"
    assert all(list(answer.json()) == ["detail"] for status, answer in answers.items() if status != 400)
    assert answers[412].headers["ETag"] == client.get(goal).headers["ETag"]
    for answer, place in (
        (client.post("/goals", json={**SAVINGS, "name": " "}), ["body", "name"]),
        (client.get("/goals?limit=0"), ["query", "limit"]),
        (client.get("/goals?status=lost"), ["query", "status"]),
        (client.delete(goal, headers={"If-Match": "7"}), ["header", "If-Match"]),
    ):
        assert answer.status_code == 422
        assert [problem["loc"] for problem in answer.json()["errors"]] == [place]


def test_a_parameter_of_the_apps_auth_is_no_field_of_ours(session_factory: Sessions) -> None:
    """A wrong field of a body is in the body, though the app's own auth takes a parameter of the same name."""

    def known_user(name: str) -> str:
        return name

    client = _hosted(session_factory, "/goals", dependencies=[Depends(known_user)])
    answer = client.post("/goals?name=me", json={**SAVINGS, "name": " "})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "name"])
    goal = client.post("/goals?name=me", json=SAVINGS).headers["Location"]
    answer = client.delete(f"{goal}/funding/a?name=me&correct_from=2999-01-01")
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "correct_from"])


def test_without_the_database_the_goals_alone_are_503() -> None:
    """503 with Retry-After, though the app has a handler for errors of its own database; its routes go on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://nobody:secret-word@127.0.0.1:{listener.getsockname()[1]}/none"
        client = _hosted(open_sessions(url, application_name="tests"), "/goals")
        for method in ("GET", "POST"):
            answer = client.request(method, "/goals", json=SAVINGS)
            assert answer.status_code == 503
            assert answer.json() == {"detail": "The database is not available; try again"}
            assert int(answer.headers["Retry-After"]) > 0
        assert client.get("/things/1").status_code == 200


def test_a_post_sent_again_acts_once(session_factory: Sessions) -> None:
    """An Idempotency-Key works, and the kept answer has the Location of the first."""
    client = _hosted(session_factory, "/v1/goals")
    first, again = [client.post("/v1/goals", json=SAVINGS, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.content == first.content
    assert len(client.get("/v1/goals").json()) == 1


def test_two_tenants_under_two_prefixes_see_only_their_own(
    session_factory: Sessions, now: Any, dump: Callable[[], str]
) -> None:
    """What one mount has is not found at the other, neither to read nor to change; nor is it counted there."""
    with session_factory.begin() as session:
        create_tenant(session, "other", "UTC", now)
    routers = [goal_router(TenantHost(session_factory, name), prefix=f"/{name}/goals") for name in ("default", "other")]
    client = TestClient(foreign_app(*routers))
    goal = client.post("/default/goals", json=SAVINGS).headers["Location"]
    goal_id = goal.rpartition("/")[2]
    assert client.post(f"{goal}/funding", json=LINK).status_code == 201
    before = dump()
    for method, path, body, _ in DOCUMENTED:
        if path:
            url = "/other/goals" + path.replace("{goal_id}", goal_id).replace("{account_id}", "acct%2F1")
            answer = client.request(method, url, json=body)
            assert (answer.status_code, answer.json()) == (404, {"detail": "Goal not found"}), path
    assert client.get("/other/goals").json() == []
    assert dump() == before
    assert client.post("/other/goals", json=SAVINGS).headers["Location"].startswith("/other/goals/")
    assert [len(client.get(f"/{name}/goals").json()) for name in ("default", "other")] == [1, 1]


def test_two_mounts_of_one_tenant_show_their_own_addresses(session_factory: Sessions) -> None:
    """Each has its own in the Link to the next page."""
    host = TenantHost(session_factory)
    client = TestClient(foreign_app(*(goal_router(host, prefix=prefix) for prefix in PREFIXES)))
    goal_id = client.post("/goals", json=SAVINGS).json()["id"]
    for amount in (1, 2):
        assert client.post(f"/goals/{goal_id}/milestones", json={"amount": amount}).status_code == 201
    for prefix in PREFIXES * 2:
        answer = client.get(f"{prefix}/{goal_id}/milestones?limit=1")
        assert answer.links["next"]["url"].startswith(f"{prefix}/{goal_id}/milestones?")


def test_the_app_decides_how_openapi_shows_the_routes(session_factory: Sessions) -> None:
    """With tags of its own, or not at all; 401 and 403 are its own to document, and our keys do not show."""
    shown = _paths(_hosted(session_factory, "/goals", tags=["Finance"]).app)
    operations = [operation for path in shown if path.startswith("/goals") for operation in shown[path].values()]
    assert len(operations) >= len(DOCUMENTED)
    assert all(operation["tags"] == ["Finance"] for operation in operations)
    assert not any({"401", "403"} & set(operation["responses"]) for operation in operations)
    assert not any("security" in operation for operation in operations)
    plain = _paths(_hosted(session_factory, "/goals").app)
    assert {tag for path in plain for one in plain[path].values() for tag in one.get("tags", [])} == {
        "goals",
        "milestones",
        "funding",
    }
    hidden = _hosted(session_factory, "/goals", include_in_schema=False)
    assert list(_paths(hidden.app)) == ["/things/{number}"]
    assert hidden.get("/goals").json() == []


def test_the_openapi_text_of_an_app_with_two_mounts_is_valid(session_factory: Sessions) -> None:
    """Its operations have ids of their own, bodies are described in place, and the app's `Goal` keeps its name."""
    host = TenantHost(session_factory)
    app = foreign_app(*(goal_router(host, prefix=prefix) for prefix in PREFIXES))

    @app.get("/colours")
    def colours() -> Goal:
        return Goal(colour="red")

    text = app.openapi()
    validate(text)
    ids = [operation["operationId"] for methods in text["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    assert "colour" in text["components"]["schemas"]["Goal"]["properties"]
    for prefix in PREFIXES:
        body = text["paths"][prefix]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body["properties"]["milestones"]["items"]["required"] == ["amount"]
        assert "$ref" not in json.dumps(body)


@pytest.mark.parametrize("prefix", ["", "/", "goals", "/goals/", "goals/"])
def test_a_prefix_that_is_no_path_is_refused(session_factory: Sessions, prefix: str) -> None:
    """It must begin with a slash and not end with one."""
    with pytest.raises(ValueError, match="prefix"):
        goal_router(TenantHost(session_factory), prefix=prefix)


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", SAVINGS)])
def test_routes_without_contexts_let_no_one_in(method: str, body: Any) -> None:
    """A router that was made without a dependency that binds contexts fails loudly at the first request."""
    client = TestClient(foreign_app(goals.router.make_router("/goals")))
    with pytest.raises(RuntimeError, match="binds its contexts"):
        client.request(method, "/goals", content=json.dumps(body))
