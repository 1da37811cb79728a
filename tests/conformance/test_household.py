"""One household's half-year, told by every provider: the same worths, amounts, days and closes."""

from __future__ import annotations

import random
from functools import partial

import pytest

from core.providers.registry import PROVIDERS
from core.store.database import Sessions
from tests.conformance.histories import HISTORIES
from tests.conformance.household import ACCOUNTS, LAST, MOVES, SILENT, pulls
from tests.conformance.tellers import TELLINGS, Telling, first_told
from tests.conformance.world import World, build, expected


def tell(world: World, events: Telling, chance: random.Random) -> None:
    """The events in another order, a third of them twice, in batches of any size, with days closed in between."""
    told = events + [event for event in events if chance.random() < 0.3]
    chance.shuffle(told)
    while told:
        size = chance.choice([1, 7, 60, 400, 1_500])
        batch, told = told[:size], told[size:]
        world.apply(batch)
        if chance.random() < 0.2:
            world.close()


def test_the_story_has_what_can_go_wrong() -> None:
    """Pending rows, late ones, edits, a phantom, equal rows, a silent month, debts: or it would prove little."""
    assert {account.kind for account in ACCOUNTS} == {"asset", "liability"}
    assert any(move.pending_from for move in MOVES)
    assert any(len(move.edits) == 2 and move.edits[1][1] == move.cents for move in MOVES)
    assert any(move.is_phantom for move in MOVES)
    assert any((move.seen - move.day).days > 10 for move in MOVES)
    assert len({(m.account, m.day, m.cents) for m in MOVES if m.text == "COFFEE"}) == 1
    assert not any(SILENT[0] <= moment.date() <= SILENT[1] for moment in pulls())
    assert all(move.seen < LAST for move in MOVES)


def test_every_provider_tells_the_story() -> None:
    """And is tried with random histories; so a new one is, too."""
    with_bodies = {provider.name for provider in PROVIDERS if provider.formats}
    assert set(TELLINGS) == {"plain", *with_bodies}
    assert set(HISTORIES) == with_bodies


@pytest.mark.parametrize("dialect", TELLINGS)
def test_every_telling_ends_in_what_the_story_says(session_factory: Sessions, dialect: str) -> None:
    """Duplicated, shuffled and split: every worth, amount and close is the plain oracle's."""
    world = build(session_factory)
    tell(world, TELLINGS[dialect](), random.Random(f"{dialect}1"))
    world.close()
    state = world.state()
    for part, said in expected(partial(first_told, dialect)).items():
        assert state[part] == said, part


def test_all_tellings_leave_the_same_days(session_factory: Sessions) -> None:
    """What moved on which day, and what only the balances said, depends on the household and not on its bank.

    Enable Banking gives some rows their key a week later, so that balances decide nothing about their days.
    """
    states = {}
    for dialect, telling in TELLINGS.items():
        world = build(session_factory)
        tell(world, telling(), random.Random(dialect))
        world.close()
        states[dialect] = world.state()
    for dialect, state in states.items():
        days_too = state if dialect != "enablebanking" else state | {n: states["plain"][n] for n in ("days", "closes")}
        assert days_too == states["plain"], dialect
    assert any(residual for _, _, _, residual, _ in states["plain"]["days"])
