"""The manager: what it returns belongs to the caller, and what it opens is closed."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import anyio
import pytest
from sqlalchemy import Engine, text

from milepost import (
    Closed,
    Exact,
    GoalManager,
    GoalStatus,
    GoalType,
    InvalidField,
    NextMilestone,
    NotFound,
    Unavailable,
    easy_goals,
    get_celebration_message,
    sync,
)
from milepost.client import local

pytestmark = pytest.mark.anyio

FUND = {"user_id": "user_123", "name": "Emergency Fund", "type": GoalType.SAVINGS, "target_amount": 10000.00}


def connections(engine: Engine) -> int:
    """How many connections managers have to this database."""
    statement = text(
        """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'milepost-python'"""
    )
    with engine.connect() as connection:
        found: int = connection.execute(statement).scalar_one()
        return found


async def test_a_goal_is_a_value(manager: GoalManager) -> None:
    """Changing what was returned, to the depth of a milestone, changes nothing that is stored."""
    goal = await manager.create_goal(**FUND, current_amount=2500.00)
    await manager.add_milestone(goal.id, 5000)
    goal = await manager.get_goal(goal.id)
    kept = await manager.get_goal(goal.id)
    goal["current_amount"] = Exact(0)
    goal["milestones"][0]["amount"] = Exact(1)
    goal.milestones.clear()
    goal.waiting_for.append("x")
    assert await manager.get_goal(goal.id) == kept
    source = await manager.link_account_to_goal(goal.id, "a", allocation_percent=60)
    source["allocation_percent"] = Exact(100)
    assert (await manager.get_goal_funding(goal.id))[0].allocation_percent == 60


async def test_arguments_may_be_given_in_every_documented_form(manager: GoalManager) -> None:
    """Names or order, members or text, floats, decimals or text, both spellings: one goal."""
    first = await manager.create_goal("user_123", "Trip", "savings", "100.10", current_amount=Decimal("0.10"))
    second = await manager.create_goal(
        user_id="user_123",
        name="Trip",
        goal_type=GoalType.SAVINGS,
        target_amount=100.1,
        current_amount=0.1,
        status=GoalStatus.ACTIVE,
    )
    own = ("id", "created_at", "updated_at")
    assert {k: v for k, v in first.items() if k not in own} == {k: v for k, v in second.items() if k not in own}
    await manager.link_account_to_goal(goal_id=first.id, account_id="a", allocation_percent=60.0)
    source = await manager.update_account_allocation(first.id, "a", new_allocation_percent="33.3333")
    assert source["allocation_percent"] == 33.3333


async def test_a_naive_datetime_is_utc_but_a_midnight_is_a_day(manager: GoalManager) -> None:
    """A deadline and a target date without a time zone come back as UTC; a midnight or a date as that midnight."""
    naive = datetime(2030, 11, 9, 12, 30)  # noqa: DTZ001
    goal = await manager.create_goal(**FUND, deadline=naive)
    assert goal.deadline == naive.replace(tzinfo=UTC)
    milestone = await manager.add_milestone(goal.id, 1, target_date=naive)
    assert milestone.target_date == naive.replace(tzinfo=UTC)
    day = datetime(2030, 11, 9)  # noqa: DTZ001
    for given in (day, day.date(), "2030-11-09", "2030-11-09T00:00:00"):
        goal = await manager.update_goal(goal.id, deadline=given)
        assert goal.deadline == day
    assert (await manager.add_milestone(goal.id, 2, target_date=day)).target_date == day
    goal = await manager.update_goal(goal.id, deadline=None)
    assert goal.deadline is None


async def test_floats_of_arithmetic_lose_nothing(manager: GoalManager) -> None:
    """0.10 added three hundred times to what was returned is 30.00, to the cent."""
    goal = await manager.create_goal(**FUND)
    for _ in range(300):
        goal["current_amount"] += 0.1
    goal = await manager.update_goal(goal.id, current_amount=goal.current_amount)
    assert str(goal.current_amount) == "30.00"
    total = 0.0
    for _ in range(300):
        total += 0.1
    assert str((await manager.update_goal(goal.id, current_amount=total)).current_amount) == "30.00"


async def test_each_milestone_is_new_once(manager: GoalManager) -> None:
    """The milestones crossed since the last check come in order with their sentences, and never again."""
    goal = await manager.create_goal(**FUND, current_amount=2500.00)
    for amount in (7500, 2500, 5000):
        await manager.add_milestone(goal.id, amount, f"{amount} saved")
    following = await manager.get_next_milestone(goal.id)
    assert following is not None
    assert following.amount == 5000
    shown = (await manager.get_milestone_progress(goal.id)).next_milestone
    assert isinstance(shown, NextMilestone)
    assert shown == {name: following[name] for name in ("amount", "description", "target_date", "reached", "id")}
    await manager.update_goal(goal.id, current_amount=8000)
    reached = await manager.check_milestones(goal.id)
    assert [milestone.amount for milestone in reached] == [2500, 5000, 7500]
    assert "7,500.00 USD" in manager.get_celebration_message(reached[2])
    assert get_celebration_message(reached[2]) == reached[2].celebration
    assert await manager.check_milestones(goal.id) == []
    assert await manager.get_next_milestone(goal.id) is None
    progress = await manager.get_milestone_progress(goal.id)
    assert (progress["reached_count"], progress["remaining_count"], progress["next_milestone"]) == (3, 0, None)


async def test_the_same_key_does_the_work_once(manager: GoalManager) -> None:
    """Every operation repeated under its key gets its first answer, also after the goal has changed or gone."""
    goal = await manager.create_goal(**FUND, idempotency_key="create")
    assert await manager.create_goal(**FUND, idempotency_key="create") == goal
    assert len(await manager.list_goals()) == 1
    milestone = await manager.add_milestone(goal.id, 5000, idempotency_key="milestone")
    assert await manager.add_milestone(goal.id, 5000, idempotency_key="milestone") == milestone
    manual = await manager.update_goal(goal.id, current_amount=6000, idempotency_key="type")
    await manager.update_goal(goal.id, current_amount=6100)
    assert await manager.update_goal(goal.id, current_amount=6000, idempotency_key="type") == manual
    assert (await manager.get_goal(goal.id)).current_amount == 6100
    reached = await manager.check_milestones(goal.id, idempotency_key="check")
    assert len(reached) == 1
    assert await manager.check_milestones(goal.id, idempotency_key="check") == reached
    link = await manager.link_account_to_goal(goal.id, "a", allocation_percent=60, idempotency_key="link")
    assert await manager.link_account_to_goal(goal.id, "a", allocation_percent=60, idempotency_key="link") == link
    for _ in range(2):
        await manager.remove_account_from_goal(goal.id, "a", idempotency_key="unlink")
        await manager.delete_goal(goal.id, idempotency_key="delete")
    with pytest.raises(InvalidField, match="was used for another request"):
        await manager.delete_goal(goal.id, idempotency_key="create")
    assert await manager.list_goals() == []


async def test_a_deleted_goal_frees_what_its_links_held(manager: GoalManager, engine: Engine) -> None:
    """Its milestones, links and ledger go with it, and the account can be given away anew."""
    goal = await manager.create_goal(**FUND)
    await manager.add_milestone(goal.id, 5000)
    await manager.link_account_to_goal(goal.id, "a", allocation_percent=100)
    await manager.delete_goal(goal_id=goal["id"])
    with pytest.raises(KeyError):
        await manager.get_goal(goal.id)
    with engine.connect() as connection:
        for table in ("goals", "milestones", "links", "goal_entries"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
    other = await manager.create_goal(**FUND)
    assert (await manager.link_account_to_goal(other.id, "a", allocation_percent=100)).allocation_percent == 100


async def test_a_list_has_all_goals(manager: GoalManager) -> None:
    """However many there are, in order of creation, filtered by user, type and status."""
    made = [(await manager.create_goal("user_1", f"Goal {n}", "savings", 1)).id for n in range(205)]
    debt = await manager.create_goal("user_2", "Card", "debt", 100)
    paused = await manager.create_goal("user_2", "Trip", "custom", 100, status="paused")
    assert [goal.id for goal in await manager.list_goals()] == [*made, debt.id, paused.id]
    assert [goal.id for goal in await manager.list_goals(user_id="user_1")] == made
    assert [goal.id for goal in await manager.list_goals(type=GoalType.DEBT)] == [debt.id]
    assert [goal.id for goal in await manager.list_goals(goal_type="debt", user_id="user_2")] == [debt.id]
    assert [goal.id for goal in await manager.list_goals("user_2", status="paused")] == [paused.id]
    with pytest.raises(InvalidField, match="user_id: must not hold a NUL character"):
        await manager.list_goals(user_id="nobody\0")


async def test_many_may_use_one_manager_at_once(manager: GoalManager, engine: Engine) -> None:
    """A hundred tasks set the amount of one goal: each is done, and the ledger has one entry for each, in a chain."""
    goal = await manager.create_goal(**FUND)

    async def type_amount(amount: int) -> None:
        await manager.update_goal(goal.id, current_amount=amount)

    async with anyio.create_task_group() as group:
        for amount in range(1, 101):
            group.start_soon(type_amount, amount)
    ledger = text("SELECT entry, before_minor, after_minor FROM goal_entries ORDER BY entry")
    with engine.connect() as connection:
        rows = connection.execute(ledger).all()
    assert [entry for entry, _, _ in rows] == list(range(1, 102))
    assert [before for _, before, _ in rows] == [None, *(after for _, _, after in rows[:-1])]
    assert sorted(after for _, _, after in rows) == [100 * amount for amount in range(101)]
    assert (await manager.get_goal(goal.id)).current_amount * 100 == rows[-1].after_minor


async def test_managers_of_one_server_config_share_connections(
    manager: GoalManager, database_url: str, engine: Engine
) -> None:
    """A second manager, blocking or not, opens nothing of its own; the last one closed, or forgotten, closes all."""
    await manager.list_goals()
    assert connections(engine) == 1
    async with easy_goals(database_url=database_url) as second:
        await second.list_goals()
        with sync.easy_goals(database_url=database_url) as third:
            third.list_goals()
        assert connections(engine) == 1
    await manager.list_goals()
    forgotten = easy_goals(database_url=database_url)
    await manager.close()
    assert len(local.server_configs()) == 1
    await forgotten.list_goals()
    del forgotten
    gc.collect()
    assert local.server_configs() == []
    assert connections(engine) == 0


async def test_a_closed_manager_says_so(manager: GoalManager) -> None:
    """Closing twice is harmless; a call after it is a RuntimeError."""
    await manager.close()
    await manager.close()
    for call in (manager.list_goals(), manager.list_accounts(), manager.create_goal(**FUND), manager.send_event({})):
        with pytest.raises(Closed) as refused:
            await call
        assert isinstance(refused.value, RuntimeError)
        assert str(refused.value) == "this manager is closed"


def test_a_closed_blocking_manager_says_so(sync_manager: sync.GoalManager) -> None:
    """As one that is awaited."""
    sync_manager.close()
    with pytest.raises(sync.Closed, match=r"^this manager is closed$"):
        sync_manager.list_goals()


async def test_what_cannot_be_opened_is_reported(database_url: str, engine: Engine) -> None:
    """An address that makes no sense is a ValueError at once; a database that is away and a tenant that is not there
    are errors at the first call, with what to do, and no password."""
    with pytest.raises(ValueError, match=r"^MILEPOST_DATABASE_URL must be a postgresql:// address"):
        easy_goals(database_url="mysql://localhost/goals")
    async with easy_goals(database_url="postgresql://milepost:secret@127.0.0.1:1/goals") as away:
        with pytest.raises(Unavailable) as trouble:
            await away.list_goals()
        assert "secret" not in str(trouble.value)
        assert str(trouble.value).startswith("The database is not available: connection failed: ")
        assert "port 1" in str(trouble.value)
    for address in ("postgresql://milepost:pa@s3cret@localhost/goals", "postgresql://localhost:abc/goals"):
        with pytest.raises(ValueError, match=r"^MILEPOST_DATABASE_URL must be a postgresql:// address") as refused:
            easy_goals(database_url=address)
        assert "s3cret" not in str(refused.value)
    async with easy_goals(database_url=database_url, tenant="acme") as nobody:
        with pytest.raises(NotFound, match="there is no tenant acme"):
            await nobody.list_goals()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    async with easy_goals(database_url=database_url) as empty:
        with pytest.raises(Unavailable, match="milepost migrate"):
            await empty.list_goals()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO alembic_version VALUES ('0029')"))
    async with easy_goals(database_url=database_url) as older:
        with pytest.raises(Unavailable, match=r"^the database is at revision 0029, which .*: keep it for the Milepost"):
            await older.list_goals()


async def test_a_database_that_comes_back_is_used_again(manager: GoalManager, engine: Engine) -> None:
    """A connection that was cut is replaced without the caller noticing."""
    goal = await manager.create_goal(**FUND)
    with engine.begin() as connection:
        connection.execute(
            text(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'milepost-python'"""
            )
        )
    assert (await manager.get_goal(goal.id)).id == goal.id


def test_a_fork_opens_connections_of_its_own(sync_manager: sync.GoalManager, engine: Engine) -> None:
    """A manager used before and after a fork works in both processes, and the child leaves the parent's alone."""
    goal = sync_manager.create_goal(**FUND)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        found = sync_manager.update_goal(goal.id, current_amount=5).current_amount
        os.write(writing, f"{found} {connections(engine)}".encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(reading, 100).decode() == "5.00 2"
    assert sync_manager.get_goal(goal.id).current_amount == 5
    os.close(reading)
    os.close(writing)


async def test_goals_of_another_time_zone_have_its_days(new_tenant: Callable[..., str], database_url: str) -> None:
    """A manager works in its tenant's time zone: there, today may be another day."""
    async with easy_goals(database_url=database_url, tenant=new_tenant("far", "Pacific/Kiritimati")) as manager:
        goal = await manager.create_goal(**FUND)
    assert goal.start_date == (datetime.now(UTC) + timedelta(hours=14)).date()
