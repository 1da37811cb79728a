"""The load has every kind of fact, applied right it is what the oracle says, and the checks see each kind go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from core.events import placement_changes
from core.ingestion import compare
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.due import run_due
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.tenants import DEFAULT
from tests.chaos import broken
from tests.chaos.checks.events import check_facts, fold
from tests.chaos.checks.evidence import Evidence
from tests.chaos.checks.goals import check_accounts
from tests.chaos.load.banks import make_banks
from tests.chaos.load.events import FACT, Event
from tests.chaos.load.producer import DUE_WITHIN_S, Producer
from tests.chaos.load.world import ZONES, World
from tests.chaos.oracle.goals import Oracle
from tests.chaos.verdict import Verdict

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
# By then all has fallen due that does so during a run.
LATER = NOW + timedelta(seconds=DUE_WITHIN_S)
SEED, EVENTS, BATCH = 3, 1_200, 100


@pytest.fixture(scope="module")
def sent() -> list[Event]:
    """The good events of two producers, for both tenants."""
    world = World.of(SEED)
    banks = make_banks(SEED, world, NOW)
    producers = [Producer(number, SEED, world, banks, lambda: NOW) for number in range(2)]
    made = [event for each in producers for tenant in ZONES for event in each.batch(tenant, EVENTS // 4)]
    return [event for event in made if event.outcome == FACT]


def apply_all(sessions: Sessions, events: list[Event]) -> None:
    """Apply the events in batches, as they are sent."""
    with sessions.begin() as session:
        for tenant, zone in ZONES.items():
            if tenant != DEFAULT:
                create_tenant(session, tenant, zone, NOW)
    for start in range(0, len(events), BATCH):
        batch = enumerate(events[start : start + BATCH], start)
        with sessions.begin() as session:
            apply_events(session, [StreamEntry(0, f"{n}-0", NOW, each.tenant, each.body) for n, each in batch], NOW)


def check(engine: Engine, events: list[Event]) -> tuple[Verdict, dict[str, int]]:
    """What facts and worths are wrong later, and how many there are of some kinds."""
    verdict, evidence = Verdict(), replace(Evidence.of(engine), read_at=LATER)
    expected = fold(events, SEED, LATER)
    check_facts(verdict, expected, evidence)
    check_accounts(verdict, {tenant: Oracle(of) for tenant, of in expected.items()}, evidence)
    return verdict, evidence.counts()


def test_a_load_with_everything_in_it_is_applied_right(
    engine: Engine, session_factory: Sessions, sent: list[Event]
) -> None:
    """There are facts of every kind that this has to see, and all are as the oracle says."""
    apply_all(session_factory, sent)
    run_due(session_factory, LATER)
    verdict, counts = check(engine, sent)
    assert verdict.wrong == []
    assert [kind for kind, count in counts.items() if kind != "dead" and not count] == []


# What is replaced by what, and the check that sees it.
PLANTED: dict[str, tuple[object, str, Callable[..., object], str]] = {
    "what came last wins": (compare, "with_statements", broken._state_as_they_come, "worths"),
    "no window takes a row away": (compare, "missing_statements", lambda *_: {}, "worths"),
    "no balance moves a row": (placement_changes, "explaining", lambda *_: {}, "acknowledged is applied"),
    "no row takes the place of an old id": (compare, "_lend", lambda *_: None, "acknowledged is applied"),
    "a kind signs no earlier report": (compare, "read_all_reports", lambda *_: {}, "worths"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_kind_of_fact_that_is_applied_wrong_is_found(
    engine: Engine, session_factory: Sessions, sent: list[Event], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The check that it is for says so."""
    *planted, check_name = PLANTED[what]
    monkeypatch.setattr(*planted)
    apply_all(session_factory, sent)
    run_due(session_factory, LATER)
    verdict, _ = check(engine, sent)
    assert verdict.has_wrong(check_name)


def test_what_falls_due_and_never_counts_is_found(engine: Engine, session_factory: Sessions, sent: list[Event]) -> None:
    """Without the job the rows still wait, and are in no worth."""
    apply_all(session_factory, sent)
    verdict, _ = check(engine, sent)
    assert any("waiting report" in wrong.row for wrong in verdict.wrong)
    assert any("waits until 2026-" in wrong.row for wrong in verdict.wrong)
    assert verdict.has_wrong("worths")
