"""Checks of requests: what was answered with success was done once, between request and answer; nothing else was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tests.chaos.checks.evidence import Evidence, Row
from tests.chaos.load.world import ZONES
from tests.chaos.operations.log import Acted, Deed, Period, periods
from tests.chaos.oracle.facts import first_instant
from tests.chaos.verdict import Verdict


def check_requests(verdict: Verdict, goals: Sequence[Acted], evidence: Evidence) -> None:
    """Goals, their status, links and typed amounts are those that were asked for."""
    rows = list(_goals(goals, evidence))
    for goal in goals:
        rows += [f"{goal.tenant} {goal.plan.name}: {trouble}" for trouble in _of_goal(goal, evidence)]
    verdict.hold("requests", sum(len(goal.deeds) for goal in goals), rows)


def _goals(goals: Sequence[Acted], evidence: Evidence) -> Iterable[str]:
    asked = {(goal.tenant, goal.goal_id) for goal in goals}
    made = {(row["tenant"], row["goal_id"]) for row in evidence["goals"]}
    yield from (f"{tenant} {goal_id} was made and is not there" for tenant, goal_id in sorted(asked - made))
    yield from (f"{tenant} {goal_id} is there and nobody asked for it" for tenant, goal_id in sorted(made - asked))


def _of_goal(goal: Acted, evidence: Evidence) -> Iterable[str]:
    own = (goal.tenant, goal.goal_id)
    for row in evidence["goals"]:
        if (row["tenant"], row["goal_id"]) == own:
            yield from _of_row(goal, row)
    if goal.plan.tracking != "net_worth":
        links = evidence.of_goal("links", *own)
        wanted = periods(goal.deeds)
        if len(links) != len(wanted):
            yield f"{len(links)} links, and {len(wanted)} were asked for"
        for link, period in zip(links, wanted, strict=False):
            yield from _of_link(link, period, ZONES[goal.tenant])
    typed = evidence.of_goal("typed_amounts", *own)
    asked = [deed for deed in goal.deeds if deed.verb == "type"]
    if [row["amount_minor"] for row in typed] != [deed.amount_minor for deed in asked]:
        yield f"typed {[row['amount_minor'] for row in typed]}, asked for {[deed.amount_minor for deed in asked]}"
    yield from (
        f"typed at {row['typed_at']}, asked for {_between(deed)}"
        for row, deed in zip(typed, asked, strict=False)
        if not _is_within(row["typed_at"], deed)
    )


def _of_row(goal: Acted, row: Row) -> Iterable[str]:
    if row["status"] != goal.status:
        yield f"is {row['status']}, and was asked to be {goal.status}"
    if row["start_date"] != goal.deeds[0].since:
        yield f"starts on {row['start_date']}, asked for {goal.deeds[0].since}"
    ends = [deed for deed in goal.deeds if deed.verb == "abandon"]
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


def _is_within(moment: datetime, deed: Deed) -> bool:
    return deed.began_at <= moment <= deed.ended_at


def _between(deed: Deed) -> str:
    return f"between {deed.began_at} and {deed.ended_at}"
