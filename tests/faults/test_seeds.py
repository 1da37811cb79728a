"""All of a run follows from its seed: events, their order, goals, and which fault comes when."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.budget import examples
from tests.chaos.faults.schedule import FAULTS, LONG_FAULTS, steps
from tests.chaos.load.banks import make_banks
from tests.chaos.load.events import FACT, NOTHING, SPOILINGS, Event, Maker, money, spoil
from tests.chaos.load.producer import Producer
from tests.chaos.load.world import World
from tests.chaos.oracle.facts import TenantFacts, minor

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SEEDS = st.integers(0, 2**32)


def produced(seed: int, batches: int, number: int = 0) -> list[Event]:
    """What a producer of a seed makes, at one moment."""
    world = World.of(seed)
    producer = Producer(number, seed, world, make_banks(seed, world, NOW), lambda: NOW)
    return [event for n in range(batches) for event in producer.batch("default" if n % 2 else "auckland", 1 + n % 40)]


@settings(max_examples=examples(10))
@given(SEEDS)
def test_a_seed_makes_the_same_world_events_and_faults_again(seed: int) -> None:
    """Two producers of one seed make the same bytes in the same order, and two schedules have the same steps."""
    assert World.of(seed) == World.of(seed)
    assert produced(seed, 6) == produced(seed, 6)
    assert list(itertools.islice(steps(seed, 10), 50)) == list(itertools.islice(steps(seed, 10), 50))


@given(SEEDS)
def test_every_round_has_every_fault(seed: int) -> None:
    """Before any kind comes again, each has come; only a long run has those that last long."""
    first = Counter(step.fault.name for step in itertools.islice(steps(seed, 1), len(FAULTS)))
    assert first == Counter(fault.name for fault in FAULTS)
    most = len(FAULTS) + len(LONG_FAULTS)
    of_long_run = Counter(step.fault.name for step in itertools.islice(steps(seed, 10), most))
    assert of_long_run == Counter(fault.name for fault in (*FAULTS, *LONG_FAULTS))


@settings(max_examples=examples(10))
@given(SEEDS)
def test_an_event_has_one_id_and_one_body(seed: int) -> None:
    """A repetition is byte for byte the same, and no two events of two producers share an id."""
    bodies: dict[str, bytes] = {}
    for event in produced(seed, 30):
        assert bodies.setdefault(event.event_id, event.body) == event.body
    assert not bodies.keys() & {event.event_id for event in produced(seed, 5, number=1)}


def test_the_load_has_everything_in_it() -> None:
    """Among some thousand events there are all kinds, a tenth of repetitions, and every way to be wrong."""
    events = produced(7, 400)
    facts = [json.loads(event.body) for event in events if event.outcome == FACT]
    assert {fact["type"] for fact in facts} == {
        "milepost.transaction.recorded",
        "milepost.transaction.removed",
        "milepost.balance.reported",
        "milepost.window.reported",
        "milepost.account.changed",
        "milepost.connection.changed",
    }
    assert 0.05 < 1 - len({event.event_id for event in events}) / len(events) < 0.15
    assert any(len(event.body) > 10_000_000 for event in events)
    spoilt = {spoil(event, how, NOW).outcome for event in [_transaction()] for how in SPOILINGS}
    assert {event.outcome for event in events} - {FACT, NOTHING} == spoilt


def _transaction() -> Event:
    account = World.of(1).accounts[0]
    return Maker("s", "default").transaction("e", NOW, account, "t", 100, NOW.isoformat())


@given(st.integers(-(10**12), 10**12), st.sampled_from(["USD", "JPY", "KWD"]))
def test_amounts_are_written_exactly(amount: int, currency: str) -> None:
    """What the load writes is what the oracle reads."""
    assert minor(money(amount, currency), currency) == amount


@settings(max_examples=examples(10))
@given(SEEDS, st.randoms(use_true_random=False))
def test_the_oracle_has_the_same_facts_in_any_order(seed: int, chance: object) -> None:
    """Events shuffled, and applied twice, leave the same facts."""
    events = [event.body for event in produced(seed, 12) if event.outcome == FACT and event.tenant == "default"]
    shuffled = events * 2
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = TenantFacts("UTC"), TenantFacts("UTC")
    for body in events:
        one.apply(body)
    for body in shuffled:
        other.apply(body)
    assert one == other
