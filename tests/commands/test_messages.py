"""`milepost messages`: what was announced, endpoints, and what they did not get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from core.goals.goal import GoalType
from core.jobs.deliver import make_deliverer
from core.services.goals import create_goal
from core.services.inputs import GoalDraft
from core.settings import load_settings
from core.store.database import Sessions
from core.store.tenants import Tenant
from tests.conftest import Run
from tests.delivery.receiver import Receiver, receiving

TENANT = Tenant("default", "UTC")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> None:
    """Servers, a key for secrets, and a receiver on this machine that may be an endpoint."""
    monkeypatch.setenv("MILEPOST_DATABASE_URL", database_url)
    monkeypatch.setenv("MILEPOST_REDIS_URL", redis_url)
    monkeypatch.setenv("MILEPOST_SECRETS_KEY", "a key of more than thirty-two characters")
    monkeypatch.setenv("MILEPOST_ENDPOINT_HTTP", "true")
    monkeypatch.setenv("MILEPOST_ENDPOINT_NETWORKS", "127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers 204."""
    with receiving() as found:
        yield found


def deliver(sessions: Sessions) -> None:
    """What the worker does."""
    deliverer = make_deliverer(sessions, load_settings())
    deliverer.work_through()
    deliverer.close()


def said(run: Run, *arguments: str) -> Any:
    """What a command prints as JSON."""
    status, out, errors = run("messages", *arguments, "--json")
    assert status == 0, errors
    return json.loads(out)


def new_goal(sessions: Sessions) -> str:
    with sessions.begin() as session:
        draft = GoalDraft("ann", "Trip", GoalType.SAVINGS, "100")
        return create_goal(session, TENANT, draft, datetime.now(UTC)).goal_id


def test_messages_are_listed(run: Run, session_factory: Sessions) -> None:
    """One line each, the oldest first; by type, user and goal too."""
    assert run("messages", "list") == (0, "no messages\n", "")
    goal_id = new_goal(session_factory)
    new_goal(session_factory)
    assert said(run, "list") == []
    deliver(session_factory)
    _, out, _ = run("messages", "list")
    first, second = out.splitlines()
    assert f"goal_created:{goal_id}:1 ann Trip 0.00 USD" in first
    assert [each["id"] for each in said(run, "list", "--goal", goal_id)] == [f"goal_created:{goal_id}:1"]
    assert len(said(run, "list", "--user", "ann", "--types", "goal.created,goal.changed")) == 2
    assert said(run, "list", "--types", "goal.changed") == []
    assert said(run, "list", "--since", "2999-01-01") == []
    assert len(said(run, "list", "--limit", "1")) == 1
    status, _, errors = run("messages", "list", "--types", "goal.rached")
    assert (status, "goal.rached" in errors) == (1, True)
    assert second


def test_an_endpoint_is_made_tested_changed_and_removed(
    run: Run, session_factory: Sessions, receiver: Receiver
) -> None:
    """Its secret is printed once."""
    status, out, _ = run("messages", "endpoints", "add", receiver.url, "--types", "goal.created", "--rate", "50")
    assert status == 0
    name, secret = out.split()[0], out.split()[-1]
    (row,) = said(run, "endpoints")
    assert (row["endpoint_id"], row["types"], row["rate"], row["pending"]) == (name, ["goal.created"], 50, 0)
    assert secret not in json.dumps(row)
    run("messages", "ping", name)
    goal_id = new_goal(session_factory)
    receiver.says(500, body=b"not \x1b[31mtoday")
    deliver(session_factory)
    for each in receiver.received:
        each.verify(secret)
    assert sorted(receiver.ids()) == [f"endpoint_ping:{name}:1", f"goal_created:{goal_id}:1"]
    status, out, _ = run("messages", "attempts", name)
    assert "\x1b" not in out
    assert out.count("500 not") == 2
    assert "failing since" in run("messages", "endpoints")[1]
    rotated = said(run, "endpoints", "rotate", name)
    assert rotated["secret"] not in {None, secret}
    changed = said(run, "endpoints", "change", name, "--types", "all", "--rate", "0", "--disable")
    assert (changed["types"], changed["rate"], changed["enabled"]) == (None, None, False)
    assert "disabled (request)" in run("messages", "endpoints")[1]
    assert said(run, "endpoints", "change", name, "--enable")["enabled"] is True
    receiver.says(204)
    receiver.received.clear()
    assert said(run, "recover", name, "--since", datetime.now(UTC).date().isoformat()) == {"messages": 1}
    said(run, "resend", name, f"endpoint_ping:{name}:1")
    deliver(session_factory)
    assert sorted(receiver.ids()) == [f"endpoint_ping:{name}:1", f"goal_created:{goal_id}:1"]
    assert run("messages", "endpoints", "remove", name)[0] == 0
    assert said(run, "endpoints") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("ping", "ep_none"),
        ("attempts", "ep_none"),
        ("resend", "ep_none", "m"),
        ("recover", "ep_none", "--since", "2026-03-01"),
        ("endpoints", "add", "https://10.0.0.1/"),
        ("endpoints", "add", "https://app.example/", "--types", "none"),
        ("endpoints", "change", "ep_none", "--enable"),
        ("endpoints", "rotate", "ep_none"),
        ("endpoints", "remove", "ep_none"),
        ("list", "--tenant", "nobody"),
        ("endpoints", "--tenant", "nobody"),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    """It says what is wrong, without a traceback."""
    status, out, errors = run("messages", *arguments)
    assert (status, out) == (1, "")
    assert len(errors.splitlines()) == 1
