"""The goals of the Berka accounts, made and read as any caller does: over REST."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx2

from tests.berka.oracle import SHARES, hellers
from tests.berka.oracle_days import DAYS, FIRST_DAY, LAST_DAY, Line
from tests.berka.system import System

THREADS = 4
PAGE = 200
LINKED_FROM = "1993-01-01"

# (account, tracking): what tells a goal from the others in every database.
GoalName = tuple[str, str]


def make_goals(system: System, accounts: list[str]) -> dict[str, GoalName]:
    """One goal of each tracking for each account, linked; returns what each goal id stands for."""
    names = [(account, tracking) for account in accounts for tracking in SHARES]
    with _client(system) as client, ThreadPoolExecutor(THREADS) as pool:
        ids = pool.map(lambda name: _make_goal(client, name), names)
        return dict(zip(ids, names, strict=True))


def read_amounts(system: System, goals: dict[str, GoalName]) -> dict[GoalName, Decimal]:
    """The amount of every goal, page after page. A goal that still waits for a report is an error."""
    with _client(system) as client:
        found = {}
        for goal in _all_goals(client):
            if goal["waiting_for"]:
                raise ValueError(f"the goal of {goals[goal['id']]} waits for {goal['waiting_for']}")
            found[goals[goal["id"]]] = Decimal(goal["current_amount"])
    return found


def read_stored_snapshots(system: System, goals: dict[str, GoalName]) -> dict[GoalName, Line]:
    """The close of every day of every goal, in hellers."""
    with _client(system) as client, ThreadPoolExecutor(THREADS) as pool:
        lines = pool.map(lambda goal_id: _closes(client, goal_id), goals)
        return dict(zip(goals.values(), lines, strict=True))


def _closes(client: httpx2.Client, goal_id: str) -> Line:
    reply = client.get(
        f"/goals/{goal_id}/snapshots", params={"from": FIRST_DAY.isoformat(), "to": LAST_DAY.isoformat()}
    )
    reply.raise_for_status()
    if "next" in reply.links:
        raise ValueError(f"{len(DAYS)} days of {goal_id} did not come on one page")
    return [(close["day"], close["amount"]) for close in json.loads(reply.content, parse_float=hellers)]


def _make_goal(client: httpx2.Client, name: GoalName) -> str:
    account, tracking = name
    goal = {
        "user_id": f"holder of {account}",
        "name": f"{tracking} of {account}",
        "type": "savings",
        "tracking": tracking,
        "target_amount": "100000.00",
        "current_amount": 0,
        "currency": "CZK",
        "start_date": FIRST_DAY.isoformat(),
    }
    goal_id: str = _created(client.post("/goals", json=goal))["id"]
    link = {"account_id": account, "allocation_percent": SHARES[tracking], "from": LINKED_FROM}
    _created(client.post(f"/goals/{goal_id}/funding", json=link))
    return goal_id


def _all_goals(client: httpx2.Client) -> Iterator[dict[str, Any]]:
    page: str | None = f"/goals?limit={PAGE}"
    while page is not None:
        reply = client.get(page)
        reply.raise_for_status()
        yield from json.loads(reply.content, parse_float=Decimal)
        page = reply.links["next"]["url"] if "next" in reply.links else None


def _created(reply: httpx2.Response) -> Any:
    if reply.status_code != 201:
        raise ValueError(f"{reply.request.url} answered {reply.status_code}: {reply.text}")
    return reply.json()


@contextmanager
def _client(system: System) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {system.key}"}
    with httpx2.Client(base_url=system.base_url, headers=headers, timeout=30, trust_env=False) as client:
        yield client
