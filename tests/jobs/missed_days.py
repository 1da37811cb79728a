"""A tenant that nobody closed for three days, while facts of these days and older ones came in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from core.events.calendar import day_start, local_day
from core.goals.goal import GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import run_snapshot
from core.services.funding import link_account
from core.services.goals import create_goal
from core.services.inputs import GoalDraft, LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tables import BUSINESS_TABLES, job_runs
from core.store.tenants import Tenant
from tests.acts import event, money

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NAME = "away"
ACCOUNTS = 12
# When something was done, not what: these differ between two runs of the same.
STAMPS = [
    *("created_at", "updated_at", "recorded_at", "marked_at", "started_at", "finished_at", "result"),
    *("closed_at", "rewritten_at"),
]


@dataclass(frozen=True, slots=True)
class MissedDays:
    """The tenant, its first day, and the days that are over and not closed."""

    tenant: Tenant
    first: date
    missed: tuple[date, ...]

    def expected(self, account: int) -> list[tuple[date, int]]:
        """The closes of the goal `all of ACCOUNT` on the missed days: what came in each day, and what came late."""
        days = {day: (day - self.first).days + 1 for day in self.missed}
        return [(day, count * _daily(account) + _late(account)) for day, count in days.items()]


def miss_three_days(sessions: Sessions) -> MissedDays:
    """Ten days of facts, of which the last three are over, not closed, and touch closed ones as well."""
    now = datetime.now(UTC)
    # The clock of the workers can't be set, so it is noon where the tenant is: no day ends during a test.
    with sessions.begin() as session:
        tenant = create_tenant(session, NAME, f"Etc/GMT{now.hour - 12:+d}", now - 10 * DAY)
    today = local_day(now, tenant.zone)
    world = MissedDays(tenant, today - 9 * DAY, tuple(today - n * DAY for n in (3, 2, 1)))
    _make_goals(sessions, world, day_start(world.first, tenant.zone) + HOUR)
    days = [world.first + n * DAY for n in range(10)]
    _apply(sessions, world, [fact for day in days[:6] for fact in _facts(world, day)], now - 3 * DAY)
    run_snapshot(sessions, now - 3 * DAY)
    _apply(sessions, world, [fact for day in days[6:9] for fact in _facts(world, day)], now)
    late = [_paid(world, account, "late", _late(account), days[2]) for account in range(ACCOUNTS) if _late(account)]
    _apply(sessions, world, late, now)
    return world


def dump(sessions: Sessions) -> dict[str, list[str]]:
    """Every business row and every claim of the tenant's, without stamps, in order."""
    without = " ".join(f"- '{stamp}'" for stamp in STAMPS)
    with sessions() as session:
        return {
            table.name: list(
                Sql(
                    f'SELECT (to_jsonb(t) {without})::text FROM "{table.name}" t WHERE tenant = :tenant ORDER BY 1'
                ).values(session, {"tenant": NAME})
            )
            for table in (*BUSINESS_TABLES, job_runs)
        }


def closes_of(sessions: Sessions, account: int, days: tuple[date, ...]) -> list[tuple[date, int]]:
    """The rows of the goal `all of ACCOUNT` on some days."""
    question = """SELECT s.day, s.amount_minor FROM goal_snapshots s JOIN goals g USING (tenant, goal_id)
    WHERE tenant = :tenant AND name = :name AND day = ANY(:days) ORDER BY day"""
    parameters = {"tenant": NAME, "name": f"all of {account}", "days": list(days)}
    with sessions() as session:
        return [(day, amount) for day, amount in Sql(question).rows(session, parameters)]


def is_closed(sessions: Sessions, world: MissedDays) -> bool:
    """Whether the tenant is closed through the last missed day, with nothing left to be closed anew."""
    question = """SELECT closed_through >= :last
        AND NOT EXISTS (SELECT FROM accounts WHERE tenant = :tenant AND least(dirty_from, late_from) <= :last)
        AND NOT EXISTS (SELECT FROM goals WHERE tenant = :tenant AND dirty_from <= :last)
    FROM tenants WHERE tenant = :tenant"""
    with sessions() as session:
        return bool(Sql(question).value(session, {"tenant": NAME, "last": world.missed[-1]}))


def _daily(account: int) -> int:
    return (account + 1) * 100


def _late(account: int) -> int:
    return 5_000 if account % 3 == 0 else 0


def _make_goals(sessions: Sessions, world: MissedDays, at: datetime) -> None:
    """Goals of one account, of two that are closed by different workers, of all, and some to be completed."""
    moments = (at + n * timedelta(seconds=1) for n in itertools.count())
    for n in range(ACCOUNTS):
        _make(sessions, world, f"all of {n}", moments, {n: "100"})
        _make(sessions, world, f"some of {n}", moments, {n: "50", (n + 5) % ACCOUNTS: "25"}, tracking=Tracking.BALANCE)
        # Reached on one of the missed days.
        target = str((n + 1) * 8 + (50 if _late(n) else 0))
        _make(sessions, world, f"soon {n}", moments, {n: "100"}, target_amount=target, auto_complete=True)
    _make(sessions, world, "net worth", moments, {}, type=GoalType.NET_WORTH, tracking=Tracking.NET_WORTH)


def _make(
    sessions: Sessions, world: MissedDays, name: str, moments: Any, shares: dict[int, str], **changes: Any
) -> None:
    draft = {"user_id": "u", "name": name, "type": GoalType.SAVINGS, "target_amount": "10000", "current_amount": "0"}
    with sessions.begin() as session:
        made = create_goal(
            session, world.tenant, GoalDraft(**draft | {"start_date": world.first} | changes), next(moments)
        )
        for account, percent in shares.items():
            link = LinkDraft(f"a{account}", None, percent, world.first)
            link_account(session, world.tenant, made.goal_id, link, next(moments))
        if "target_amount" not in changes:
            add_milestone(session, world.tenant, made.goal_id, MilestoneDraft("7"), next(moments))


def _facts(world: MissedDays, day: date) -> list[bytes]:
    """What comes in on a day; on the first with a balance of nothing just before."""
    facts = [_paid(world, account, day.isoformat(), _daily(account), day) for account in range(ACCOUNTS)]
    if day == world.first:
        as_of = (day - DAY).isoformat()
        facts += [_told(world, account, as_of) for account in range(ACCOUNTS)]
    return facts


def _paid(world: MissedDays, account: int, name: str, minor: int, day: date) -> bytes:
    data = _of(account) | {"transaction_id": name, "amount": money(minor), "posted_at": day.isoformat()}
    return event("transaction.recorded", day_start(day, world.tenant.zone), f"{account} {name}", data)


def _told(world: MissedDays, account: int, as_of: str) -> bytes:
    data = _of(account) | {"current": money(0), "as_of": as_of}
    return event("balance.reported", day_start(world.first, world.tenant.zone), f"balance {account}", data)


def _of(account: int) -> dict[str, Any]:
    return {"account_id": f"a{account}", "user_id": "u", "kind": "asset", "currency": "USD"}


def _apply(sessions: Sessions, world: MissedDays, facts: list[bytes], at: datetime) -> None:
    entries = [StreamEntry(0, f"{int(at.timestamp() * 1000)}-{n}", at, NAME, fact) for n, fact in enumerate(facts)]
    with sessions.begin() as session:
        applied = apply_events(session, entries, at)
    assert applied.dead_letters == 0, world
