"""The trickle after the filling."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from core.events.envelope import check_envelope, parse_json
from core.goals.goal import GoalType
from core.ingestion.parse import parse_event
from core.store.tenants import Tenant
from milepost.demo.life import Life
from milepost.demo.people import PEOPLE
from milepost.demo.trickle import Trickle, ripples_of
from tests.demo.conftest import BEGIN, TODAY


def trickle() -> tuple[Trickle, Life]:
    life = Life(PEOPLE, BEGIN)
    life.through(TODAY)
    return Trickle(ripples_of(life.worths), Random(7)), life


def test_a_dozen_seconds_move_a_goal_of_every_type() -> None:
    """Six ticks touch accounts that fund goals of all six types."""
    trickling, _ = trickle()
    touched = {sent.account_id for _ in range(6) for sent in trickling.tick(TODAY)}
    moved = {
        goal.type
        for person in PEOPLE
        for goal in person.goals
        for account_id in ([link.account_id for link in goal.links] or [a.account_id for a in person.accounts])
        if account_id in touched
    }
    assert moved == set(GoalType)


def test_a_long_trickle_changes_nobodys_life() -> None:
    """Over hours every event is one of ours, no id comes twice, and what is moved stays within small bounds."""
    trickling, life = trickle()
    zone = Tenant("default", "UTC").zone
    moved = dict.fromkeys(life.worths, 0)
    ids = set()
    for number in range(5_000):
        now = TODAY + timedelta(seconds=2 * number)
        for sent in trickling.tick(now):
            envelope = check_envelope(parse_json(sent.body))
            (fact,) = parse_event(envelope, zone, now)
            ids.add(envelope.event_id)
            if fact.transaction is not None:
                moved[sent.account_id] += fact.transaction.amount_minor
            if fact.report is not None:
                worth = life.worths[sent.account_id]
                assert abs(fact.report.current_minor - worth) < worth // 30
    assert len(ids) == trickling._number
    bounds = {"demo-kenji-futsu": 12_000}
    for account_id, sum_minor in moved.items():
        assert abs(sum_minor) < bounds.get(account_id, 400_00), account_id
