"""The check over REST: the API shows the oracle's amounts of each goal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import httpx2

from tests.chaos.checks.goals import ExpectedGoal
from tests.chaos.oracle.facts import minor
from tests.chaos.verdict import Verdict


def check_rest(verdict: Verdict, goals: Sequence[ExpectedGoal], clients: Mapping[str, httpx2.Client]) -> None:
    """GET /goals/{id} shows the amount, and /snapshots shows every day from the start on with its amount."""
    rows = [f"{each.key}: {trouble}" for each in goals for trouble in _wrong(each, clients[each.row["tenant"]])]
    verdict.record("as shown over REST", len(goals), rows)


def _wrong(each: ExpectedGoal, client: httpx2.Client) -> Iterable[str]:
    path, currency = f"/goals/{each.row['goal_id']}", each.goal.currency
    try:
        goal, days = _get(client, path), _get(client, f"{path}/snapshots")
    except httpx2.HTTPError as trouble:
        yield f"is not shown: {trouble}"
        return
    shown = minor(goal["current_amount"], currency)
    if shown != each.amount:
        yield f"shows {shown}, expected {each.amount}"
    closes = {date.fromisoformat(day["day"]): minor(day["amount"], currency) for day in days}
    expected = {day: closes.get(day) for day in each.closes}
    if expected != each.closes:
        wrong = next(day for day in each.closes if expected[day] != each.closes[day])
        yield f"{wrong}: shows {expected[wrong]}, expected {each.closes[wrong]}"


def _get(client: httpx2.Client, path: str) -> Any:
    answer = client.get(path)
    answer.raise_for_status()
    return json.loads(answer.content, parse_float=Decimal, parse_int=Decimal)
