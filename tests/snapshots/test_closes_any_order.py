"""Snapshots depend on facts and days alone: in any order, duplicated, split, with closings in between, in any zone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.due import run_due
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, link_account, unlink_account
from core.services.goals import create_goal, get_goal, update_goal
from core.services.history import read_snapshots
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant
from core.verify.verify import verify
from tests.acts import event
from tests.budget import examples
from tests.conftest import Apply
from tests.ingestion.oracle import OracleAccount, apply_fact
from tests.ingestion.test_any_order import as_event, facts, shuffled_and_split
from tests.snapshots.close_oracle import OracleGoal, OraclePeriod, first_instant

_names = itertools.count(1)
DAYS = 14
# Days on which clocks change: at two in the morning, at midnight, over midnight, or never.
PLACES = [
    ("UTC", date(2026, 3, 5)),
    ("America/New_York", date(2026, 3, 4)),
    ("Europe/Prague", date(2025, 10, 20)),
    ("America/Havana", date(2025, 10, 28)),
    ("America/Havana", date(2026, 3, 3)),
    ("Asia/Beirut", date(2025, 10, 20)),
    ("Asia/Beirut", date(2026, 3, 24)),
    ("America/Sao_Paulo", date(2018, 10, 30)),
    ("America/St_Johns", date(2005, 10, 26)),
    ("Asia/Kathmandu", date(2026, 1, 5)),
    ("Pacific/Auckland", date(2026, 3, 30)),
]
# Minor units, within what a few facts move an account by.
MILESTONES = [1, 30_000, 90_000, 200_000, 450_000, 900_000]
# The generator of facts has its own first day; facts are moved to that of the example.
MADE_FROM = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class World:
    """One example: a tenant, its goals with what the oracle knows of them, and the operations still to come."""

    sessions: Sessions
    tenant: Tenant
    first: date
    accounts: list[str]
    oracles: list[OracleAccount]
    users: dict[str, tuple[Any, str]] = field(default_factory=dict)
    goals: dict[str, tuple[str, OracleGoal]] = field(default_factory=dict)

    @property
    def start(self) -> datetime:
        return first_instant(self.first, self.tenant.time_zone)

    def at(self, **after: float) -> datetime:
        """A moment so long after the first day began."""
        return self.start + timedelta(**after)

    def create(self, name: str, type: GoalType, tracking: Tracking, manual: int, at: datetime) -> None:
        draft = GoalDraft(
            "u", name, type, "100000", str(manual), tracking=tracking, start_date=self.first + timedelta(days=1)
        )
        with self.sessions.begin() as session:
            goal_id = create_goal(session, self.tenant, draft, at).goal_id
            for minor in MILESTONES:
                if type is not GoalType.DEBT:
                    add_milestone(session, self.tenant, goal_id, MilestoneDraft(Decimal(minor) / 100), at)
        direction = -1 if type is GoalType.DEBT else 1
        self.goals[name] = goal_id, OracleGoal(tracking.value, direction, [(None, manual * 100)])

    def link(self, name: str, account: int, percent: str, from_: object, at: datetime, *, whole: bool = False) -> None:
        goal_id, oracle = self.goals[name]
        draft = LinkDraft(self.accounts[account], None, percent, from_, whole)  # type: ignore[arg-type]
        with self.sessions.begin() as session:
            link_account(session, self.tenant, goal_id, draft, at)
        begin = first_instant(from_, self.tenant.time_zone) if isinstance(from_, date) else at
        oracle.periods.append(OraclePeriod(self.oracles[account], round(float(percent) * 10_000), begin))

    def turns(self) -> list[datetime]:
        """The moments at which accounts begin and end to count."""
        return []

    def members(self) -> list[OracleAccount]:
        """The accounts of the user `u` by the latest statement that are in its currency."""
        return [
            oracle
            for name, oracle in zip(self.accounts, self.oracles, strict=True)
            if self.users.get(name, ((), ""))[1] == "u" and oracle.currency() == "USD"
        ]


Act = tuple[datetime, Callable[[], None]]


def build(sessions: Sessions, place: tuple[str, date]) -> tuple[World, list[Act]]:
    """A tenant with a goal of each kind, and what will be done to them, in order of time."""
    zone, first = place
    with sessions.begin() as session:
        tenant = create_tenant(session, f"t{next(_names)}", zone, datetime(2025, 1, 1, tzinfo=UTC))
    world = World(sessions, tenant, first, [f"a{next(_names)}" for _ in range(2)], [OracleAccount(), OracleAccount()])
    made_at = world.at(days=3, hours=5)
    world.create("change", GoalType.SAVINGS, Tracking.CHANGE, 250, made_at)
    world.create("debt", GoalType.DEBT, Tracking.CHANGE, 90_000, made_at)
    world.create("inflow", GoalType.INCOME, Tracking.INFLOW, 10, made_at)
    world.create("balance", GoalType.CUSTOM, Tracking.BALANCE, 77, made_at)
    world.create("net worth", GoalType.NET_WORTH, Tracking.NET_WORTH, 33, made_at)
    for name in ("change", "debt", "inflow"):
        world.link(name, 0, "33.3333", first + timedelta(days=2), made_at + timedelta(minutes=1))
        world.link(name, 1, "50", None, made_at + timedelta(minutes=2))
    world.link("balance", 0, "60", first, made_at + timedelta(minutes=1))
    world.link("balance", 1, "100", first + timedelta(days=2), made_at + timedelta(minutes=2), whole=True)
    return world, sorted(
        [
            (world.at(days=5, hours=7), lambda: _type(world, "change", 700, world.at(days=5, hours=7))),
            (world.at(days=6, hours=1), lambda: _allocate(world, "balance", 0, "12.5", world.at(days=6, hours=1))),
            (world.at(days=7, hours=9), lambda: _allocate(world, "change", 0, "45.6667", world.at(days=7, hours=9))),
            (world.at(days=8, hours=3), lambda: _unlink(world, "change", 1, world.at(days=8, hours=3))),
            (world.at(days=8, hours=4), lambda: _unlink(world, "inflow", 0, world.at(days=8, hours=4))),
            (world.at(days=9, hours=2), lambda: _type(world, "change", 800, world.at(days=9, hours=2))),
            (world.at(days=9, hours=6), lambda: _type(world, "inflow", 5, world.at(days=9, hours=6))),
            (world.at(days=10, hours=6), lambda: _abandon(world, "debt", world.at(days=10, hours=6))),
            (world.at(days=10, hours=8), lambda: _unlink(world, "balance", 1, world.at(days=10, hours=8))),
        ],
        key=lambda act: act[0],
    )


def _type(world: World, name: str, amount: int, at: datetime) -> None:
    goal_id, oracle = world.goals[name]
    with world.sessions.begin() as session:
        update_goal(session, world.tenant, goal_id, GoalChanges(current_amount=amount), at)
    oracle.manual.append((at, amount * 100))


def _allocate(world: World, name: str, account: int, percent: str, at: datetime) -> None:
    goal_id, oracle = world.goals[name]
    with world.sessions.begin() as session:
        change_allocation(session, world.tenant, goal_id, world.accounts[account], percent, at)
    _end(world, name, account, at)
    oracle.periods.append(OraclePeriod(world.oracles[account], round(float(percent) * 10_000), at))


def _unlink(world: World, name: str, account: int, at: datetime) -> None:
    with world.sessions.begin() as session:
        unlink_account(session, world.tenant, world.goals[name][0], world.accounts[account], at)
    _end(world, name, account, at)


def _abandon(world: World, name: str, at: datetime) -> None:
    goal_id, oracle = world.goals[name]
    with world.sessions.begin() as session:
        update_goal(session, world.tenant, goal_id, GoalChanges(status=GoalStatus.ABANDONED), at)
    oracle.final_at = at
    for account in (0, 1):
        _end(world, name, account, at)


def _end(world: World, name: str, account: int, at: datetime) -> None:
    for period in world.goals[name][1].periods:
        if period.account is world.oracles[account] and period.until is None:
            period.until = at


memberships = st.tuples(st.integers(0, 1), st.integers(0, 5), st.sampled_from(["u", "someone else"]))


# An example takes half a second, so making a failing one smaller would take minutes.
@settings(max_examples=examples(20), phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from(PLACES),
    st.lists(facts(), min_size=1, max_size=24),
    st.lists(memberships, max_size=4),
    st.integers(0, 2**32),
)
def test_closes_are_those_of_the_definition(
    session_factory: Sessions,
    apply: Apply,
    place: tuple[str, date],
    made: list[dict[str, Any]],
    joins: list[tuple[int, int, str]],
    seed: int,
) -> None:
    """Whatever arrives when, and whenever days are closed in between, every amount and snapshot is the oracle's."""
    world, acts = build(session_factory, place)
    events = [_stated_fact(world, fact) for fact in made]
    events += [_joined(world, number, *join) for number, join in enumerate(joins)]
    batches = shuffled_and_split(events, seed)
    chance = random.Random(seed)
    clock, latest = world.at(days=4), world.at(days=DAYS + 1)
    while batches or acts:
        if acts and (not batches or chance.random() < 0.35):
            clock, act = acts.pop(0)
            act()
        else:
            apply(batches.pop(0), tenant=world.tenant.name, at=latest)
        if chance.random() < 0.3:
            run_due(session_factory, clock)
            run_snapshot(session_factory, clock, tenant=world.tenant.name)
    run_due(session_factory, latest)
    for each in world.oracles:
        each.due_ran_at = latest
    _assert_closes(world, latest)
    run_snapshot(session_factory, latest, tenant=world.tenant.name)
    _assert_closes(world, latest)
    _assert_rows_are_sparse(world)
    before = _rows(world)
    run_snapshot(session_factory, latest + timedelta(minutes=5), tenant=world.tenant.name)
    assert _rows(world) == before
    # What the last day marked at once is withdrawn by its close, unless it is there.
    run_snapshot(session_factory, latest + timedelta(days=1), tenant=world.tenant.name)
    _assert_marks(world, latest + timedelta(days=1))
    report = verify(session_factory, datetime.now(UTC), tenant=world.tenant.name)
    assert report.is_ok, report


