"""All checks of a run, once nothing moves any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import httpx2
from sqlalchemy import Engine

from core.store.engine import session_factory
from core.verify.verify import verify
from tests.chaos.checks.events import check_dead, check_facts, check_sent, fold, heard
from tests.chaos.checks.evidence import Evidence
from tests.chaos.checks.goals import check_accounts, check_amounts, check_closes, check_ledger, check_milestones, judge
from tests.chaos.checks.rebuild import check_rebuild
from tests.chaos.checks.requests import check_requests
from tests.chaos.checks.rest import check_rest
from tests.chaos.load.sent_log import Book
from tests.chaos.operations.log import Acted
from tests.chaos.oracle.goals import Oracle
from tests.chaos.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Run:
    """What a run has left to be judged."""

    seed: int
    engine: Engine
    book: Book
    goals: Sequence[Acted]
    clients: Mapping[str, httpx2.Client]


@dataclass(frozen=True, slots=True)
class Applied:
    """How many events have a statement that stands, and how many letters there are."""

    standing: int
    dead: int


def check_all(run: Run, verdict: Verdict, say: Callable[[str], None]) -> Applied:
    """Hold everything against everything; days must be closed."""
    evidence = Evidence.of(run.engine)
    standing = evidence.standing()
    events = heard(run.book, standing)
    say(f"holding {len(events):,} events against the oracle")
    books = fold(events, run.seed)
    check_sent(verdict, run.book, evidence)
    check_facts(verdict, books, evidence)
    check_dead(verdict, run.book, evidence)
    check_requests(verdict, run.goals, evidence)
    oracles = {tenant: Oracle(of) for tenant, of in books.items()}
    check_accounts(verdict, oracles, evidence)
    # A tenant none of whose days was closed in time is told of already; what else there is can still be judged.
    closed = {row["tenant"]: row["closed_through"] or date.min for row in evidence["tenants"]}
    judged = judge(run.goals, evidence, oracles, closed)
    check_amounts(verdict, judged, oracles)
    check_closes(verdict, judged, evidence)
    check_ledger(verdict, judged, evidence)
    check_milestones(verdict, judged, oracles, evidence)
    say("asking for every goal over REST")
    check_rest(verdict, judged, run.clients)
    say("milepost verify")
    check_by_verify(verdict, run.engine)
    if verdict.has_wrong("requests"):
        say("the requests are not those that were made, so they cannot be made once more")
    else:
        say("telling a fresh database all of it once more")
        check_rebuild(verdict, run.engine, run.goals, events, evidence, closed, run.seed)
    return Applied(len(standing), len(evidence["dead_letters"]))


def check_by_verify(verdict: Verdict, engine: Engine) -> None:
    """The second way, in SQL, which promises the same of any database."""
    found = verify(session_factory(engine), datetime.now(UTC))
    rows = [f"{wrong.row}: {wrong.what}: stored {wrong.stored}, expected {wrong.expected}" for wrong in found.first]
    verdict.hold("milepost verify", sum(found.checked.values()), rows)
