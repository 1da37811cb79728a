"""The routes of a goal's milestones."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.auth import Door
from api.bodies import RawBody, parse_body, takes
from api.documented import answers
from api.models import NewMilestone
from api.rendering import (
    ExactResponse,
    MilestoneBody,
    MilestoneProgressBody,
    milestone_body,
    milestone_progress_body,
)
from core.requests.add_milestone import add_milestone
from core.requests.keys import Scope
from core.requests.read_goals import get_goal, milestone_progress

router = APIRouter(prefix="/goals/{goal_id}/milestones", tags=["milestones"])


@router.post(
    "",
    summary="Add milestone",
    status_code=201,
    openapi_extra=takes(NewMilestone),
    responses=answers(201, MilestoneBody, "The milestone, reached or not", 404, 409, 413, 422),
)
def add(goal_id: str, door: Door, raw: RawBody) -> Response:
    """Add a milestone; one that the amount has passed already is reached at once."""
    with door.open(Scope.GOALS_WRITE) as visit:
        draft = parse_body(NewMilestone, raw).draft()
        milestone = add_milestone(visit.session, visit.tenant, goal_id, draft, visit.now)
        body = milestone_body(milestone, get_goal(visit.session, visit.tenant, goal_id).currency)
    return ExactResponse(body, status_code=201)


@router.get(
    "",
    summary="List milestones",
    responses=answers(200, list[MilestoneBody], "All of them, by amount", 404),
)
def list_all(goal_id: str, door: Door) -> Response:
    """List the milestones of a goal."""
    with door.open(Scope.GOALS_READ) as visit:
        goal = get_goal(visit.session, visit.tenant, goal_id)
        body = [milestone_body(milestone, goal.currency) for milestone in goal.milestones]
    return ExactResponse(body)


@router.get(
    "/progress",
    summary="Milestone progress",
    responses=answers(200, MilestoneProgressBody, "The milestones in numbers", 404),
)
def progress(goal_id: str, door: Door) -> Response:
    """Get how many milestones are reached, and the next one."""
    with door.open(Scope.GOALS_READ) as visit:
        body = milestone_progress_body(milestone_progress(visit.session, visit.tenant, goal_id))
    return ExactResponse(body)
