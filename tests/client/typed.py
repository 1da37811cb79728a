"""What a type checker sees of the Python interface; checked by test_types.py, never run.

A line that is wrong ends in a comment with the codes that mypy must report there.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from fastapi import Depends, FastAPI

import milepost
from milepost import (
    Account,
    AccountConnection,
    Allocation,
    Allocations,
    Client,
    DeadLetter,
    Exact,
    FundingSource,
    Goal,
    GoalManager,
    GoalProgress,
    Goals,
    GoalStatus,
    GoalType,
    Interface,
    LedgerEntry,
    Milestone,
    MilestoneProgress,
    NextMilestone,
    NotFound,
    ProviderAccount,
    RefreshRequest,
    Relink,
    Replayed,
    Report,
    Snapshot,
    Tracking,
    UnappliedEvent,
    WholeDeadLetter,
    add_goals,
    easy_goals,
    sync,
)


async def what_methods_give(goals: Goals) -> None:
    goal = await goals.create_goal(
        user_id="user_123",
        name="Emergency Fund",
        type=GoalType.SAVINGS,
        target_amount=10000.00,
        current_amount=Decimal("2500.00"),
        deadline=datetime.now(),  # noqa: DTZ005  as the documentation has it
        status=GoalStatus.ACTIVE,
    )
    assert_type(goal, Goal)
    assert_type(await goals.get_goal(goal.id), Goal)
    assert_type(await goals.list_goals(user_id="user_123", type="savings", status=GoalStatus.ACTIVE), list[Goal])
    assert_type(await goals.update_goal(goal_id=goal.id, current_amount=5500, status="paused", deadline=None), Goal)
    assert_type(await goals.add_milestone(goal_id=goal.id, amount="2500.00"), Milestone)
    assert_type(await goals.list_milestones(goal.id), list[Milestone])
    assert_type(await goals.check_milestones(goal.id), list[Milestone])
    assert_type(await goals.get_milestone_progress(goal.id), MilestoneProgress)
    assert_type(await goals.get_next_milestone(goal.id), Milestone | None)
    assert_type(await goals.get_goal_progress(goal.id), GoalProgress)
    assert_type(await goals.link_account_to_goal(goal.id, "a", allocation_percent=60.0), FundingSource)
    assert_type(await goals.get_goal_funding(goal.id), list[FundingSource])
    assert_type(await goals.update_account_allocation(goal.id, "a", new_allocation_percent=70), FundingSource)
    await goals.remove_account_from_goal(goal.id, "a")
    await goals.delete_goal(goal.id)


async def what_else_can_be_done_with_goals(goals: Goals) -> None:
    assert_type(await goals.reopen_goal("goal_1"), Goal)
    assert_type(await goals.update_milestone("goal_1", "milestone_1", amount=5, target_date=None), Milestone)
    assert_type(await goals.get_goal_history("goal_1", as_known_at=date(2026, 1, 31)), list[LedgerEntry])
    assert_type(await goals.get_goal_snapshots("goal_1", from_=date(2026, 1, 31), to="2026-01-31"), list[Snapshot])
    source = await goals.update_account_allocation("goal_1", "a", 5, correct_from=date(2026, 1, 31))
    assert_type(source, FundingSource)
    await goals.remove_account_from_goal("goal_1", "a", correct_from="2026-01-31")
    await goals.delete_milestone("goal_1", "milestone_1")


async def what_other_resources_give(interface: Interface, body: dict[str, Any]) -> None:
    account = await interface.get_account("a")
    assert_type(account, Account)
    assert_type(account.worth, Exact | None)
    assert_type(account.last_report, Report | None)
    assert_type(account.connection, AccountConnection | None)
    assert_type(await interface.list_accounts("user_123", has_difference=True), list[Account])
    assert_type(await interface.list_reports("a"), list[Report])
    allocations = await interface.get_allocations("a")
    assert_type(allocations, Allocations)
    assert_type(allocations.allocations, list[Allocation])
    assert_type(allocations.allocations[0].from_, datetime)
    assert_type(await interface.list_relinks(), list[Relink])
    assert_type(await interface.accept_relink("a", "b", from_=date(2026, 1, 31)), Account)
    assert_type(await interface.undo_relink("a"), Account)
    assert_type(await interface.send_event(body, strict=True), int)
    assert_type(await interface.send_events([body, b"{}", "{}"], idempotency_key="key"), int)
    assert_type(await interface.send_events(body for _ in range(3)), int)
    assert_type(await interface.send_file(Path("events.ndjson"), on_progress=print), int)
    assert_type(await interface.send_pulled("teller", [body], pulled_at=datetime(2026, 1, 31), kind="asset"), int)  # noqa: DTZ001
    assert_type(await interface.list_unapplied(since="2026-01-31"), list[UnappliedEvent])
    assert_type(await interface.list_dead_letters(code="bad_amount", state="waiting"), list[DeadLetter])
    assert_type(await interface.get_dead_letter(0, "1-0"), WholeDeadLetter)
    assert_type(await interface.replay_dead_letter(0, "1-0", again=True), DeadLetter)
    assert_type(await interface.replay_dead_letters("bad_amount", limit=5), Replayed)
    assert_type(await interface.discard_dead_letter(0, "1-0", "a test"), DeadLetter)
    assert_type(await interface.list_provider_accounts("teller"), list[ProviderAccount])
    assert_type(await interface.get_provider_account("teller", "acc_1"), ProviderAccount)
    assert_type(await interface.register_provider_account("teller", "acc_1", currency="USD"), ProviderAccount)
    await interface.remove_provider_account("teller", "acc_1")
    assert_type(await interface.list_refresh_requests(kind="transactions"), list[RefreshRequest])
    assert_type(await interface.finish_refresh_request("refresh_1", 3), RefreshRequest)


async def what_is_accepted_as_an_interface(manager: GoalManager, client: Client, error: NotFound) -> None:
    await what_other_resources_give(manager, {})
    await what_other_resources_give(client, {})
    assert_type(error.id, str | None)


def what_records_hold(goal: Goal, progress: GoalProgress, source: FundingSource, milestones: MilestoneProgress) -> None:
    assert_type(goal.current_amount, Exact)
    assert_type(goal["current_amount"], Exact)
    assert_type(goal["current_amount"] + 500.00, Exact)
    assert_type(goal["current_amount"] / goal["target_amount"] * 100, Exact)
    assert_type(goal["current_amount"] >= 1234.56, bool)
    assert_type(goal["name"], str)
    assert_type(goal["type"], GoalType)
    assert_type(goal["tracking"], Tracking)
    assert_type(goal["status"], GoalStatus)
    assert_type(goal["deadline"], datetime | None)
    assert_type(goal["start_date"], date)
    assert_type(goal["milestones"], list[Milestone])
    assert_type(goal["milestones"][0]["reached_date"], datetime | None)
    assert_type(goal["something else"], Any)
    assert_type(progress["percent_complete"], Exact | None)
    assert_type(progress.projected_completion_date, datetime | None)
    assert_type(progress.on_track, bool | None)
    assert_type(progress["monthly_contribution_target"], Exact | None)
    assert_type(progress["as_of"], datetime)
    assert_type(progress["projected_at"], datetime)
    assert_type(progress["trend_months"], int)
    assert_type(progress.contribution_months, int)
    assert_type(source["allocation_percent"], Exact)
    assert_type(source["account_name"], str | None)
    assert_type(source.from_, datetime)
    assert_type(milestones["reached_count"], int)
    assert_type(milestones["next_milestone"], NextMilestone | None)
    assert milestones.next_milestone is not None
    assert_type(milestones.next_milestone["amount"], Exact)
    assert_type(milestones.next_milestone.reached, bool)
    assert_type(milepost.get_celebration_message(goal.milestones[0]), str)


async def what_functions_give() -> None:
    assert_type(await milepost.create_goal("user_123", "Trip", "savings", 100), Goal)
    assert_type(await milepost.update_goal("goal_1", name="Other"), Goal)
    assert_type(await milepost.check_milestones(goal_id="goal_1"), list[Milestone])


def what_the_sync_interface_gives() -> None:
    with sync.easy_goals(tenant="acme") as manager:
        assert_type(manager, sync.GoalManager)
        assert_type(manager.create_goal("user_123", "Trip", "savings", 100), Goal)
    with sync.Client("https://milepost.example", "mp_key") as client:
        assert_type(client.list_goals(), list[Goal])
        assert_type(client.list_accounts(), list[Account])
        assert_type(client.send_file("events.ndjson", on_progress=print), int)
    assert_type(sync.get_goal("goal_1"), Goal)


async def what_is_made(app: FastAPI) -> None:
    manager = easy_goals(database_url="postgresql://localhost/goals", redis_url="redis://localhost")
    assert_type(manager, GoalManager)
    async with Client("https://milepost.example", api_key="mp_key") as client:
        assert_type(client, Client)
        assert_type(await client.get_goal("goal_1"), Goal)
    assert_type(add_goals(app), GoalManager)
    assert_type(add_goals(app, manager=manager, prefix="/goals", auth=what_is_made), GoalManager)
    assert_type(add_goals(app, manager=sync.easy_goals(), auth=[Depends(what_is_made)]), sync.GoalManager)


async def what_is_wrong(goals: Goals, goal: Goal) -> None:
    await goals.create_goal(name="Trip", type="savings", target_amount=1)  # error: call-arg
    await goals.create_goal("user_123", "Trip", "savings", target_amount=None, colour="red")  # error: call-arg
    await goals.update_goal(goal.id, user_id="other")  # error: call-arg
    await goals.update_goal(goal.id, current_amount=[1])  # error: arg-type
    await goals.add_milestone(goal.id, amount=None)  # error: arg-type
    await goals.update_milestone(goal.id, "milestone_1", reached=True)  # error: call-arg
    await goals.link_account_to_goal(goal.id, "a", 60)  # error: arg-type
    await goals.send_event({})  # error: attr-defined
    _ = goal.colour  # error: attr-defined
    _ = goal["current_amount"] + "1.00"  # error: operator
    goals.list_goals(type=3)  # error: arg-type, unused-coroutine
    await milepost.get_goal()  # error: call-arg
    await milepost.update_goal("goal_1", colour="red")  # error: call-arg
    sync.get_goal(3)  # error: arg-type
    easy_goals("postgresql://localhost/goals")  # error: call-arg
