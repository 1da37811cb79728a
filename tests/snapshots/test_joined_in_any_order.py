"""Accounts that are joined, or opened on a day: amounts, closes and marks, in any order of facts and statements."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.goals.goal import GoalType, Tracking
from core.jobs.due import run_due
from core.jobs.snapshot import run_snapshot
from core.services.tenants import create_tenant
from core.store.database import Sessions
from core.verify.verify import verify
from tests.acts import event
from tests.budget import examples
from tests.conftest import Apply
from tests.ingestion.join_oracle import Household, Joined
from tests.ingestion.oracle import OracleAccount
from tests.ingestion.test_any_order import facts, shuffled_and_split
from tests.snapshots import test_closes_any_order as closes
from tests.snapshots.close_oracle import first_instant

_names = itertools.count(1)
_ACCOUNTS = 4
_numbers = st.integers(0, _ACCOUNTS - 1)
_days = st.none() | st.integers(1, 12)


def _reported() -> st.SearchStrategy[dict[str, Any]]:
    """Facts of any of the accounts; more are reports than among others, since these say where accounts are joined."""
    return st.tuples(facts(), _numbers).map(lambda pair: pair[0] | {"account": pair[1]})


_statements = st.one_of(
    st.tuples(st.just("replaced"), _numbers, st.none() | _numbers, _days, st.integers(0, 6)),
    st.tuples(st.just("replaced"), _numbers, _numbers, st.none(), st.integers(0, 6)),
    st.tuples(st.just("opened"), _numbers, st.none(), _days, st.integers(0, 6)),
    st.tuples(st.just("user"), _numbers, st.sampled_from([0, 0, 0, 1]), st.none(), st.integers(0, 6)),
)


class JoinedWorld(closes.World):
    """A world in which links mean all accounts that are joined."""

    household: Household

    def turns(self) -> list[datetime]:
        """The moments at which accounts begin and end to count."""
        return [at for span in self.household.spans for at in span if at is not None]

    def members(self) -> list[OracleAccount]:
        """A net worth has each group of joined accounts once, if one of them is the user's."""
        house = self.household
        own = [n for n, account in enumerate(house.accounts) if account.currency() == "USD"]
        groups = {house.groups[n] for n in own if n in house.users and house.users[n][1] == "u"}
        return [Joined(house, min(group)) for group in groups]  # type: ignore[misc]


def _build(sessions: Sessions, place: tuple[str, date]) -> JoinedWorld:
    zone, first = place
    with sessions.begin() as session:
        tenant = create_tenant(session, f"j{next(_names)}", zone, datetime(2005, 1, 1, tzinfo=UTC))
    oracles = [OracleAccount() for _ in range(_ACCOUNTS)]
    world = JoinedWorld(sessions, tenant, first, [f"{'dbca'[n]}{next(_names)}" for n in range(_ACCOUNTS)], oracles)
    world.household = Household(oracles)
    made_at = world.at(days=3, hours=5)
    world.create("change", GoalType.SAVINGS, Tracking.CHANGE, 250, made_at)
    world.create("debt", GoalType.DEBT, Tracking.CHANGE, 90_000, made_at)
    world.create("inflow", GoalType.INCOME, Tracking.INFLOW, 10, made_at)
    world.create("balance", GoalType.CUSTOM, Tracking.BALANCE, 77, made_at)
    world.create("net worth", GoalType.NET_WORTH, Tracking.NET_WORTH, 33, made_at)
    for name in ("change", "debt", "inflow"):
        world.link(name, 0, "33.3333", first + timedelta(days=2), made_at + timedelta(minutes=1))
        world.link(name, 1, "50", None, made_at + timedelta(minutes=2))
    world.link("balance", 2, "60", first, made_at + timedelta(minutes=1))
    for _, oracle in world.goals.values():
        for period in oracle.periods:
            number = next(n for n, account in enumerate(oracles) if account is period.account)
            period.account = Joined(world.household, number)  # type: ignore[assignment]
    return world


def _stated(world: JoinedWorld, statement: tuple[str, int, int | None, int | None, int]) -> bytes:
    kind, number, other, day, time = statement
    at, name = world.at(days=time, hours=23), f"s{next(_names):09}"
    rank, house = (at, name), world.household
    # No day is after the time of its statement.
    stated = None if day is None else world.first + timedelta(days=min(day, time))
    moment = None if stated is None else first_instant(stated, world.tenant.time_zone)
    data: dict[str, Any] = {"account_id": world.accounts[number]}
    if kind == "replaced":
        other = None if other == number else other
        data |= {"replaced_by": None if other is None else world.accounts[other]}
        if other is not None and stated is not None:
            data["from"] = stated.isoformat()
        if number not in house.replaced or rank > house.replaced[number][0]:
            house.replaced[number] = rank, other, None if other is None else moment
    elif kind == "opened":
        data["opened"] = None if stated is None else stated.isoformat()
        if number not in house.opened or rank > house.opened[number][0]:
            house.opened[number] = rank, moment
    else:
        data["user_id"] = user = "u" if other == 0 else "someone else"
        if number not in house.users or rank > house.users[number][0]:
            house.users[number] = rank, user
    return event("account.changed", at, name, data)


# An example takes a second, so making a failing one smaller would take minutes.
@settings(max_examples=examples(8), phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from(closes.PLACES),
    st.lists(_reported(), min_size=4, max_size=24),
    st.lists(_statements, min_size=1, max_size=9),
    st.integers(0, 2**32),
)
def test_each_counts_once_in_its_own_time(
    session_factory: Sessions,
    apply: Apply,
    place: tuple[str, date],
    made: list[dict[str, Any]],
    statements: list[tuple[str, int, int | None, int | None, int]],
    seed: int,
) -> None:
    """Joins, circles, undoing and openings in any order with facts, closes and repetitions leave what is defined."""
    world = _build(session_factory, place)
    events = [closes._stated_fact(world, fact) for fact in made]
    events += [_stated(world, statement) for statement in statements]
    batches = shuffled_and_split(events, seed)
    chance = random.Random(seed)
    clock, latest, name = world.at(days=4), world.at(days=closes.DAYS + 1), world.tenant.name
    for batch in batches:
        apply(batch, tenant=name, at=latest)
        if chance.random() < 0.4:
            clock += timedelta(hours=chance.randint(0, 48))
            run_due(session_factory, min(clock, latest))
            run_snapshot(session_factory, min(clock, latest), tenant=name)
        if chance.random() < 0.2:
            assert verify(session_factory, latest, tenant=name).first == ()
    run_due(session_factory, latest)
    for each in world.oracles:
        each.due_ran_at = latest
    closes._assert_closes(world, latest)
    run_snapshot(session_factory, latest, tenant=name)
    closes._assert_closes(world, latest)
    run_snapshot(session_factory, latest + timedelta(days=1), tenant=name)
    closes._assert_marks(world, latest + timedelta(days=1))
    assert verify(session_factory, latest + timedelta(days=1), tenant=name).first == ()
    before = closes._rows(world)
    for batch in batches[:2]:
        apply(batch, tenant=name, at=latest)
    assert closes._rows(world) == before
