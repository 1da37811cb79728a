"""All checks of a run, after the load has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import httpx2
from sqlalchemy import Engine

from core.store.database import Sessions
from core.verify.verify import verify
from tests.chaos.checks.events import applied_events, check_dead, check_facts, check_sent, fold
from tests.chaos.checks.evidence import Evidence
from tests.chaos.checks.goals import (
    check_accounts,
    check_amounts,
    check_closes,
    check_ledger,
    check_milestones,
    expect_goals,
)
from tests.chaos.checks.messages import Arrived, check_messages
from tests.chaos.checks.rebuild import check_rebuild
from tests.chaos.checks.requests import check_requests
from tests.chaos.checks.rest import check_rest
from tests.chaos.load.sent_log import SentLog
from tests.chaos.operations.log import GoalLog
from tests.chaos.oracle.goals import Oracle
from tests.chaos.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Run:
    """What is checked after a run: the database, the logs of events and requests, the messages, and the API."""

    seed: int
    engine: Engine
    sessions: Sessions
    sent_log: SentLog
    goals: Sequence[GoalLog]
    arrived: Arrived
    clients: Mapping[str, httpx2.Client]


def check_all(run: Run, verdict: Verdict, say: Callable[[str], None]) -> dict[str, int]:
    """Run all checks; all that is due must be counted, and days closed. Returns the number of facts of some kinds."""
    evidence = Evidence.of(run.engine)
    standing = evidence.standing()
    events = applied_events(run.sent_log, standing)
    say(f"comparing {len(events):,} events with the oracle")
    facts = fold(events, run.seed, evidence.read_at)
    check_sent(verdict, run.sent_log, evidence)
    check_facts(verdict, facts, evidence)
    check_dead(verdict, run.sent_log, evidence)
    check_requests(verdict, run.goals, evidence)
    oracles = {tenant: Oracle(of) for tenant, of in facts.items()}
    check_accounts(verdict, oracles, evidence)
    # A tenant whose days were not closed in time is recorded already; the rest can still be checked.
    closed = {row["tenant"]: row["closed_through"] or date.min for row in evidence["tenants"]}
    goals = expect_goals(run.goals, evidence, oracles, closed)
    check_amounts(verdict, goals, oracles)
    check_closes(verdict, goals, evidence)
    check_ledger(verdict, goals, evidence)
    check_milestones(verdict, goals, oracles, evidence)
    counts = check_messages(verdict, run.arrived, goals, evidence)
    say("asking for every goal over REST")
    check_rest(verdict, goals, run.clients)
    say("milepost verify")
    check_by_verify(verdict, run.sessions)
    if verdict.has_wrong("requests"):
        say("the requests are not those that were made, so they cannot be repeated")
    else:
        say("applying everything once more to a fresh database")
        check_rebuild(verdict, run.engine, run.goals, events, evidence, closed, run.seed)
    return evidence.counts() | counts


def check_by_verify(verdict: Verdict, sessions: Sessions) -> None:
    """`milepost verify`, which computes the same in SQL."""
    found = verify(sessions, datetime.now(UTC))
    rows = [f"{wrong.row}: {wrong.what}: stored {wrong.stored}, expected {wrong.expected}" for wrong in found.first]
    verdict.record("milepost verify", sum(found.checked.values()), rows)
