"""Records: dictionaries with attributes, read from bodies; and enumerations that agree with core's."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, get_type_hints

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import core.goals.goal
from api.routes.dead_letters import ReplayedBody
from api.routes.events import AcceptedBody
from api.routes.provider_accounts import ProviderAccountBody
from api.routes.refresh_requests import RefreshBody
from api.routes.relinks import RelinkBody
from api.routes.unapplied import UnappliedBody
from api.schemas.accounts import (
    AccountBody,
    AllocationBody,
    AllocationsBody,
    ConnectionBody,
    LastFactBody,
    LetterBody,
    ReportBody,
    WholeLetterBody,
)
from api.schemas.goals import (
    CloseBody,
    EntryBody,
    FundingBody,
    ListedGoalBody,
    MilestoneBody,
    MilestoneProgressBody,
    NextMilestoneBody,
    ProgressBody,
)
from milepost.client.accounts import Account, AccountConnection, Allocation, Allocations, LastFact, Relink, Report
from milepost.client.dead_letters import DeadLetter, Replayed, WholeDeadLetter
from milepost.client.errors import InvalidField, ServerFault
from milepost.client.events import Accepted, UnappliedEvent
from milepost.client.goals import LedgerEntry, Snapshot
from milepost.client.models import (
    FundingSource,
    Goal,
    GoalProgress,
    GoalStatus,
    GoalType,
    Milestone,
    MilestoneProgress,
    NextMilestone,
    Tracking,
    get_celebration_message,
)
from milepost.client.providers import ProviderAccount, RefreshRequest
from milepost.client.records import Exact, Record

MILESTONE = {
    "id": "milestone_1",
    "amount": Decimal("5000.00"),
    "description": "Halfway",
    "target_date": "2026-12-31T00:00:00Z",
    "reached": True,
    "reached_date": "2026-03-01T10:00:00.5Z",
    "celebration": "You are there",
}
GOAL: dict[str, Any] = {
    "id": "goal_1",
    "user_id": "user_123",
    "name": "Emergency Fund",
    "type": "savings",
    "tracking": "change",
    "currency": "USD",
    "target_amount": Decimal("10000.00"),
    "current_amount": Decimal("2500.00"),
    "start_date": "2026-03-01",
    "deadline": None,
    "description": None,
    "status": "active",
    "auto_complete": False,
    "created_at": "2026-03-01T00:00:00Z",
    "updated_at": "2026-03-02T00:00:00Z",
    "version": 3,
    "waiting_for": [],
    "note": None,
    "milestones": [MILESTONE],
}


@pytest.mark.parametrize(
    ("ours", "cores"),
    [
        (GoalType, core.goals.goal.GoalType),
        (Tracking, core.goals.goal.Tracking),
        (GoalStatus, core.goals.goal.GoalStatus),
    ],
)
def test_the_enumerations_are_those_of_core(ours: type[StrEnum], cores: type[StrEnum]) -> None:
    """The face cannot import core's enumerations, so it has its own: the same names and values."""
    assert {member.name: member.value for member in ours} == {member.name: member.value for member in cores}


@pytest.mark.parametrize(
    ("record", "body"),
    [
        (Goal, ListedGoalBody),
        (GoalProgress, ProgressBody),
        (Milestone, MilestoneBody),
        (NextMilestone, NextMilestoneBody),
        (MilestoneProgress, MilestoneProgressBody),
        (FundingSource, FundingBody),
        (LedgerEntry, EntryBody),
        (Snapshot, CloseBody),
        (Account, AccountBody),
        (Report, ReportBody),
        (LastFact, LastFactBody),
        (AccountConnection, ConnectionBody),
        (Allocation, AllocationBody),
        (Allocations, AllocationsBody),
        (Relink, RelinkBody),
        (Accepted, AcceptedBody),
        (UnappliedEvent, UnappliedBody),
        (DeadLetter, LetterBody),
        (WholeDeadLetter, WholeLetterBody),
        (Replayed, ReplayedBody),
        (ProviderAccount, ProviderAccountBody),
        (RefreshRequest, RefreshBody),
    ],
)
def test_a_record_declares_the_fields_of_its_body(record: type[Record], body: type) -> None:
    """Every field that REST answers with is declared, and typed, as an attribute."""
    declared = set(get_type_hints(record)) - set(get_type_hints(Record))
    assert {name.removesuffix("_") for name in declared} == set(get_type_hints(body))
    assert record._NEEDED in set(get_type_hints(body))


def test_a_record_is_read_with_its_types() -> None:
    """Amounts are exact, times aware, enumerations members, milestones records."""
    goal = Goal.of(GOAL)
    assert goal["type"] is GoalType.SAVINGS
    assert (goal.status, goal.tracking) == (GoalStatus.ACTIVE, Tracking.CHANGE)
    assert type(goal.current_amount) is Exact
    assert goal.start_date == date(2026, 3, 1)
    assert goal.created_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert goal.deadline is None
    assert goal.milestones[0].reached_date == datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)
    assert isinstance(goal["milestones"][0], Milestone)


class Everything(Record):
    """A field of each kind."""

    _NEEDED = "text"

    text: str
    anything: Any
    amount: Exact | None
    at: datetime
    on: date | None
    type: GoalType | None
    texts: list[str]
    days: list[date] | None
    inner: Milestone | None
    inners: list[Milestone]
    class_: datetime | None


