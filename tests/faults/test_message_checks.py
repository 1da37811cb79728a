"""Each check of messages can fail: what a run got is altered by one thing, and the check names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.checks.evidence import Evidence
from tests.chaos.checks.goals import ExpectedGoal
from tests.chaos.checks.messages import Arrived, check_messages
from tests.chaos.messages.endpoints import Endpoint
from tests.chaos.messages.receiver import Received
from tests.chaos.oracle.goals import Goal
from tests.chaos.verdict import Verdict

MADE_AT = datetime(2026, 3, 5, 12, tzinfo=UTC)
DELIVERED_AT = MADE_AT + timedelta(minutes=10)
ALL = Endpoint("default", "ep_all", "/default/all", None, MADE_AT)
REACHED = Endpoint("default", "ep_reached", "/default/reached", frozenset({"milestone.reached"}), MADE_AT)
GOAL = Goal("g", "savings", "change", "USD", "u", 5_000, date(2026, 3, 4), [(None, 0)], [], [1_000, 2_000])
CREATED, REACHED_NOW, TAKEN_BACK, WITHDRAWN, OLD = (
    "goal_created:g:1",
    "milestone_reached:g:1000:1",
    "milestone_reached:g:2000:1",
    "milestone_reached_withdrawn:g:2000:1",
    "goal_completed:h:1",
)
TYPES = {
    CREATED: "goal.created",
    REACHED_NOW: "milestone.reached",
    TAKEN_BACK: "milestone.reached",
    WITHDRAWN: "milestone.reached.withdrawn",
    OLD: "goal.completed",
}


def after(seconds: float) -> datetime:
    """So many seconds after the endpoints were made."""
    return MADE_AT + timedelta(seconds=seconds)


def payload(message_id: str) -> str:
    """The body of a message."""
    return f'{{"type":"{TYPES[message_id]}","timestamp":"2026-03-05T12:00:00Z","data":{{"goal_id":"g","n":1.10}}}}'


def message(message_id: str, seconds: float) -> dict[str, Any]:
    """The row of a message that was announced."""
    row = {"tenant": "default", "message_id": message_id, "type": TYPES[message_id], "payload": payload(message_id)}
    position = round(after(seconds).timestamp() * 1_000_000)
    return row | {"created_at": after(seconds), "historical": message_id == OLD, "position": position}


def shown(message_id: str) -> dict[str, Any]:
    """The same in the feed."""
    body = json.loads(payload(message_id), parse_float=Decimal)
    return {**body, "id": message_id, "historical": message_id == OLD, "cursor": "c"}


def received(to: Endpoint, message_id: str, status: int | None = 204) -> Received:
    """A request that was signed and answered."""
    return Received(to.path, message_id, payload(message_id).encode(), True, DELIVERED_AT, status=status)


@dataclass
class Case:
    """What a test alters: rows by table, the feed and the requests."""

    rows: dict[str, list[dict[str, Any]]]
    feed: list[dict[str, Any]]
    received: list[Received]

    def row(self, message_id: str) -> dict[str, Any]:
        """The row of a message."""
        return next(row for row in self.rows["outbox"] if row["message_id"] == message_id)


def a_case() -> Case:
    """Five messages, of which one is historical and one withdrawn; the first was refused once and is sent again."""
    ids = list(TYPES)
    own = {"tenant": "default", "goal_id": "g"}
    delivered = [(ALL, each) for each in ids if each != OLD] + [(REACHED, REACHED_NOW), (REACHED, TAKEN_BACK)]
    rows: dict[str, list[dict[str, Any]]] = {
        table: [] for table in ("links", "manual_amounts", "goal_snapshots", "close_rewrites")
    }
    rows["outbox"] = [message(each, number + 1) for number, each in enumerate(ids)]
    rows["outbox"].append(message(REACHED_NOW, 9) | {"message_id": "milestone_reached:g:1500:1", "position": None})
    rows["deliveries"] = [
        {"tenant": "default", "endpoint_id": to.endpoint_id, "message_id": each, "status": "delivered"}
        for to, each in delivered
    ]
    rows["milestones"] = [
        own | {"amount_minor": 1_000, "reached_at": after(2)},
        own | {"amount_minor": 2_000, "reached_at": None},
    ]
    rows["goal_entries"] = [own | {"after_minor": 1_300}]
    requests = [received(ALL, CREATED, None), *(received(to, each) for to, each in delivered)]
    return Case(rows, [shown(each) for each in ids], requests)


def check(case: Case) -> Verdict:
    """The checks of messages."""
    verdict = Verdict()
    goal = ExpectedGoal({"tenant": "default", "goal_id": "g", "name": "n", "reached_at": None}, GOAL, 5_000, 1_300, {})
    arrived = Arrived([ALL, REACHED], {"default": case.feed}, case.received, DELIVERED_AT)
    check_messages(verdict, arrived, [goal], Evidence(case.rows, DELIVERED_AT))
    return verdict


def test_a_run_in_which_all_is_well_is_good() -> None:
    """Nothing is wrong, every check has looked at something, and what comes later is no matter."""
    case = a_case()
    late = DELIVERED_AT + timedelta(seconds=1)
    case.rows["outbox"].append(message(CREATED, 9) | {"message_id": "goal_created:late:1", "created_at": late})
    verdict = check(case)
    assert verdict.wrong == []
    assert all(verdict.checks.values())


def change(case: Case, index: int, **changes: Any) -> None:
    """Another request in the place of one; 0 and 1 are the two of the first message."""
    case.received[index] = replace(case.received[index], **changes)


NEVER = replace(received(ALL, CREATED), message_id="milestone_reached:g:1500:1", body=payload(REACHED_NOW).encode())
ALTERED: dict[str, tuple[str, Callable[[Case], object]]] = {
    "the feed lacks one": ("feed", lambda c: c.feed.pop(1)),
    "the feed has one twice": ("feed", lambda c: c.feed.append(c.feed[0])),
    "the feed has another order": ("feed", lambda c: c.feed.insert(0, c.feed.pop(1))),
    "the feed has what was not announced": (
        "feed",
        lambda c: c.feed.append(shown(REACHED_NOW) | {"id": "goal_created:x:1"}),
    ),
    "the feed shows another body": ("feed", lambda c: c.feed[0].update(data={})),
    "the feed shows another type": ("feed", lambda c: c.feed[0].update(type="goal.changed")),
    "the feed says that it is not historical": ("feed", lambda c: c.feed[4].update(historical=False)),
    "one never came": ("delivered at least once", lambda c: c.received.pop()),
    "one was never taken": ("delivered at least once", lambda c: change(c, 1, status=500)),
    "one is pending": ("delivered at least once", lambda c: c.rows["deliveries"][0].update(status="pending")),
    "one has no row": ("delivered at least once", lambda c: c.rows["deliveries"].pop()),
    "one has a row and should not": (
        "delivered at least once",
        lambda c: c.rows["deliveries"].append(c.rows["deliveries"][0] | {"message_id": OLD}),
    ),
    "one came that was never announced": ("received was announced", lambda c: c.received.append(NEVER)),
    "a historical one came": ("received was announced", lambda c: c.received.append(received(ALL, OLD))),
    "one came that is not of the types": (
        "received was announced",
        lambda c: c.received.append(received(REACHED, CREATED)),
    ),
    "one came with another body": ("one id, one body", lambda c: change(c, 1, body=b"{}")),
    "a repetition has another body": ("one id, one body", lambda c: change(c, 0, body=payload(REACHED_NOW).encode())),
    "one that nobody knows has two bodies": (
        "one id, one body",
        lambda c: c.received.extend([NEVER, replace(NEVER, body=b"{}")]),
    ),
    "one came without an id": ("one id, one body", lambda c: change(c, 1, message_id="")),
    "one came to a path that nobody made": ("one id, one body", lambda c: change(c, 1, path="/")),
    "one is not signed": ("signed", lambda c: change(c, 1, is_signed=False)),
    "what was withdrawn is not in the feed": ("withdrawn was reached", lambda c: c.feed.pop(2)),
    "it was withdrawn first": ("withdrawn was reached", lambda c: c.feed.insert(2, c.feed.pop(3))),
    "a withdrawal came that is not in the feed": ("withdrawn was reached", lambda c: c.feed.pop(3)),
    "a withdrawal is historical": ("withdrawn was reached", lambda c: c.feed[3].update(historical=True)),
    "what holds is not stored": ("reached by the facts", lambda c: c.rows["milestones"][0].update(reached_at=None)),
    "the amount was never there": ("reached by the facts", lambda c: c.rows["goal_entries"][0].update(after_minor=999)),
    "a goal is at its target and was not": (
        "reached by the facts",
        lambda c: c.feed.append(shown(REACHED_NOW) | {"id": "goal_reached:g:1"}),
    ),
    "there is no such goal": (
        "reached by the facts",
        lambda c: c.feed.append(shown(REACHED_NOW) | {"id": "milestone_reached:h:1000:1"}),
    ),
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_is_wrong_is_found(what: str) -> None:
    """The check that it is for says so."""
    check_name, alter = ALTERED[what]
    case = a_case()
    alter(case)
    assert check_name in {wrong.check for wrong in check(case).wrong}


def test_what_was_announced_before_the_endpoint_was_made_need_not_come() -> None:
    """Not even if it would take it; and no other message is let off."""
    case = a_case()
    case.row(CREATED)["position"] = round(after(-1).timestamp() * 1_000_000)
    case.received = [each for each in case.received if each.message_id != CREATED]
    case.rows["deliveries"] = [row for row in case.rows["deliveries"] if row["message_id"] != CREATED]
    assert check(case).wrong == []
