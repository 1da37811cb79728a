"""A tenant with goals of every tracking on the household's accounts, and what the definitions say of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from core.goals.goal import GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import run_snapshot
from core.services.funding import link_account
from core.services.goals import create_goal, get_goal
from core.services.history import read_snapshots
from core.services.inputs import GoalDraft, LinkDraft
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Session, Sql
from core.store.tenants import Tenant
from tests.conformance.household import ACCOUNTS, FIRST, LAST, MOVES, TOLD_AT, ZONE, Move, balance, pulls
from tests.ingestion.oracle import OracleAccount, apply_fact
from tests.snapshots.close_oracle import OracleGoal, OraclePeriod, first_instant

_numbers = itertools.count(1)
MADE_AT = datetime(2026, 1, 1, 5, tzinfo=UTC)
DIRECTIONS = {GoalType.DEBT: -1}

# name: type, tracking, target, typed amount, links (account, percent, whole)
GOALS: dict[str, tuple[GoalType, Tracking, str, int, list[tuple[str, str, bool]]]] = {
    "emergency": (
        GoalType.SAVINGS,
        Tracking.CHANGE,
        "9000",
        500,
        [("savings", "60", False), ("checking", "25", False)],
    ),
    "income": (GoalType.INCOME, Tracking.INFLOW, "30000", 0, [("checking", "100", False)]),
    "nest egg": (GoalType.CUSTOM, Tracking.BALANCE, "20000", 1, [("savings", "33.3333", False)]),
    "debts": (GoalType.DEBT, Tracking.BALANCE, "190000", 183_040, [("card", "100", True), ("mortgage", "100", True)]),
    "mortgage": (GoalType.DEBT, Tracking.CHANGE, "182400", 182_400, [("mortgage", "100", False)]),
    "net worth": (GoalType.NET_WORTH, Tracking.NET_WORTH, "100000", 7, []),
}


@dataclass
class World:
    """One tenant of the database; `goals` by name."""

    sessions: Sessions
    tenant: Tenant
    goals: dict[str, str] = field(default_factory=dict)
    entries: int = 0

    def apply(self, events: list[bytes]) -> None:
        """One batch, as a drain would, with no dead letter."""
        arrived = [
            StreamEntry(0, f"{int(TOLD_AT.timestamp() * 1000)}-{next(_numbers)}", TOLD_AT, self.tenant.name, body)
            for body in events
        ]
        with self.sessions.begin() as session:
            applied = apply_events(session, arrived, TOLD_AT)
        assert applied.dead_letters == 0
        self.entries += len(events)

    def close(self, now: datetime = TOLD_AT) -> None:
        """Close the days that are over."""
        run_snapshot(self.sessions, now, tenant=self.tenant.name)

    def state(self) -> dict[str, Any]:
        """Worths, days, amounts and closes: what every telling must leave."""
        with self.sessions() as session:
            name = {"t": self.tenant.name}
            worths = "SELECT account_id, worth_minor, inflow_minor FROM accounts WHERE tenant = :t ORDER BY 1"
            days = (
                "SELECT account_id, day, moved_minor, residual_minor, inflow_minor "
                "FROM account_days WHERE tenant = :t ORDER BY 1, 2"
            )
            return {
                "worths": Sql(worths).rows(session, name),
                "days": Sql(days).rows(session, name),
                "amounts": {n: get_goal(session, self.tenant, g).amount_minor for n, g in self.goals.items()},
                "closes": {n: self._closes(session, g) for n, g in self.goals.items()},
            }

    def _closes(self, session: Session, goal_id: str) -> dict[date, int]:
        view = read_snapshots(session, self.tenant, goal_id, from_day=FIRST, to_day=LAST, now=TOLD_AT)
        return {close.day: close.amount_minor for close in view.snapshots}


def build(sessions: Sessions, names: Collection[str] = tuple(GOALS)) -> World:
    """A tenant in the household's zone, with its goals made and linked before anything is told."""
    with sessions.begin() as session:
        tenant = create_tenant(session, f"household{next(_numbers)}", ZONE, MADE_AT - timedelta(days=30))
    world = World(sessions, tenant)
    for number, name in enumerate(names):
        type, tracking, target, manual, links = GOALS[name]
        draft = GoalDraft("u", name, type, target, str(manual), tracking=tracking, start_date=FIRST)
        with sessions.begin() as session:
            at = MADE_AT + timedelta(minutes=number)
            goal_id = create_goal(session, tenant, draft, at).goal_id
            for account, percent, whole in links:
                link_account(session, tenant, goal_id, LinkDraft(account, None, percent, FIRST, whole), at)
        world.goals[name] = goal_id
    return world


def expected(first_told: Callable[[Move], datetime]) -> dict[str, Any]:
    """The same by the definitions, from the story itself and by a second way that shares no code with the first.

    `first_told`: when a telling first says that a move is booked, under the key that stays.
    """
    oracles = {account.name: OracleAccount(zone=ZONE) for account in ACCOUNTS}
    for account in ACCOUNTS:
        apply_fact(oracles[account.name], _fact("kind", None, account.kind))
        sign = 1 if account.kind == "asset" else -1
        for moment in pulls():
            apply_fact(
                oracles[account.name], _fact("reported", moment, {"current": balance(account, moment.date()) * sign})
            )
    for move in MOVES:
        if not move.is_phantom:
            body = {"amount": move.cents_at(LAST), "day": move.day, "pending": False, "replaces": None}
            apply_fact(oracles[move.account], _fact("recorded", move.key, body) | {"time": first_told(move)})
    goals = {name: _oracle_goal(name, oracles) for name in GOALS}
    members = list(oracles.values())
    return {
        "worths": [(name, o.worth(TOLD_AT), o.inflow(TOLD_AT)) for name, o in sorted(oracles.items())],
        "amounts": {name: goal.amount_before(TOLD_AT, members) for name, goal in goals.items()},
        "closes": {name: goal.closes(FIRST, LAST, ZONE, members) for name, goal in goals.items()},
    }


def _oracle_goal(name: str, oracles: dict[str, OracleAccount]) -> OracleGoal:
    type, tracking, _, manual, links = GOALS[name]
    begin = first_instant(FIRST, ZONE).astimezone(UTC)
    periods = [OraclePeriod(oracles[account], round(float(percent) * 10_000), begin) for account, percent, _ in links]
    return OracleGoal(tracking.value, DIRECTIONS.get(type, 1), [(None, manual * 100)], periods)


def _fact(kind: str, key: object, body: object) -> dict[str, Any]:
    return {"kind": kind, "time": MADE_AT, "source": "story", "id": "1", "key": key, "body": body}
