"""Any permutation, any duplication, any split of providers' bodies: the same state."""

from __future__ import annotations

import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.store.database import Sessions
from core.store.driver import Sql
from tests.budget import examples
from tests.conformance.histories import HISTORIES
from tests.conformance.world import World, build

GOALS = ("emergency", "nest egg", "net worth")
FACTS = {
    "transactions": "transaction_id, amount_minor, posted_at, pending, removed, counts, replaces, event_time, event_id",
    "reports": "as_of, current_minor, residual_minor, event_time, event_id",
}


# An example takes a tenth of a second, so making a failing one smaller would take a minute.
@pytest.mark.parametrize("dialect", HISTORIES)
@settings(max_examples=examples(8), phases=[Phase.explicit, Phase.generate])
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_any_order_of_bodies_leaves_the_same_state(
    session_factory: Sessions, dialect: str, data: st.DataObject, seed: int
) -> None:
    """Bodies told in turn and once, and their events shuffled, repeated and split with closes in between."""
    bodies = data.draw(HISTORIES[dialect])
    events = [event.event for body in bodies for event in body]
    quiet, wild = build(session_factory, GOALS), build(session_factory, GOALS)
    for body in bodies:
        quiet.apply([event.event for event in body])
    chance = random.Random(seed)
    told = events + [event for event in events if chance.random() < 0.4]
    chance.shuffle(told)
    while told:
        size = chance.randint(1, 9)
        wild.apply(told[:size])
        told = told[size:]
        if chance.random() < 0.2:
            wild.close()
    for world in (quiet, wild):
        world.close()
    assert wild.state() == quiet.state()
    for table, columns in FACTS.items():
        assert rows(wild, table, columns) == rows(quiet, table, columns)


def rows(world: World, table: str, columns: str) -> list[tuple[object, ...]]:
    """What stands of each fact."""
    with world.sessions() as session:
        question = Sql(f"SELECT {columns} FROM {table} WHERE tenant = :t ORDER BY 1")
        return question.rows(session, {"t": world.tenant.name})
