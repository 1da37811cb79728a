"""Checks of requests: each successful one was done once, between request and answer; nothing else was done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tests.chaos.checks.evidence import Evidence, Row
from tests.chaos.load.world import ZONES
from tests.chaos.operations.log import GoalLog, Operation, Period, periods
from tests.chaos.oracle.placement import first_instant
from tests.chaos.verdict import Verdict


def check_requests(verdict: Verdict, goals: Sequence[GoalLog], evidence: Evidence) -> None:
    """Goals, their status, links and manual amounts are those that were requested."""
    rows = list(_goals(goals, evidence))
    for goal in goals:
        rows += [f"{goal.tenant} {goal.plan.name}: {trouble}" for trouble in _of_goal(goal, evidence)]
    verdict.record("requests", sum(len(goal.operations) for goal in goals), rows)


def _goals(goals: Sequence[GoalLog], evidence: Evidence) -> Iterable[str]:
    requested = {(goal.tenant, goal.goal_id) for goal in goals}
    made = {(row["tenant"], row["goal_id"]) for row in evidence["goals"]}
    yield from (f"{tenant} {goal_id} was created and is not stored" for tenant, goal_id in sorted(requested - made))
    yield from (f"{tenant} {goal_id} is stored and was not requested" for tenant, goal_id in sorted(made - requested))


def _of_goal(goal: GoalLog, evidence: Evidence) -> Iterable[str]:
    own = (goal.tenant, goal.goal_id)
    for row in evidence["goals"]:
        if (row["tenant"], row["goal_id"]) == own:
            yield from _of_row(goal, row)
    if goal.plan.tracking != "net_worth":
        links = evidence.of_goal("links", *own)
        wanted = periods(goal.operations)
        if len(links) != len(wanted):
            yield f"{len(links)} links, and {len(wanted)} were requested"
        for link, period in zip(links, wanted, strict=False):
            yield from _of_link(link, period, ZONES[goal.tenant])
    manual = evidence.of_goal("manual_amounts", *own)
    requested = [operation for operation in goal.operations if operation.verb == "type"]
    if [row["amount_minor"] for row in manual] != [operation.amount_minor for operation in requested]:
        amounts = [operation.amount_minor for operation in requested]
        yield f"manual amounts {[row['amount_minor'] for row in manual]}, requested {amounts}"
    yield from (
        f"manual amount at {row['manual_at']}, requested {_between(operation)}"
        for row, operation in zip(manual, requested, strict=False)
        if not _is_within(row["manual_at"], operation)
    )


def _of_row(goal: GoalLog, row: Row) -> Iterable[str]:
    if row["status"] != goal.status:
        yield f"is {row['status']}, requested was {goal.status}"
    if row["start_date"] != goal.operations[0].since:
        yield f"starts on {row['start_date']}, requested was {goal.operations[0].since}"
    ends = [operation for operation in goal.operations if operation.verb == "abandon"]
    if ends and (row["final_at"] is None or not _is_within(row["final_at"], ends[0])):
        yield f"ended at {row['final_at']}, requested {_between(ends[0])}"
    if not ends and row["final_at"] is not None:
        yield f"ended at {row['final_at']}, which was not requested"


def _of_link(link: Row, period: Period, zone: str) -> Iterable[str]:
    link_name = f"link of {link['account_id']}"
    if (link["account_id"], link["ppm"]) != (period.account_id, period.ppm):
        yield f"{link_name} with {link['ppm']} ppm, requested was {period.account_id} with {period.ppm}"
    since = period.started.since
    if since is None and not _is_within(link["from_at"], period.started):
        yield f"{link_name} from {link['from_at']}, requested {_between(period.started)}"
    if since is not None and link["from_at"] != first_instant(since, zone):
        yield f"{link_name} from {link['from_at']}, requested was from {since}"
    if period.ended is None and link["until_at"] is not None:
        yield f"{link_name} ended at {link['until_at']}, which was not requested"
    if period.ended is not None and (link["until_at"] is None or not _is_within(link["until_at"], period.ended)):
        yield f"{link_name} ended at {link['until_at']}, requested {_between(period.ended)}"


def _is_within(moment: datetime, operation: Operation) -> bool:
    return operation.began_at <= moment <= operation.ended_at


def _between(operation: Operation) -> str:
    return f"between {operation.began_at} and {operation.ended_at}"
