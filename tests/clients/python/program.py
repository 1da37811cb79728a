"""Uses the client that openapi-python-client generates: `program.py URL KEY`. mypy checks its types."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from io import BytesIO
from typing import TypeVar

from generated import AuthenticatedClient
from generated.api.events import send_events
from generated.api.goals import create_goal, delete_goal, get_goal, get_goal_progress, list_goals, update_goal
from generated.api.milestones import get_next_milestone
from generated.models import (
    AcceptedEvents,
    Goal,
    GoalChanges,
    GoalProgress,
    GoalStatus,
    GoalType,
    Milestone,
    NewGoal,
    NewMilestone,
    Problem,
    TransactionRecorded,
    TransactionRecordedData,
)
from generated.types import UNSET, File, Unset

Answer = TypeVar("Answer")


def is_a(kind: type[Answer], answer: object) -> Answer:
    """The answer, which must be of that type."""
    assert isinstance(answer, kind), answer
    return answer


def event(number: int, amount: float | str) -> TransactionRecorded:
    """A transaction of an account."""
    data = TransactionRecordedData(
        account_id="savings_001",
        transaction_id=f"t{number}",
        amount=amount,
        currency="USD",
        posted_at="2026-01-31",
        pending=False,
    )
    return TransactionRecorded(
        specversion="1.0",
        id=f"e{number}",
        source="my-bank-sync",
        time=datetime(2026, 1, 31, 12, tzinfo=UTC),
        type_="milepost.transaction.recorded",
        data=data,
    )


def main(url: str, key: str) -> None:
    """Do what most programs do."""
    client = AuthenticatedClient(base_url=url, token=key)
    new = NewGoal(
        user_id="python",
        name="Emergency Fund",
        type_=GoalType.SAVINGS,
        target_amount="10000.00",
        current_amount=2500,
        deadline="2030-11-09",
        milestones=[NewMilestone(amount=5000, description="Halfway")],
    )
    created = create_goal.sync_detailed(client=client, body=new, idempotency_key="python-1")
    goal = is_a(Goal, created.parsed)
    assert (created.status_code, created.headers["Location"]) == (201, f"/goals/{goal.id}")
    assert (goal.type_, goal.status, goal.currency) == (GoalType.SAVINGS, GoalStatus.ACTIVE, "USD")
    assert (goal.created_at.tzinfo, goal.deadline) == (UTC, "2030-11-09T00:00:00")
    assert [(milestone.amount, milestone.reached) for milestone in goal.milestones] == [(5000, False)]
    assert is_a(Goal, create_goal.sync(client=client, body=new, idempotency_key="python-1")).id == goal.id
    assert is_a(Goal, get_goal.sync(goal.id, client=client)) == goal

    progress = is_a(GoalProgress, get_goal_progress.sync(goal.id, client=client))
    assert (progress.percent_complete, progress.on_track) == (25, None)
    assert is_a(Milestone, get_next_milestone.sync(goal.id, client=client)).description == "Halfway"

    changed = is_a(Goal, update_goal.sync(goal.id, client=client, body=GoalChanges(status=GoalStatus.PAUSED)))
    # What is left out stays as it is, and is not sent as null.
    assert (changed.status, changed.deadline, changed.name) == (GoalStatus.PAUSED, goal.deadline, goal.name)

    assert is_a(AcceptedEvents, send_events.sync(client=client, body=event(1, -12.5))).accepted == 1
    lines = BytesIO(b"\n".join(as_json(event(number, "3.50")) for number in (2, 3)))
    assert is_a(AcceptedEvents, send_events.sync(client=client, body=File(payload=lines), strict=True)).accepted == 2

    new.name = ""
    refused = create_goal.sync_detailed(client=client, body=new)
    problem = is_a(Problem, refused.parsed)
    assert refused.status_code == 422
    errors = [] if isinstance(problem.errors, Unset) else problem.errors
    assert [(error.loc, error.type_) for error in errors] == [(["body", "name"], "value_error")]

    new.name, new.milestones = "Second", UNSET
    second = is_a(Goal, create_goal.sync(client=client, body=new))
    found: list[str] = []
    cursor: str | Unset = UNSET
    while True:
        page = list_goals.sync_detailed(client=client, user_id="python", type_=GoalType.SAVINGS, limit=1, cursor=cursor)
        found += [each.id for each in is_a(list, page.parsed)]
        if "Link" not in page.headers:
            break
        cursor = page.headers["Link"].partition("cursor=")[2].partition(">")[0]
    assert found == [goal.id, second.id]

    for goal_id in found:
        assert delete_goal.sync_detailed(goal_id, client=client).status_code == 204
    missing = get_goal.sync_detailed(goal.id, client=client)
    assert (missing.status_code, is_a(Problem, missing.parsed).detail) == (404, "Goal not found")


def as_json(made: TransactionRecorded) -> bytes:
    """A line of NDJSON."""
    return json.dumps(made.to_dict()).encode()


if __name__ == "__main__":
    main(*sys.argv[1:])
    print("the Python client works")
