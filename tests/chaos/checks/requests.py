"""Checks of requests: what was answered with success was done once, between request and answer; nothing else was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tests.chaos.checks.evidence import Evidence, Row
from tests.chaos.load.world import ZONES
from tests.chaos.operations.log import GoalLog, Operation, Period, periods
from tests.chaos.oracle.facts import first_instant
from tests.chaos.verdict import Verdict


def check_requests(verdict: Verdict, goals: Sequence[GoalLog], evidence: Evidence) -> None:
    """Goals, their status, links and typed amounts are those that were asked for."""
    rows = list(_goals(goals, evidence))
    for goal in goals:
        rows += [f"{goal.tenant} {goal.plan.name}: {trouble}" for trouble in _of_goal(goal, evidence)]
    verdict.record("requests", sum(len(goal.operations) for goal in goals), rows)


def _goals(goals: Sequence[GoalLog], evidence: Evidence) -> Iterable[str]:
    asked = {(goal.tenant, goal.goal_id) for goal in goals}
    made = {(row["tenant"], row["goal_id"]) for row in evidence["goals"]}
    yield from (f"{tenant} {goal_id} was made and is not there" for tenant, goal_id in sorted(asked - made))
    yield from (f"{tenant} {goal_id} is there and nobody asked for it" for tenant, goal_id in sorted(made - asked))


def _of_goal(goal: GoalLog, evidence: Evidence) -> Iterable[str]:
    own = (goal.tenant, goal.goal_id)
    for row in evidence["goals"]:
        if (row["tenant"], row["goal_id"]) == own:
            yield from _of_row(goal, row)
    if goal.plan.tracking != "net_worth":
        links = evidence.of_goal("links", *own)
        wanted = periods(goal.operations)
        if len(links) != len(wanted):
            yield f"{len(links)} links, and {len(wanted)} were asked for"
        for link, period in zip(links, wanted, strict=False):
            yield from _of_link(link, period, ZONES[goal.tenant])
    manual = evidence.of_goal("manual_amounts", *own)
    asked = [operation for operation in goal.operations if operation.verb == "type"]
    if [row["amount_minor"] for row in manual] != [operation.amount_minor for operation in asked]:
        amounts = [operation.amount_minor for operation in asked]
        yield f"typed {[row['amount_minor'] for row in manual]}, asked for {amounts}"
    yield from (
        f"typed at {row['manual_at']}, asked for {_between(operation)}"
        for row, operation in zip(manual, asked, strict=False)
        if not _is_within(row["manual_at"], operation)
    )


def _of_row(goal: GoalLog, row: Row) -> Iterable[str]:
    if row["status"] != goal.status:
        yield f"is {row['status']}, and was asked to be {goal.status}"
    if row["start_date"] != goal.operations[0].since:
        yield f"starts on {row['start_date']}, asked for {goal.operations[0].since}"
    ends = [operation for operation in goal.operations if operation.verb == "abandon"]
    if ends and (row["final_at"] is None or not _is_within(row["final_at"], ends[0])):
        yield f"ended at {row['final_at']}, asked for {_between(ends[0])}"
    if not ends and row["final_at"] is not None:
        yield f"ended at {row['final_at']}, which nobody asked for"


def _of_link(link: Row, period: Period, zone: str) -> Iterable[str]:
    said = f"link of {link['account_id']}"
    if (link["account_id"], link["ppm"]) != (period.account_id, period.ppm):
        yield f"{said} with {link['ppm']} ppm, asked for {period.account_id} with {period.ppm}"
    since = period.begun.since
    if since is None and not _is_within(link["from_at"], period.begun):
        yield f"{said} from {link['from_at']}, asked for {_between(period.begun)}"
    if since is not None and link["from_at"] != first_instant(since, zone):
        yield f"{said} from {link['from_at']}, asked for from {since}"
    if period.ended is None and link["until_at"] is not None:
        yield f"{said} ended at {link['until_at']}, which nobody asked for"
    if period.ended is not None and (link["until_at"] is None or not _is_within(link["until_at"], period.ended)):
        yield f"{said} ended at {link['until_at']}, asked for {_between(period.ended)}"


def _is_within(moment: datetime, operation: Operation) -> bool:
    return operation.began_at <= moment <= operation.ended_at


def _between(operation: Operation) -> str:
    return f"between {operation.began_at} and {operation.ended_at}"
