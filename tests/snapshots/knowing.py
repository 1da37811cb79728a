"""A history of some goals, for tests of what was known when: after each step it keeps what is stored and answered."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from core.events.calendar import last_closed_day, local_day
from core.goals.goal import GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import ChunkDays, close_chunk, run_snapshot
from core.services.funding import link_account
from core.services.goals import create_goal, delete_goal, update_goal
from core.services.history import read_snapshots
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant
from tests.acts import event, money

DAY = timedelta(days=1)
_names = itertools.count(1)
Amounts = dict[date, int]


@dataclass(frozen=True)
class Known:
    """What was known after a step. `written` is read row by row from the tables, `answered` comes from the request."""

    at: datetime
    closed_through: date | None
    written: dict[str, Amounts]
    answered: dict[str, Amounts]


@dataclass
class Life:
    """A tenant, its goals by number, and its clock, which every step moves on by an hour."""

    sessions: Sessions
    tenant: Tenant
    now: datetime
    accounts: tuple[str, str]
    goals: list[tuple[str, Tracking]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    known: list[Known] = field(default_factory=list)
    _entries: Any = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def begin(cls, sessions: Sessions, zone: str, now: datetime) -> Life:
        number = next(_names)
        with sessions.begin() as session:
            tenant = create_tenant(session, f"knowing{number}", zone, now)
        return cls(sessions, tenant, now, (f"ka{number}", f"kb{number}"))

    def step(self, name: str, *details: Any) -> None:
        """Carry out one operation, and keep what is known after it."""
        act: Callable[..., None] = getattr(self, f"_{name}")
        act(*details)
        # Later than everything this step wrote, and earlier than the next step.
        self._collect(self.now + timedelta(minutes=50))
        self.now += timedelta(hours=1)

    def today(self) -> date:
        return local_day(self.now, self.tenant.zone)

    def _wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    def _create(self, tracking: Tracking, days_back: int, auto_complete: bool = False) -> None:
        type = GoalType.DEBT if tracking is Tracking.CHANGE and days_back % 2 else GoalType.SAVINGS
        draft = GoalDraft(
            "u",
            "g",
            type,
            "60",
            "20" if type is GoalType.SAVINGS else "90",
            tracking=tracking,
            start_date=self.today() - days_back * DAY,
            auto_complete=auto_complete,
        )
        with self.sessions.begin() as session:
            self.goals.append((create_goal(session, self.tenant, draft, self.now).goal_id, tracking))

    def _link(self, number: int, account: int, days_back: int) -> None:
        found = self._goal(number)
        if found is None or found[1] is Tracking.NET_WORTH or self._is_final(found[0]):
            return
        draft = LinkDraft(self.accounts[account], None, "45", self.today() - days_back * DAY if days_back else None)
        with self.sessions.begin() as session:
            link_account(session, self.tenant, found[0], draft, self.now)

    def _type(self, number: int, amount: int) -> None:
        found = self._goal(number)
        if found is None or found[1] is not Tracking.CHANGE or self._is_final(found[0]):
            return
        with self.sessions.begin() as session:
            update_goal(session, self.tenant, found[0], GoalChanges(current_amount=amount), self.now)

    def _delete(self, number: int) -> None:
        found = self._goal(number)
        if found is not None:
            with self.sessions.begin() as session:
                delete_goal(session, self.tenant, found[0], self.now)
            self.deleted.add(found[0])

    def _pay(self, account: int, name: int, days_back: int, minor: int) -> None:
        data = {"transaction_id": f"t{name}", "amount": money(minor), "currency": "USD"}
        self._apply("transaction.recorded", account, data | {"posted_at": self._moment(days_back).isoformat()})

    def _remove(self, account: int, name: int) -> None:
        self._apply("transaction.removed", account, {"transaction_id": f"t{name}"})

    def _report(self, account: int, days_back: int, minor: int) -> None:
        data = {"current": money(minor), "currency": "USD", "as_of": self._moment(days_back).isoformat()}
        self._apply("balance.reported", account, data)

    def _turn(self, account: int, kind: str) -> None:
        self._apply("account.changed", account, {"kind": kind, "user_id": "u"})

    def _close(self) -> None:
        run_snapshot(self.sessions, self.now, tenant=self.tenant.name)

    def _close_part(self, chunk: int) -> None:
        """Close one chunk only, as a run that is killed, or one of several workers, would."""
        close_chunk(self.sessions, ChunkDays(self.tenant, chunk, last_closed_day(self.now, self.tenant.zone)), self.now)

    def _moment(self, days_back: int) -> datetime:
        return self.now - days_back * DAY - timedelta(minutes=1)

    def _apply(self, type: str, account: int, data: dict[str, Any]) -> None:
        number = next(self._entries)
        body = event(type, self.now, f"e{number}", data | {"account_id": self.accounts[account]})
        entry = StreamEntry(0, f"{int(self.now.timestamp() * 1000)}-{number}", self.now, self.tenant.name, body)
        with self.sessions.begin() as session:
            assert apply_events(session, [entry], self.now).dead_letters == 0

    def _goal(self, number: int) -> tuple[str, Tracking] | None:
        there = [goal for goal in self.goals if goal[0] not in self.deleted]
        return there[number % len(there)] if there else None

    def _is_final(self, goal_id: str) -> bool:
        with self.sessions() as session:
            final = Sql("SELECT final_at IS NOT NULL FROM goals WHERE tenant = :t AND goal_id = :g")
            return bool(final.value(session, {"t": self.tenant.name, "g": goal_id}))

    def _collect(self, at: datetime) -> None:
        question = Sql("SELECT closed_through FROM tenants WHERE tenant = :t")
        with self.sessions() as session:
            closed: date | None = question.value(session, {"t": self.tenant.name})
        there = [goal_id for goal_id, _ in self.goals if goal_id not in self.deleted]
        written = {goal_id: self._written(goal_id, closed) for goal_id in there}
        self.known.append(Known(at, closed, written, {goal_id: self.ask(goal_id, at) for goal_id in there}))

    def _written(self, goal_id: str, closed: date | None) -> Amounts:
        """The rows of the days that are closed, day by day, with the days between them filled."""
        question = Sql("SELECT day, amount_minor FROM goal_snapshots WHERE tenant = :t AND goal_id = :g ORDER BY day")
        with self.sessions() as session:
            rows = question.rows(session, {"t": self.tenant.name, "g": goal_id})
        amounts: Amounts = {}
        for day, amount in rows:
            while closed is not None and day <= closed:
                amounts[day] = amount
                day += DAY
        return amounts

    def ask(self, goal_id: str, now: datetime, as_known_at: datetime | None = None) -> Amounts:
        """The snapshots that a request gets."""
        with self.sessions() as session:
            view = read_snapshots(
                session, self.tenant, goal_id, from_day=None, to_day=None, now=now, as_known_at=as_known_at
            )
        return {close.day: close.amount_minor for close in view.snapshots}


BEGINNING = datetime(2026, 3, 3, 9, tzinfo=UTC)