def _stated_fact(world: World, fact: dict[str, Any]) -> bytes:
    """The fact as an event, moved to the example's days and applied by the oracle."""
    moved = _moved(world, fact)
    apply_fact(world.oracles[moved["account"]], moved)
    return as_event(moved, world.accounts)


def _moved(world: World, fact: dict[str, Any]) -> dict[str, Any]:
    by = world.start - MADE_FROM
    moved = fact | {"time": fact["time"] + by}
    if fact["kind"] == "recorded":
        moved["body"] = fact["body"] | {"at": fact["body"]["at"] + by}
    if fact["kind"] == "reported":
        moved["key"] = fact["key"] + by
    return moved


def _joined(world: World, number: int, account: int, day: int, user: str) -> bytes:
    time = world.at(days=day)
    rank = (time, f"join{number:03}")
    name = world.accounts[account]
    if rank > world.users.get(name, ((world.at(days=-1), ""), ""))[0]:
        world.users[name] = rank, user
    return event("account.changed", time, f"join{number:03}", {"account_id": name, "user_id": user})


def _assert_closes(world: World, now: datetime) -> None:
    last = now.astimezone(world.tenant.zone).date() - timedelta(days=1)
    first = world.first + timedelta(days=1)
    with world.sessions() as session:
        for name, (goal_id, oracle) in world.goals.items():
            view = read_snapshots(session, world.tenant, goal_id, from_day=None, to_day=None, now=now)
            members = world.members()
            expected = oracle.closes(first, last, world.tenant.time_zone, members)
            assert {close.day: close.amount_minor for close in view.snapshots} == expected, name
            latest = oracle.amount_before(now + timedelta(days=9), members)
            assert get_goal(session, world.tenant, goal_id).amount_minor == latest, name


