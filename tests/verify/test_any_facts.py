"""Whatever the facts and their order, the verification computes what is stored."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.jobs.snapshot import run_snapshot
from core.store.database import Sessions
from core.verify.verify import verify
from tests.acts import balance, goal, link, paid
from tests.budget import examples
from tests.conftest import Apply
from tests.ingestion.test_any_order import facts, shuffled_and_split
from tests.snapshots import test_closes_any_order as closes


@settings(max_examples=examples(12))
@given(
    st.sampled_from(closes.PLACES),
    st.lists(facts(), min_size=1, max_size=24),
    st.lists(closes.memberships, max_size=4),
    st.integers(0, 2**32),
)
def test_nothing_is_wrong_at_any_moment(
    session_factory: Sessions,
    apply: Apply,
    place: tuple[str, date],
    made: list[dict[str, Any]],
    joins: list[tuple[int, int, str]],
    seed: int,
) -> None:
    """After each of any number of facts in any order, operations and runs of the snapshot job, nothing is wrong."""
    world, operations = closes.build(session_factory, place)
    events = [closes._stated_fact(world, fact) for fact in made]
    events += [closes._joined(world, number, *join) for number, join in enumerate(joins)]
    batches = shuffled_and_split(events, seed)
    chance = random.Random(seed)
    clock, latest = world.at(days=4), world.at(days=closes.DAYS + 1)

    def check() -> None:
        found = verify(session_factory, latest, tenant=world.tenant.name, keys_at_once=chance.choice([2, 2_000]))
        assert found.first == ()

    while batches or operations:
        if operations and (not batches or chance.random() < 0.35):
            clock, operation = operations.pop(0)
            operation()
        else:
            apply(batches.pop(0), tenant=world.tenant.name, at=latest)
        if chance.random() < 0.3:
            run_snapshot(session_factory, clock, tenant=world.tenant.name)
        if chance.random() < 0.3:
            check()
    check()
    run_snapshot(session_factory, latest, tenant=world.tenant.name)
    check()


def test_what_an_open_day_takes_back_is_closed_right(session_factory: Sessions, apply: Apply) -> None:
    """A late fact that a report of an open day takes back moves the closed days; the open day moves back again."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    made_at, late_at, reported_at = (start + timedelta(days=number, hours=6) for number in (4, 5, 9))
    goal_id = goal(session_factory, made_at)
    link(session_factory, made_at, goal_id, "a", "100", date(2026, 3, 4))
    apply([balance(1000_00, start + timedelta(days=4))], at=made_at)
    run_snapshot(session_factory, start + timedelta(days=8, hours=5))
    apply([balance(1000_00, reported_at)], at=reported_at)
    apply([paid("late", 50_00, late_at)], at=reported_at)
    for day in (9, 10):
        run_snapshot(session_factory, start + timedelta(days=day, hours=12))
        assert verify(session_factory, reported_at).first == ()
