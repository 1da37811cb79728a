"""Bad input: refused by name, by manager and client alike, with nothing changed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from milepost import Client, GoalManager, Goals, GoalStatus, GoalType, NotFound, easy_goals
from tests.client.callers import AnyInterface, ask
from tests.dumping import dump

pytestmark = pytest.mark.anyio

SAVINGS = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}
NOWHERE = "goal_0000"


@dataclass(frozen=True, slots=True)
class World:
    """Goals by what they are; `open` has a milestone, and an account is linked to it with 60%."""

    open: str
    milestone: str
    debt: str
    completed: str
    balance: str


Operation = Callable[[Goals, World], Awaitable[Any]]


async def build(goals: Goals) -> World:
    """The goals that refused calls are tried on."""
    open_goal = await goals.create_goal(**SAVINGS, current_amount=2500.00)
    milestone = await goals.add_milestone(open_goal.id, 5000)
    await goals.link_account_to_goal(open_goal.id, "a", allocation_percent=60)
    debt = await goals.create_goal("user_123", "Card", GoalType.DEBT, 0, current_amount=8500)
    completed = await goals.create_goal("user_123", "Done", "savings", 10, current_amount=10)
    await goals.update_goal(completed.id, status=GoalStatus.COMPLETED)
    balance = await goals.create_goal("user_123", "Cash", "savings", 10, tracking="balance")
    return World(open_goal.id, milestone.id, debt.id, completed.id, balance.id)


def creating(**fields: Any) -> Operation:
    return lambda goals, _: goals.create_goal(**{**SAVINGS, **fields})


def updating(**fields: Any) -> Operation:
    return lambda goals, world: goals.update_goal(world.open, **fields)


LATER = datetime.now(UTC) + timedelta(days=2)
EXCEEDED = "Total allocation would exceed 100%"
UNKNOWN = "Goals.update_goal() got an unexpected keyword argument 'colour'"

REFUSED: dict[str, tuple[Operation, type[Exception], str]] = {
    "NaN": (creating(target_amount=math.nan), ValueError, "target_amount: must be a finite number"),
    "infinity": (updating(current_amount=math.inf), ValueError, "current_amount: must be a finite number"),
    "decimal NaN": (updating(target_amount=Decimal("NaN")), ValueError, "target_amount: must be a finite number"),
    "negative target": (
        creating(target_amount=-1.0),
        ValueError,
        "target_amount: must not be negative for a goal of type savings",
    ),
    "target of nothing": (
        creating(target_amount=0),
        ValueError,
        "target_amount: must be greater than 0 for a goal of type savings",
    ),
    "negative amount": (
        updating(current_amount=-0.01),
        ValueError,
        "current_amount: must not be negative for a goal of type savings",
    ),
    "a third decimal": (
        updating(current_amount=10.005),
        ValueError,
        "current_amount: must have at most 2 decimals, as USD has",
    ),
    "too much": (
        creating(target_amount=1e16),
        ValueError,
        "target_amount: must lie between -10000000000000.00 and 10000000000000.00 USD",
    ),
    "text that is no amount": (
        creating(target_amount="a lot"),
        ValueError,
        "target_amount: must be a plain decimal number, such as 1250.50",
    ),
    "no target": (creating(target_amount=None), ValueError, "target_amount: is missing"),
    "no type": (creating(type=None), ValueError, "type: is missing"),
    "blank name": (creating(name="  "), ValueError, "name: must not be blank"),
    "long name": (updating(name="n" * 201), ValueError, "name: must have at most 200 characters"),
    "name that is no text": (creating(name=7), ValueError, "name: must be text"),
    "bytes": (creating(user_id=b"user_123"), ValueError, "user_id: must be text"),
    "account in bytes": (
        lambda goals, world: goals.link_account_to_goal(world.open, b"a", allocation_percent=1),  # type: ignore[arg-type]
        ValueError,
        "account_id: must be text",
    ),
    "description that is no text": (updating(description=object()), ValueError, "description: must be text"),
    "no yes or no": (creating(auto_complete="yes"), ValueError, "auto_complete: must be True or False"),
    "no version": (updating(version="3"), ValueError, "version: must be a whole number"),
    "broken text": (creating(name="\ud800"), ValueError, "name: must not contain control characters or broken Unicode"),
    "no user": (creating(user_id=""), ValueError, "user_id: must have 1 to 200 characters"),
    "currency": (
        creating(currency="usd"),
        ValueError,
        "currency: must be an ISO 4217 currency code in capitals, such as USD",
    ),
    "type": (
        creating(type="saving"),
        ValueError,
        "type: must be one of savings, debt, investment, net_worth, income, custom",
    ),
    "two types": (
        creating(goal_type="debt"),
        ValueError,
        "goal_type: is another spelling of type, which says something else",
    ),
    "no status": (creating(status=None), ValueError, "status: must be one of active, paused"),
    "misspelt in a milestone": (
        creating(milestones=[{"amount": 1}, {"amont": 1}]),
        ValueError,
        "milestones.1.amont: is not known: did you mean amount?",
    ),
    "unknown in a milestone": (
        creating(milestones=[{"amount": 1, "zzz": object()}]),
        ValueError,
        "milestones.0.zzz: is not known: there are amount, description, target_date",
    ),
    "first milestone without an amount": (
        creating(milestones=[{"amount": None}]),
        ValueError,
        "milestones.0.amount: must be a number or a decimal string",
    ),
    "milestone beyond the target": (
        creating(milestones=[{"amount": 1e9}]),
        ValueError,
        "milestones.0.amount: must not be above the goal's target amount",
    ),
    "final from the start": (creating(status="completed"), ValueError, "status: a goal is created active or paused"),
    "deadline": (
        updating(deadline="tomorrow"),
        ValueError,
        "deadline: must be a date (2026-01-31) or a time (2026-01-31T12:00:00Z)",
    ),
    "start to come": (
        creating(start_date=LATER.date()),
        ValueError,
        "start_date: must not be after today or before 1900",
    ),
    "field that cannot change": (
        updating(user_id="other"),
        ValueError,
        "user_id: is not something that can change; there are: name, description, target_amount, current_amount, "
        "deadline, status, external_id, metadata, position, image_url, version",
    ),
    "seen another version": (
        updating(version=1, name="Other"),
        ValueError,
        "The goal has changed since it was read: it is at version 3 now; read it again",
    ),
    "milestone beyond the span": (
        lambda goals, world: goals.add_milestone(world.open, 10000.01),
        ValueError,
        "amount: must not be above the goal's target amount",
    ),
    "milestone beyond a debt": (
        lambda goals, world: goals.add_milestone(world.debt, 8500.01),
        ValueError,
        "amount: must lie between where the debt starts and where it should end",
    ),
    "milestone twice": (
        lambda goals, world: goals.add_milestone(world.open, "5000.00"),
        ValueError,
        "amount: the goal has a milestone at this amount already",
    ),
    "out of a final state": (
        lambda goals, world: goals.update_goal(world.completed, status="active"),
        ValueError,
        "A goal that is completed cannot become active",
    ),
    "amount of a final goal": (
        lambda goals, world: goals.update_goal(world.completed, current_amount=11),
        ValueError,
        "The goal is completed, which is final; reopen it first",
    ),
    "link of a final goal": (
        lambda goals, world: goals.link_account_to_goal(world.completed, "a", allocation_percent=1),
        ValueError,
        "The goal is completed, which is final; reopen it first",
    ),
    "over 100%": (
        lambda goals, world: goals.link_account_to_goal(world.open, "b", allocation_percent=40.0001),
        ValueError,
        EXCEEDED,
    ),
    "over 100% alone": (
        lambda goals, world: goals.update_account_allocation(world.open, "a", new_allocation_percent=100.5),
        ValueError,
        EXCEEDED,
    ),
    "no share": (
        lambda goals, world: goals.link_account_to_goal(world.open, "b", allocation_percent=0),
        ValueError,
        "allocation_percent: must be greater than 0",
    ),
    "share left out": (
        lambda goals, world: goals.link_account_to_goal(world.open, "b"),
        ValueError,
        "allocation_percent: is needed, unless the account counts whole",
    ),
    "closed account": (
        lambda goals, world: goals.link_account_to_goal(world.open, "closed", allocation_percent=1),
        ValueError,
        "account_id: the account is closed and takes no new links",
    ),
    "account of another currency": (
        lambda goals, world: goals.link_account_to_goal(world.open, "yen", allocation_percent=1),
        ValueError,
        "account_id: the account is in JPY, but the goal is in USD",
    ),
    "share in the place of the name": (
        lambda goals, world: goals.link_account_to_goal(world.open, "b", 60),  # type: ignore[arg-type]
        ValueError,
        "account_name: must be text; the share is allocation_percent=60",
    ),
    "correction from no day": (
        lambda goals, world: goals.remove_account_from_goal(world.open, "a", correct_from="soon"),
        ValueError,
        "correct_from: must be a date (2026-01-31) or a time (2026-01-31T12:00:00Z)",
    ),
    "reopening what is open": (
        lambda goals, world: goals.reopen_goal(world.open),
        ValueError,
        "The goal is active: only one that is completed or abandoned can be reopened",
    ),
    "milestone that is none": (
        lambda goals, world: goals.update_milestone(world.open, "milestone_0", amount=1),
        KeyError,
        "Milestone not found",
    ),
    "milestone without an amount": (
        lambda goals, world: goals.update_milestone(world.open, world.milestone, amount=None),  # type: ignore[arg-type]
        ValueError,
        "amount: must be a number or a decimal string",
    ),
    "argument of no method": (updating(colour="red"), TypeError, UNKNOWN),
    "link to come": (
        lambda goals, world: goals.link_account_to_goal(world.open, "b", allocation_percent=1, from_=LATER),
        ValueError,
        "from: may be dated back, but not forward and not before 1900",
    ),
    "account that no URL can name": (
        lambda goals, world: goals.link_account_to_goal(world.open, "a/../b", allocation_percent=1),
        ValueError,
        "account_id: must not be . or .., nor hold one of them between slashes: no URL could name the account",
    ),
    "removing the goal by an account": (
        lambda goals, world: goals.remove_account_from_goal(world.open, ".."),
        KeyError,
        "Account not found",
    ),
    "removing no account": (
        lambda goals, world: goals.remove_account_from_goal(world.open, ""),
        KeyError,
        "Account not found",
    ),
    "account that is not linked": (
        lambda goals, world: goals.remove_account_from_goal(world.open, "b"),
        KeyError,
        "Account not found",
    ),
    "share of what is not linked": (
        lambda goals, world: goals.update_account_allocation(world.open, "b", 10),
        KeyError,
        "Account not found",
    ),
    "key that is no header": (
        lambda goals, world: goals.delete_goal(world.open, idempotency_key="a\nb"),
        ValueError,
        "idempotency_key: must be 1 to 200 printable ASCII characters",
    ),
}
GONE: dict[str, Operation] = {
    "get": lambda goals, _: goals.get_goal(NOWHERE),
    "update": lambda goals, _: goals.update_goal(NOWHERE, name="Other"),
    "delete": lambda goals, _: goals.delete_goal(NOWHERE),
    "progress": lambda goals, _: goals.get_goal_progress(NOWHERE),
    "add milestone": lambda goals, _: goals.add_milestone(NOWHERE, 1),
    "milestones": lambda goals, _: goals.list_milestones(NOWHERE),
    "change milestone": lambda goals, world: goals.update_milestone(NOWHERE, world.milestone, amount=1),
    "delete milestone": lambda goals, world: goals.delete_milestone(NOWHERE, world.milestone),
    "reopen": lambda goals, _: goals.reopen_goal(NOWHERE),
    "history": lambda goals, _: goals.get_goal_history(NOWHERE),
    "snapshots": lambda goals, _: goals.get_goal_snapshots(NOWHERE),
    "check": lambda goals, _: goals.check_milestones(NOWHERE),
    "milestone progress": lambda goals, _: goals.get_milestone_progress(NOWHERE),
    "next milestone": lambda goals, _: goals.get_next_milestone(NOWHERE),
    "link": lambda goals, _: goals.link_account_to_goal(NOWHERE, "a", allocation_percent=1),
    "funding": lambda goals, _: goals.get_goal_funding(NOWHERE),
    "share": lambda goals, _: goals.update_account_allocation(NOWHERE, "a", 1),
    "unlink": lambda goals, _: goals.remove_account_from_goal(NOWHERE, "a"),
    "no text": lambda goals, _: goals.get_goal(None),  # type: ignore[arg-type]
    "another address": lambda goals, world: goals.get_goal(f"{world.open}/progress"),
    "the list": lambda goals, _: goals.get_goal(""),
}
ALL = REFUSED | {f"gone: {name}": (operation, KeyError, "Goal not found") for name, operation in GONE.items()}


@pytest.fixture
async def world(manager: GoalManager, engine: Engine) -> World:
    """The goals, and two accounts that cannot be linked."""
    with engine.begin() as connection:
        connection.execute(
            text(
                """INSERT INTO accounts (tenant, account_id, currency, closed) VALUES
                ('default', 'closed', NULL, true), ('default', 'yen', 'JPY', false)"""
            )
        )
    return await build(manager)


@pytest.mark.parametrize("transport", ["manager", "client"])
async def test_what_is_refused_changes_nothing(
    transport: str, manager: GoalManager, client: Client, world: World, engine: Engine
) -> None:
    """Each has its builtin exception and its text, which names the argument, and leaves all tables as they were."""
    goals: Goals = manager if transport == "manager" else client
    before = dump(engine)
    for name, (operation, kind, message) in ALL.items():
        with pytest.raises(kind) as refused:
            await operation(goals, world)
        assert str(refused.value) == message, name
        assert dump(engine) == before, name


@pytest.mark.parametrize("transport", ["manager", "client"])
async def test_what_is_not_found_has_its_id(transport: str, manager: GoalManager, client: Client, world: World) -> None:
    """That of the goal, milestone or account; None for what is no text."""
    goals: Goals = manager if transport == "manager" else client
    for name, operation in GONE.items():
        with pytest.raises(NotFound) as missing:
            await operation(goals, world)
        ids = {"no text": None, "another address": f"{world.open}/progress", "the list": ""}
        assert missing.value.id == ids.get(name, NOWHERE), name
    for call, id in (
        (goals.remove_account_from_goal(world.open, "b/1"), "b/1"),
        (goals.remove_account_from_goal(world.open, "a/.."), "a/.."),
        (goals.update_milestone(world.open, "milestone_0", amount=1), "milestone_0"),
    ):
        with pytest.raises(NotFound) as missing:
            await call
        assert missing.value.id == id


async def test_an_argument_of_no_method_is_a_type_error(interfaces: Mapping[str, AnyInterface]) -> None:
    """Whichever method it is, by every interface, also for the two that take any name of a field."""
    for name, interface in interfaces.items():
        for method in (each for each in dir(interface) if not each.startswith("_")):
            if callable(getattr(interface, method)):
                with pytest.raises(TypeError):
                    await ask(interface, method, colour="red")
                arguments = {"update_goal": ["goal_1"], "update_milestone": ["goal_1", "milestone_1"]}.get(method)
                if arguments is not None:
                    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
                        await ask(interface, method, *arguments, colour="red")
        with pytest.raises(TypeError):
            await ask(interface, "create_goal", "u", "Trip", "savings", 1, colour=name)


async def test_a_goal_of_another_tenant_is_not_there(
    manager: GoalManager, world: World, engine: Engine, new_tenant: Callable[..., str], database_url: str
) -> None:
    """Whatever is asked of another tenant's goal, it is not found, and an account of its name is not that account."""
    async with easy_goals(database_url=database_url, tenant=new_tenant("other")) as others:
        before = dump(engine)
        for operation in (
            others.get_goal(world.open),
            others.update_goal(world.open, name="Mine"),
            others.delete_goal(world.open),
            others.link_account_to_goal(world.open, "a", allocation_percent=10),
            others.check_milestones(world.open),
        ):
            with pytest.raises(KeyError, match="Goal not found"):
                await operation
        assert dump(engine) == before
        assert await others.list_goals() == []
        mine = await others.create_goal(**SAVINGS)
        source = await others.link_account_to_goal(mine.id, "yen", allocation_percent=10)
        assert source.note == "no event has said anything of this account yet"
    assert len(await manager.list_goals()) == 4


async def test_net_worth_and_income_may_be_negative_and_overshoot(manager: GoalManager) -> None:
    """Their amounts may lie below zero, a net worth's target too, and any amount may go beyond its target."""
    worth = await manager.create_goal("user_123", "Out of the red", "net_worth", 0, current_amount=-5000.50)
    assert worth.current_amount == -5000.50
    worth = await manager.update_goal(worth.id, current_amount=12000)
    assert (await manager.get_goal_progress(worth.id)).percent_complete == 100
    income = await manager.create_goal("user_123", "Break even", "income", 100, current_amount=-500)
    assert (await manager.get_goal_progress(income.id)).percent_complete == 0
    saved = await manager.create_goal("user_123", "Trip", "savings", 100, current_amount=150)
    assert (await manager.get_goal_progress(saved.id)).percent_complete == 150
