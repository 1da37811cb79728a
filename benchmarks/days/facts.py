"""The facts that a bench of days applies: what happened yesterday, and facts about days long closed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session, sessionmaker

from benchmarks.days.seed import World, entries
from benchmarks.workload import BenchEvent
from core.ingestion.apply import apply_events

_MINOR = 700


def apply_facts(
    sessions: sessionmaker[Session], world: World, numbers: Sequence[int], age: int, batch_events: int
) -> None:
    """Apply one transaction of so many days ago for each of the accounts, in batches as a drain would."""
    for start in range(0, len(numbers), batch_events):
        some = numbers[start : start + batch_events]
        bodies = (BenchEvent(number, f"of-day-{age}", _MINOR, world.at(age)).to_json() for number in some)
        with sessions.begin() as session:
            apply_events(session, list(entries(world, bodies, start)), world.now)