def _assert_marks(world: World, now: datetime) -> None:
    """Each milestone is reached at the first moment of the first day whose close is there, or not at all."""
    last = now.astimezone(world.tenant.zone).date() - timedelta(days=1)
    members = world.members()
    for name, (goal_id, oracle) in world.goals.items():
        with world.sessions() as session:
            view = get_goal(session, world.tenant, goal_id)
        if view.waiting_for or view.status is GoalStatus.ABANDONED:
            continue
        closes = oracle.closes(world.first + timedelta(days=1), last, world.tenant.time_zone, members)
        for milestone in view.milestones:
            day = next((day for day, amount in closes.items() if amount >= milestone.amount_minor), None)
            if day is None:
                assert milestone.reached_at is None, name
                continue
            begin, end = (first_instant(day + timedelta(days=n), world.tenant.time_zone) for n in (0, 1))
            moments = sorted({at for at in _moments(world, oracle) if begin <= at < end})
            amounts = [(begin, oracle.amount_before(begin, members))]
            amounts += [(at, oracle.amount_before(at + timedelta(microseconds=1), members)) for at in moments]
            first = next(at for at, amount in amounts if amount >= milestone.amount_minor)
            assert milestone.reached_at == first, (name, milestone)


def _moments(world: World, oracle: OracleGoal) -> Iterator[datetime]:
    """All moments at which anything that the goal depends on may change."""
    yield from world.turns()
    for account in world.oracles:
        yield from (at for at, _ in account.counted())
        yield from account.reported()
    for period in oracle.periods:
        yield from (at for at in (period.begin, period.until) if at is not None)
    yield from (at for at, _ in oracle.manual if at is not None)


def _rows(world: World) -> list[tuple[str, date, int]]:
    with world.sessions() as session:
        found = Sql("SELECT goal_id, day, amount_minor FROM goal_snapshots WHERE tenant = :t ORDER BY 1, 2").rows(
            session, {"t": world.tenant.name}
        )
        return [(row[0], row[1], row[2]) for row in found]


def _assert_rows_are_sparse(world: World) -> None:
    rows = _rows(world)
    for goal_id, _ in world.goals.values():
        own = [(day, amount) for goal, day, amount in rows if goal == goal_id]
        assert own[0][0] == world.first + timedelta(days=1)
        assert all(one[1] != other[1] for one, other in itertools.pairwise(own))
