"""The rebuild: everything is applied once to a fresh database, in another order, and the rows must be the same.

The requests come first, each with the time at which the running system did it, then the events, shuffled, each once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from random import Random

from sqlalchemy import Engine, create_engine, text

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, link_account, unlink_account
from core.services.goals import create_goal, update_goal
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft, MilestoneDraft
from core.services.keys import prepare_database
from core.services.milestones import add_milestone
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Session
from core.store.tenants import DEFAULT, Tenant
from tests.chaos.checks.evidence import Evidence, Row
from tests.chaos.load.events import Event, money
from tests.chaos.load.world import ZONES
from tests.chaos.operations.log import GoalLog, Operation
from tests.chaos.system.system import engine_at, sessions_at
from tests.chaos.verdict import Verdict

_DATABASE = "chaos_again"
_BATCH = 500
_MICROSECOND = timedelta(microseconds=1)
# The columns that must be the same. Goals have other ids there, so they are identified by their unique names. When a
# row with an instant was first reported no table tells for sure (see Event.outlives), and nothing depends on it.
_SAME = {
    "accounts": """SELECT tenant, account_id, currency, user_id, user_id_rank, kind, kind_rank, name, name_rank, closed,
        closed_rank, replaced_by, replaced_by_rank, replaced_from, replaced_from_rank, opened, opened_rank, connection,
        connection_rank, connection_reason, connection_reason_rank, opening_minor, worth_minor,
        inflow_minor, first_report_at, last_report_at,
        joined_as, counts_from, counts_until FROM accounts""",
    "transactions": """SELECT tenant, account_id, transaction_id, amount_minor, currency, posted_at, pending, removed,
        counts, replaces, category, description, event_time, source, event_id, dated, due_at, missing, lent_at,
        CASE WHEN dated IS NOT NULL OR booked_on IS NOT NULL THEN first_reported END, booked_on,
        CASE WHEN booked_on IS NOT NULL THEN booked_minor END
        FROM transactions""",
    "reports": """SELECT tenant, account_id, as_of, current_minor, available_minor, currency, residual_minor, gap_minor,
        has_moved, event_time, source, event_id FROM reports""",
    "waiting reports": """SELECT tenant, account_id, as_of, current_minor, available_minor, currency, event_time,
        source, event_id, due_at FROM waiting_reports""",
    "windows": "SELECT tenant, account_id, source, event_time, from_day, through_day FROM windows",
    "account_days": "SELECT tenant, account_id, day, moved_minor, residual_minor, inflow_minor FROM account_days",
    "goals": """SELECT tenant, name, amount_minor, waiting_for, start_minor, finish_minor, manual_minor, manual_at
        FROM goals""",
    "links": """SELECT g.tenant, g.name, l.account_id, l.from_at, l.until_at, l.ppm, l.begin_at, l.base_minor,
        l.end_minor FROM goals g JOIN links l ON l.tenant = g.tenant AND l.goal_id = g.goal_id""",
    "closes": """SELECT g.tenant, g.name, s.day, s.amount_minor
        FROM goals g JOIN goal_snapshots s ON s.tenant = g.tenant AND s.goal_id = g.goal_id WHERE s.day <= :through""",
}


def check_rebuild(
    verdict: Verdict,
    engine: Engine,
    goals: Sequence[GoalLog],
    events: Sequence[Event],
    evidence: Evidence,
    closed: Mapping[str, date],
    seed: int,
) -> None:
    """Apply everything to a fresh database and compare it with that of `engine`; `closed` is by tenant."""
    with _fresh_database(engine) as (again, sessions):
        with sessions.begin() as session:
            for tenant, zone in ZONES.items():
                if tenant != DEFAULT:
                    create_tenant(session, tenant, zone, datetime.now(UTC))
        for goal in goals:
            _RepeatedGoal(sessions, goal, evidence).run()
        _apply(sessions, Random(f"{seed}:rebuild").sample(events, len(events)))
        for tenant, through in closed.items():
            if through > date.min:
                run_snapshot(sessions, datetime.now(UTC), tenant=tenant, through=through)
        through = min(closed.values())
        for table, query in _SAME.items():
            stored, expected = _rows(engine, query, through), _rows(again, query, through)
            rows = [f"{table}: only in the run: {row}" for row in sorted(stored - expected)]
            rows += [f"{table}: only when applied again: {row}" for row in sorted(expected - stored)]
            verdict.record("applied again from zero", len(stored | expected), rows)


@contextmanager
def _fresh_database(engine: Engine) -> Iterator[tuple[Engine, Sessions]]:
    server = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    url = engine.url.set(database=_DATABASE).render_as_string(hide_password=False)
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {_DATABASE}"))
        prepare_database(url, None)
        again = engine_at(url)
        try:
            with sessions_at(url) as sessions:
                yield again, sessions
        finally:
            again.dispose()
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {_DATABASE} WITH (FORCE)"))
    finally:
        server.dispose()


def _rows(engine: Engine, query: str, through: date) -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(text(query), {"through": through} if ":through" in query else {})
        return {" ".join(str(value) for value in row) for row in found}


def _apply(sessions: Sessions, events: Sequence[Event]) -> None:
    for start in range(0, len(events), _BATCH):
        now = datetime.now(UTC)
        numbered = enumerate(events[start : start + _BATCH], start)
        entries = [StreamEntry(0, f"{n}-0", now, event.tenant, event.body) for n, event in numbered]
        with sessions.begin() as session:
            apply_events(session, entries, now)


class _RepeatedGoal:
    """Repeats one goal's requests, each with the time that it had in the running system."""

    def __init__(self, sessions: Sessions, goal: GoalLog, evidence: Evidence) -> None:
        own = goal.tenant, goal.goal_id
        self._sessions = sessions
        self._goal = goal
        self._tenant = Tenant(goal.tenant, ZONES[goal.tenant])
        (self._row,) = [row for row in evidence["goals"] if row["goal_id"] == goal.goal_id]
        self._links = iter(evidence.of_goal("links", *own))
        self._manual = iter(evidence.of_goal("manual_amounts", *own))
        self._milestones = evidence.of_goal("milestones", *own)
        self._open: dict[str, Row] = {}
        self._goal_id = ""

    def run(self) -> None:
        """Repeat all requests in their order."""
        for operation in self._goal.operations:
            with self._sessions.begin() as session:
                self._do(session, operation)

    def _do(self, session: Session, operation: Operation) -> None:
        match operation.verb:
            case "create":
                self._create(session)
            case "link":
                row = self._begin()
                at = row["linked_at"] if operation.since is None else row["linked_at"] - _MICROSECOND
                draft = LinkDraft(operation.account_id, None, _percent(operation.ppm), operation.since)
                link_account(session, self._tenant, self._goal_id, draft, at)
            case "allocate":
                row = self._begin()
                percent = _percent(operation.ppm)
                change_allocation(session, self._tenant, self._goal_id, operation.account_id, percent, row["linked_at"])
            case "unlink":
                ended = self._open.pop(operation.account_id)["until_at"]
                unlink_account(session, self._tenant, self._goal_id, operation.account_id, ended)
            case "type":
                row, currency = next(self._manual), self._goal.plan.currency
                changes = GoalChanges(current_amount=money(row["amount_minor"], currency))
                update_goal(session, self._tenant, self._goal_id, changes, row["manual_at"])
            case "abandon":
                changes = GoalChanges(status=GoalStatus.ABANDONED)
                update_goal(session, self._tenant, self._goal_id, changes, self._row["final_at"])
            case _:
                # A pause changes no amount.
                pass

    def _create(self, session: Session) -> None:
        plan = self._goal.plan
        draft = GoalDraft(
            user_id=plan.user_id,
            name=plan.name,
            type=GoalType(plan.type),
            target_amount=money(plan.target_minor, plan.currency),
            current_amount=None if plan.current_minor is None else money(plan.current_minor, plan.currency),
            currency=plan.currency,
            tracking=Tracking(plan.tracking),
            start_date=self._row["start_date"],
        )
        self._goal_id = create_goal(session, self._tenant, draft, self._row["created_at"]).goal_id
        for row in self._milestones:
            milestone = MilestoneDraft(money(row["amount_minor"], plan.currency))
            add_milestone(session, self._tenant, self._goal_id, milestone, row["created_at"])

    def _begin(self) -> Row:
        row = next(self._links)
        self._open[row["account_id"]] = row
        return row


def _percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000:04}"