def test_fields_are_read_as_their_annotations_say() -> None:
    """Also where they may be None, or are lists; a field that is missing, or not declared, is no matter."""
    inner = {"amount": Decimal(1)}
    record = Everything.of(
        {
            "text": "2026-03-01",
            "anything": {"at": "2026-03-01"},
            "amount": 5,
            "at": "2026-03-01T00:00:00Z",
            "on": "2026-03-01",
            "type": "debt",
            "texts": ["2026-03-01"],
            "days": ["2026-03-01"],
            "inner": inner,
            "inners": [inner, inner],
            "class": "2026-03-01T00:00:00",
        }
    )
    assert (record.text, record.anything) == ("2026-03-01", {"at": "2026-03-01"})
    assert (type(record.amount), type(record.inner), [type(each) for each in record.inners]) == (
        Exact,
        Milestone,
        [Milestone] * 2,
    )
    assert (record.at, record.on) == (datetime(2026, 3, 1, tzinfo=UTC), date(2026, 3, 1))
    assert (record.type, record.texts, record.days) == (GoalType.DEBT, ["2026-03-01"], [date(2026, 3, 1)])
    assert record.class_ == record["class"] == datetime(2026, 3, 1)  # noqa: DTZ001
    names = ("amount", "on", "type", "days", "inner", "class")
    assert set(Everything.of({"text": "", **dict.fromkeys(names)}).values()) == {"", None}
    for wrong in ({}, {"text": "", "inners": {}}, {"text": "", "type": "other"}, {"text": "", "days": [3]}):
        with pytest.raises(ServerFault, match="Milepost answered with"):
            Everything.of(wrong)


def test_a_dead_letter_has_its_event_in_one_of_two_forms() -> None:
    """The other one is None."""
    assert WholeDeadLetter.of({"entry_id": "1-0", "event": {"a": 1}}).event_base64 is None
    assert WholeDeadLetter.of({"entry_id": "1-0", "event_base64": "AA=="}).event is None


def test_a_record_is_a_dictionary_with_attributes() -> None:
    """Keys and attributes show and change the same; what is no field is refused as an attribute."""
    goal = Goal.of(GOAL)
    assert isinstance(goal, dict)
    assert set(goal) == set(GOAL)
    goal["name"] = "Rainy days"
    assert goal.name == "Rainy days"
    goal.name = "Sunny days"
    assert {**goal}["name"] == "Sunny days"
    assert not hasattr(goal, "colour")
    with pytest.raises(AttributeError, match="Goal has no colour"):
        goal.colour = "red"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        del goal.name


def test_a_record_can_be_kept_and_copied() -> None:
    """It pickles and copies with its kind, and a copy is another value."""
    goal = Goal.of(GOAL)
    other = copy.deepcopy(goal)
    assert (type(other), other) == (Goal, goal)
    other.milestones.clear()
    assert len(goal.milestones) == 1
    assert pickle.loads(pickle.dumps(goal)) == goal


def test_fields_of_a_newer_version_are_kept() -> None:
    """What this version does not know is in the dictionary as it was answered."""
    goal = Goal.of({**GOAL, "colour": "red"})
    assert goal["colour"] == "red"


def test_from_is_an_attribute_with_an_underscore() -> None:
    """`from` is a keyword of Python, so the attribute is `from_`."""
    body = {"account_id": "a", "allocation_percent": Decimal("60.0"), "from": "2026-03-01T00:00:00Z", "counted": None}
    source = FundingSource.of(body)
    assert source.from_ == source["from"] == datetime(2026, 3, 1, tzinfo=UTC)
    source.from_ = datetime(2026, 4, 1, tzinfo=UTC)
    assert source["from"] == datetime(2026, 4, 1, tzinfo=UTC)
    assert "from_" not in source


def test_the_celebration_of_a_milestone() -> None:
    """A reached milestone has its sentence; one that is not reached is refused by name."""
    assert get_celebration_message(Milestone.of(MILESTONE)) == "You are there"
    for milestone in ({"amount": 1, "celebration": None}, {"amount": 1.0, "reached": False}, {}):
        with pytest.raises(InvalidField, match="milestone: is not reached yet"):
            get_celebration_message(milestone)


@pytest.mark.parametrize(
    ("milestone", "message"),
    [
        ({"amount": 5000.0, "description": "Halfway", "target_date": None}, "5,000.00 (Halfway)."),
        ({"amount": 1234567.891, "description": None}, "1,234,567.89."),
        ({"amount": 5000}, "5,000.00."),
        ({"amount": Exact("5000.000"), "description": " two\nlines "}, "5,000.000 (two lines)."),
        ({"amount": Decimal(5000), "currency": "JPY", "celebration": None}, "5,000 JPY."),
    ],
)
def test_a_dictionary_in_the_documented_structure_is_celebrated(milestone: dict[str, Any], message: str) -> None:
    """It has no sentence of its own; its amount is a float, of which nobody knows the currency."""
    assert get_celebration_message({**milestone, "reached": True}) == f"Milestone reached: {message}"
    for amount in (None, "5000", True):
        with pytest.raises(InvalidField, match="milestone: has no amount that is a number"):
            get_celebration_message({**milestone, "reached": True, "amount": amount})


def test_a_route_may_name_a_record_as_its_type() -> None:
    """FastAPI takes records as return types, alone and in lists, and answers with the documented numbers."""
    app = FastAPI()

    @app.get("/mine")
    def mine() -> list[Goal]:
        return [Goal.of(GOAL)]

    @app.get("/any")
    def untyped():  # type: ignore[no-untyped-def]
        return Goal.of(GOAL)

    client = TestClient(app)
    (goal,) = client.get("/mine").json()
    assert (goal["target_amount"], goal["type"], goal["deadline"]) == (10000.0, "savings", None)
    assert goal["milestones"][0]["amount"] == 5000.0
    assert goal["created_at"] == "2026-03-01T00:00:00Z"
    assert client.get("/any").json()["current_amount"] == 2500.0
    assert app.openapi()["paths"]["/mine"]["get"]["responses"]["200"] is not None
