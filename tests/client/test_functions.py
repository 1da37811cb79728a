"""The functions: the methods of the manager that is open, wherever they are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import milepost
from milepost import GoalManager, easy_goals, sync
from milepost.client import local
from milepost.client import manager as manager_module

FUND = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}


@pytest.mark.anyio
async def test_the_functions_use_the_manager_that_is_open(manager: GoalManager) -> None:
    """Each does what the method does, with the same server config, and leaves nothing open."""
    goal = await milepost.create_goal(**FUND, current_amount=2500.00)
    assert await manager.get_goal(goal.id) == goal == await milepost.get_goal(goal.id)
    await milepost.add_milestone(goal.id, 5000.00, "Halfway")
    assert (await milepost.update_goal(goal_id=goal.id, current_amount=5500)).current_amount == 5500
    assert [each.amount for each in await milepost.check_milestones(goal.id)] == [5000]
    assert await milepost.get_next_milestone(goal.id) is None
    milestone = await milepost.add_milestone(goal.id, 6000)
    assert (await milepost.update_milestone(goal.id, milestone.id, amount=7000)).amount == 7000
    await milepost.delete_milestone(goal.id, milestone.id)
    assert [entry.after for entry in await milepost.get_goal_history(goal.id)] == [5500, 2500]
    assert await milepost.get_goal_snapshots(goal.id) == []
    await milepost.update_goal(goal.id, status="abandoned")
    assert (await milepost.reopen_goal(goal.id)).status == "active"
    assert (
        len(await milepost.list_milestones(goal.id)) == (await milepost.get_milestone_progress(goal.id)).reached_count
    )
    source = await milepost.link_account_to_goal(goal_id=goal.id, account_id="a", allocation_percent=60.0)
    assert await milepost.get_goal_funding(goal.id) == [source]
    assert (await milepost.update_account_allocation(goal.id, "a", 70)).allocation_percent == 70
    await milepost.remove_account_from_goal(goal.id, "a")
    assert (await milepost.get_goal_progress(goal.id)).percent_complete == 55
    assert [each.id for each in await milepost.list_goals(user_id="user_123")] == [goal.id]
    await milepost.delete_goal(goal.id)
    with pytest.raises(KeyError, match="Goal not found"):
        await milepost.get_goal(goal.id)


def test_the_blocking_functions_use_it_too(database_url: str) -> None:
    """Whether the open manager blocks or not: its server config is what counts."""
    with sync.easy_goals(database_url=database_url) as manager:
        goal = sync.create_goal(**FUND)
        assert manager.get_goal(goal.id) == goal
    opened = easy_goals(database_url=database_url)
    assert sync.get_goal(goal.id) == goal
    del opened


@pytest.mark.anyio
async def test_with_several_server_configs_open_a_function_refuses(
    manager: GoalManager, database_url: str, new_tenant: Callable[..., str]
) -> None:
    """It cannot know whose goals are meant; two managers of one server config count as one."""
    second = easy_goals(database_url=database_url)
    assert await milepost.list_goals() == []
    async with easy_goals(database_url=database_url, tenant=new_tenant("other")) as other:
        with pytest.raises(ValueError, match=r"^manager: several are open, so call a method of one of them"):
            await milepost.list_goals()
        assert await other.list_goals() == []
    assert await milepost.list_goals() == []
    await second.close()
    assert await manager.list_goals() == []


def test_without_a_manager_a_function_makes_one(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path
) -> None:
    """It is `easy_goals()` as the environment has it, and stays open for the next call."""
    monkeypatch.setenv("MILEPOST_DATABASE_URL", database_url)
    monkeypatch.setenv("MILEPOST_DATA_DIR", str(tmp_path))
    goal = sync.create_goal(**FUND)
    (server_config,) = local.server_configs()
    assert server_config.settings.database_url is not None
    assert sync.get_goal(goal.id) == goal
    assert local.server_configs() == [server_config]
    for manager in sync_functions_kept():
        manager.close()


def sync_functions_kept() -> list[sync.GoalManager]:
    """The manager that the blocking functions made."""
    from milepost.sync import manager as blocking

    assert manager_module._kept == []
    return blocking._kept
