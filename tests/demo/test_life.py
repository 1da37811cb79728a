"""The lives of the demo's people: believable, and the same each time."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.events.envelope import check_envelope, parse_json
from core.events.facts import AccountKind
from core.goals.goal import DebtForm, GoalStatus, GoalType, Tracking, span_of
from core.goals.money import to_minor
from core.ingestion.parse import parse_event
from core.store.tenants import Tenant
from milepost.demo.life import Life, TimedEvent
from milepost.demo.people import PEOPLE
from milepost.demo.rules import How, Valued
from tests.demo.conftest import BEGIN, TODAY

ACCOUNTS = {account.account_id: account for person in PEOPLE for account in person.accounts}
GOALS = [goal for person in PEOPLE for goal in person.goals]
RECORDED, REMOVED, REPORTED = (
    f"milepost.{name}" for name in ("transaction.recorded", "transaction.removed", "balance.reported")
)


def read(sent: TimedEvent) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(sent.body, parse_float=Decimal)
    return event


def test_a_life_is_the_same_each_time(timed_events: list[TimedEvent]) -> None:
    """The same first day gives the same events, to the byte and in the same order."""
    assert Life(PEOPLE, BEGIN).through(TODAY) == timed_events


def test_a_life_in_steps_is_the_whole_life(timed_events: list[TimedEvent]) -> None:
    """In steps of any length, down to hours, a life gives the same events as in one step."""
    life, steps, moment = Life(PEOPLE, BEGIN), [], TODAY - timedelta(days=730)
    for step in (timedelta(days=1), timedelta(days=400), timedelta(hours=7), timedelta(minutes=1), timedelta(days=200)):
        moment += step
        steps += life.through(moment)
    assert steps == timed_events[: len(steps)]
    assert steps + life.through(TODAY) == timed_events


def test_every_event_is_one_of_ours(timed_events: list[TimedEvent]) -> None:
    """Each event parses at the moment at which it is sent, for its account, and is not dated after that moment."""
    zone = Tenant("default", "UTC").zone
    for sent in timed_events:
        envelope = check_envelope(parse_json(sent.body))
        facts = parse_event(envelope, zone, sent.at)
        assert [fact.account_id for fact in facts] == [sent.account_id]
        assert envelope.time <= sent.at


def test_there_is_some_of_everything(timed_events: list[TimedEvent]) -> None:
    """Two years are 10,000 to 25,000 events, with repeated ones, late ones, pending ones, and some taken back."""
    assert 10_000 < len(timed_events) < 25_000
    events = [read(sent) for sent in timed_events]
    repeated = len(events) - len({event["id"] for event in events})
    assert 100 < repeated < len(events) / 20
    recorded = [event["data"] for event in events if event["type"] == RECORDED]
    pending = {data["transaction_id"] for data in recorded if data["pending"]}
    replaced = {data["replaces"] for data in recorded if "replaces" in data}
    removed = {event["data"]["transaction_id"] for event in events if event["type"] == REMOVED}
    assert len(pending) > 1_000
    assert removed
    assert not removed & replaced
    assert removed | replaced <= pending
    # What is neither yet was pending a few days ago at the most.
    assert len(pending - replaced - removed) < 30
    late = [
        sent
        for sent, event in zip(timed_events, events, strict=True)
        if "replaces" in event["data"]
        and sent.at - datetime.fromisoformat(event["data"]["posted_at"]).replace(tzinfo=UTC) > timedelta(days=2)
    ]
    assert len(late) > 20


def test_reports_are_what_the_transactions_come_to() -> None:
    """Where no market moves an account, each report is the opening one and the posted transactions until its day."""
    life = Life(PEOPLE, BEGIN)
    # Ten days more, so that late events have been sent.
    everything = life.through(TODAY + timedelta(days=10))
    events = list({event["id"]: event for event in map(read, everything)}.values())
    valued = {rule.account_id for person in PEOPLE for rule in person.rules if isinstance(rule, Valued)}
    for account_id in ACCOUNTS.keys() - valued:
        own = [event["data"] for event in events if event["data"]["account_id"] == account_id]
        posted = sorted(
            (date.fromisoformat(data["posted_at"][:10]), minor(data, "amount"))
            for data in own
            if data.get("pending") is False
        )
        reports = {
            data["as_of"]: minor(data, "current") for data in own if "as_of" in data and data["as_of"] <= "2026-03-10"
        }
        assert len(reports) > 20
        sign = -1 if ACCOUNTS[account_id].kind is AccountKind.LIABILITY else 1
        for as_of, current in reports.items():
            expected = ACCOUNTS[account_id].worth_minor + sum(
                m for day, m in posted if day <= date.fromisoformat(as_of)
            )
            assert sign * current == expected, (account_id, as_of)


def minor(data: dict[str, Any], field: str) -> int:
    return to_minor(data[field], data["currency"], field)


@pytest.mark.parametrize("begin", [date(2024, 1, 31), date(2024, 11, 24), date(2025, 6, 15)], ids=str)
def test_nobody_is_overdrawn(begin: date) -> None:
    """Whenever a life begins, what is owned stays above zero, what is owed is paid down, and nobody gets rich."""
    life = Life(PEOPLE, begin)
    for day in range(730):
        life.through(datetime.combine(begin + timedelta(days=day), datetime.min.time(), UTC))
        assets = {name: worth for name, worth in life.worths.items() if ACCOUNTS[name].kind is AccountKind.ASSET}
        assert min(assets.values()) >= 0, (day, assets)
    for name in ("demo-ana-card", "demo-ana-student-loan", "demo-ben-mortgage", "demo-kenji-scholarship"):
        assert life.worths[name] > ACCOUNTS[name].worth_minor
    for account in ACCOUNTS.values():
        assert abs(life.worths[account.account_id]) < 20 * abs(account.worth_minor)


def test_the_goals_are_of_every_kind() -> None:
    """All types and trackings, both forms of debt, whole links, all statuses but abandoned."""
    assert {goal.type for goal in GOALS} == set(GoalType)
    trackings = {goal.tracking for goal in GOALS} | {Tracking.CHANGE}
    assert trackings >= {Tracking.CHANGE, Tracking.BALANCE, Tracking.NET_WORTH}
    # Left to the default, income is tracked by inflow.
    assert any(goal.type is GoalType.INCOME and goal.tracking is None for goal in GOALS)
    debts = [goal for goal in GOALS if goal.type is GoalType.DEBT]
    forms = {span_of(goal.type, int(goal.target) * 100, int(goal.current or goal.target) * 100).form for goal in debts}
    assert forms == set(DebtForm)
    assert any(link.whole for goal in GOALS for link in goal.links)
    assert any(goal.auto_complete for goal in GOALS)
    assert any(goal.status is GoalStatus.PAUSED for goal in GOALS)
    assert any(goal.ends_as is GoalStatus.COMPLETED for goal in GOALS)
    assert all(milestone.in_days for goal in GOALS for milestone in goal.milestones)
    assert Counter(account.currency for account in ACCOUNTS.values()).keys() == {"USD", "EUR", "JPY"}
    assert {rule.how for person in PEOPLE for rule in person.rules if hasattr(rule, "how")} >= {How.CARD, How.BOOKED}
