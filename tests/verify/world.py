"""A database with data of every kind, filled by the operations and events that callers and producers use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, link_account, unlink_account
from core.services.goals import create_goal, update_goal
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone, check_milestones
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.tenants import Tenant
from tests.acts import event

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATEST = datetime(2026, 3, 20, 12, tzinfo=UTC)
# On the 8th clocks change at two in New York and at midnight in Havana; JPY has no decimals.
TENANTS = (("default", "UTC", "USD"), ("york", "America/New_York", "EUR"), ("cuba", "America/Havana", "JPY"))


@dataclass
class Town:
    """One tenant with its goals, by name."""

    sessions: Sessions
    tenant: Tenant
    currency: str
    goals: dict[str, str] = field(default_factory=dict)
    facts: int = 0

    def at(self, day: int, hour: float = 12) -> datetime:
        """An hour of a day of March."""
        return datetime(2026, 3, day, tzinfo=UTC) + hour * HOUR

    def create(self, name: str, type: GoalType, at: datetime, **more: Any) -> None:
        """A goal that starts on the second of March."""
        draft: dict[str, Any] = {"target_amount": "100000", "start_date": date(2026, 3, 2), "currency": self.currency}
        with self.sessions.begin() as session:
            made = create_goal(session, self.tenant, GoalDraft("u", name, type, **(draft | more)), at)
        self.goals[name] = made.goal_id

    def link(self, name: str, account: str, percent: str, at: datetime, from_: object = None, **more: Any) -> None:
        """Link an account."""
        draft = LinkDraft(account, None, percent, from_, **more)  # type: ignore[arg-type]
        with self.sessions.begin() as session:
            link_account(session, self.tenant, self.goals[name], draft, at)

    def allocate(self, name: str, account: str, percent: str, at: datetime) -> None:
        """Give an account another share."""
        with self.sessions.begin() as session:
            change_allocation(session, self.tenant, self.goals[name], account, percent, at)

    def unlink(self, name: str, account: str, at: datetime) -> None:
        """End a link."""
        with self.sessions.begin() as session:
            unlink_account(session, self.tenant, self.goals[name], account, at)

    def change(self, name: str, at: datetime, **changes: Any) -> None:
        """Change a goal."""
        with self.sessions.begin() as session:
            update_goal(session, self.tenant, self.goals[name], GoalChanges(**changes), at)

    def milestones(self, name: str, at: datetime, *amounts: str) -> None:
        """Add milestones."""
        with self.sessions.begin() as session:
            for amount in amounts:
                add_milestone(session, self.tenant, self.goals[name], MilestoneDraft(amount), at)

    def check(self, name: str, at: datetime) -> None:
        """Check for milestones that are newly reached."""
        with self.sessions.begin() as session:
            check_milestones(session, self.tenant, self.goals[name], at)

    def record(self, type: str, at: datetime, **data: Any) -> None:
        """Apply an event, in a batch of its own."""
        self.facts += 1
        body = event(type, at, f"e{self.facts:05}", data)
        with self.sessions.begin() as session:
            apply_events(session, [StreamEntry(0, f"1-{self.facts}", LATEST, self.tenant.name, body)], LATEST)

    def paid(self, name: str, account: str, amount: int, at: datetime, **more: Any) -> None:
        """A transaction."""
        data = {
            "transaction_id": name,
            "amount": Decimal(amount),
            "currency": self.currency,
            "posted_at": at.isoformat(),
        }
        self.record("transaction.recorded", min(at, LATEST), account_id=account, **(data | more))

    def reported(self, account: str, amount: int, at: datetime, **more: Any) -> None:
        """A report."""
        data = {"current": Decimal(amount), "currency": self.currency, "as_of": at.isoformat()} | more
        self.record("balance.reported", min(at, LATEST), account_id=account, **data)


def fill(sessions: Sessions) -> list[Town]:
    """Several tenants with all kinds of goals, accounts and facts, closed through the 19th of March."""
    towns = []
    for name, zone, currency in TENANTS:
        with sessions.begin() as session:
            tenant = Tenant(name, zone)
            if name != "default":
                create_tenant(session, name, zone, datetime(2026, 2, 1, tzinfo=UTC))
        town = Town(sessions, tenant, currency)
        _create_goals(town)
        _record_facts(town)
        towns.append(town)
    run_snapshot(sessions, LATEST)
    for town in towns:
        _correct(town)
    run_snapshot(sessions, LATEST + HOUR)
    return towns


def _create_goals(town: Town) -> None:
    """Goals of every tracking, linked to accounts of which some have no event yet."""
    made = town.at(3)
    town.create("trip", GoalType.SAVINGS, made, current_amount="250", target_amount="4000")
    town.create("debt", GoalType.DEBT, made, current_amount="9000", target_amount="1000")
    town.create("wages", GoalType.INCOME, made, target_amount="3000")
    town.create("house", GoalType.CUSTOM, made, tracking=Tracking.BALANCE)
    town.create("card", GoalType.DEBT, made, tracking=Tracking.BALANCE, target_amount="0", current_amount="5000")
    town.create("all", GoalType.NET_WORTH, made, tracking=Tracking.NET_WORTH)
    town.create("soon", GoalType.SAVINGS, made, target_amount="500", auto_complete=True)
    town.create("unlinked", GoalType.CUSTOM, made, current_amount="12")
    town.milestones("trip", made, "300", "1000", "3500")
    town.milestones("debt", made, "8900", "5000")
    town.milestones("wages", made, "100", "2900")
    town.milestones("debt", made, "9000")
    town.check("debt", made)
    for name, account, percent in (
        ("trip", "savings", "60"),
        ("trip", "checking", "40"),
        ("debt", "checking", "33.3333"),
    ):
        town.link(name, account, percent, made + HOUR, date(2026, 3, 2))
    town.link("wages", "checking", "100", made + HOUR)
    town.link("soon", "savings", "50", made + HOUR)
    town.link("house", "savings", "25", made + HOUR)
    town.link("house", "silent", "50", made + HOUR)
    town.link("house", "flat", "100", made + HOUR, date(2026, 3, 1), whole=True)
    town.create("moved", GoalType.SAVINGS, made)
    town.link("moved", "was", "100", made + HOUR, date(2026, 3, 2))
    town.link("card", "visa", "100", made + HOUR, date(2026, 3, 1))


def _record_facts(town: Town) -> None:
    """Facts in order, with operations among them, and days closed in between."""
    for day in range(2, 20):
        town.paid(f"s{day}", "savings", 100 + day, town.at(day, 5))
        town.paid(f"c{day}", "checking", 400 if day % 5 == 0 else -37, town.at(day, 4.5))
    town.reported("savings", 2_000, town.at(6), user_id="u", kind="asset")
    town.reported("checking", 1_111, town.at(9), user_id="u")
    town.reported("savings", 2_900, town.at(12))
    town.reported("visa", 4_321, town.at(5), user_id="u", kind="liability")
    town.reported("visa", 4_000, town.at(14))
    town.reported("flat", 250_000, town.at(4), kind="asset")
    town.reported("flat", 251_000, town.at(15))
    run_snapshot(town.sessions, town.at(10), tenant=town.tenant.name)
    town.change("trip", town.at(10, 13), current_amount="1500")
    town.allocate("trip", "savings", "12.5", town.at(11, 3))
    town.unlink("trip", "checking", town.at(12, 7))
    town.link("trip", "checking", "10", town.at(13, 7), date(2026, 3, 11))
    town.change("trip", town.at(14, 9), current_amount="1600")
    town.change("wages", town.at(9, 2), status=GoalStatus.PAUSED)
    run_snapshot(town.sessions, town.at(15), tenant=town.tenant.name)
    town.change("wages", town.at(16, 2), status=GoalStatus.ACTIVE)
    town.change("debt", town.at(16, 2), status=GoalStatus.ABANDONED)
    town.allocate("house", "savings", "30", town.at(16, 8))


def _correct(town: Town) -> None:
    """Late facts, corrections, removals and replacements, after the days were closed."""
    town.paid("pending", "savings", 77, town.at(8, 8), pending=True)
    town.paid("posted", "savings", 78, town.at(9, 8), replaces="pending")
    town.paid("c7", "checking", -999, town.at(7, 4.5) + HOUR)
    town.record("transaction.removed", town.at(18), account_id="savings", transaction_id="s5")
    town.paid("s4 again", "savings", 55, town.at(4, 6), replaces="s4")
    town.paid("late", "savings", 1_000, town.at(3, 1))
    town.paid("late too", "visa", -250, town.at(13, 1))
    town.reported("checking", 900, town.at(4))
    town.paid("ahead", "savings", 5, LATEST + 20 * HOUR)
    town.paid("not due", "savings", 6, LATEST + 3 * DAY)
    town.paid("not due today", "savings", 7, LATEST + 3 * DAY, posted_at="2026-03-24")
    town.reported("flat", 252_000, LATEST + 9 * DAY)
    town.paid("old id", "shown", 11, town.at(5, 8), posted_at="2026-03-05")
    town.paid("kept", "shown", 12, town.at(5, 8), posted_at="2026-03-12")
    days = {"from": "2026-03-01", "through": "2026-03-10"}
    town.record("window.reported", town.at(16), account_id="shown", **days)
    town.paid("new id", "shown", 11, town.at(16), posted_at="2026-03-05")
    town.reported("was", 300, town.at(4))
    town.reported("is", 350, town.at(9))
    town.paid("since", "is", 25, town.at(12))
    town.record("account.changed", town.at(17), account_id="was", replaced_by="is")
    town.record("account.changed", town.at(17), account_id="was", opened="2026-03-03")
    town.record("account.changed", town.at(17), account_id="flat", user_id="u")
    town.record("account.changed", town.at(17), account_id="checking", kind="liability")
