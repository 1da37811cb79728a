"""The routes of goals and their progress."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.auth import Door
from api.bodies import RawBody, parse_body, takes
from api.cursors import Question
from api.documented import answers
from api.models import GoalPatch, NewGoal
from api.rendering import ExactResponse, GoalBody, ProgressBody, goal_body, progress_body
from core.goals.goal import GoalType
from core.goals.lifecycle import GoalStatus
from core.requests.create_goal import create_goal
from core.requests.delete_goal import delete_goal
from core.requests.keys import Scope
from core.requests.read_goals import get_goal, goal_progress, list_goals
from core.requests.update_goal import update_goal

PAGE = 100
PAGE_LARGEST = 200

router = APIRouter(prefix="/goals", tags=["goals"])


@router.post(
    "",
    summary="Create goal",
    status_code=201,
    openapi_extra=takes(NewGoal),
    responses=answers(201, GoalBody, "The goal", 413, 422),
)
def create(door: Door, raw: RawBody) -> Response:
    """Create a goal, active or paused."""
    with door.open(Scope.GOALS_WRITE) as visit:
        draft = parse_body(NewGoal, raw).draft()
        goal = goal_body(create_goal(visit.session, visit.tenant, draft, visit.now))
    return ExactResponse(goal, status_code=201, headers={"Location": f"/goals/{goal['id']}"})


@router.get(
    "",
    summary="List goals",
    responses=answers(200, list[GoalBody], "One page; the next is in the `Link` header", 422),
)
def list_page(
    door: Door,
    user_id: Annotated[str | None, Query(description="Only this user's goals")] = None,
    type: Annotated[GoalType | None, Query(description="Only goals of this type")] = None,
    status: Annotated[GoalStatus | None, Query(description="Only goals of this status")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LARGEST)] = PAGE,
    cursor: Annotated[str | None, Query(description="From the `Link` header of the page before")] = None,
) -> Response:
    """List goals, filtered, page by page."""
    with door.open(Scope.GOALS_READ) as visit:
        question = Question(visit.tenant.name, user_id, type, status)
        page = list_goals(
            visit.session,
            visit.tenant,
            user_id=user_id,
            type=type,
            status=status,
            limit=limit,
            cursor=None if cursor is None else question.unseal(cursor),
        )
        goals = [goal_body(goal) for goal in page.goals]
    return ExactResponse(goals, headers=question.link(limit, page.next_cursor))


@router.get("/{goal_id}", summary="Get goal details", responses=answers(200, GoalBody, "The goal", 404))
def get_one(goal_id: str, door: Door) -> Response:
    """Get a goal with its milestones."""
    with door.open(Scope.GOALS_READ) as visit:
        goal = goal_body(get_goal(visit.session, visit.tenant, goal_id))
    return ExactResponse(goal)


@router.patch(
    "/{goal_id}",
    summary="Update goal",
    openapi_extra=takes(GoalPatch),
    responses=answers(200, GoalBody, "The goal as it is now", 404, 409, 413, 422),
)
def update(goal_id: str, door: Door, raw: RawBody) -> Response:
    """Change the fields that are given; `null` clears the description and the deadline."""
    with door.open(Scope.GOALS_WRITE) as visit:
        changes = parse_body(GoalPatch, raw).changes()
        goal = goal_body(update_goal(visit.session, visit.tenant, goal_id, changes, visit.now))
    return ExactResponse(goal)


@router.delete(
    "/{goal_id}",
    summary="Delete goal",
    status_code=204,
    responses=answers(204, None, "It is gone, with its milestones and links", 404),
)
def delete(goal_id: str, door: Door) -> Response:
    """Delete a goal."""
    with door.open(Scope.GOALS_WRITE) as visit:
        delete_goal(visit.session, visit.tenant, goal_id, visit.now)
    return Response(status_code=204)


@router.get(
    "/{goal_id}/progress",
    summary="Get progress",
    responses=answers(200, ProgressBody, "How far the goal is", 404),
)
def progress(goal_id: str, door: Door) -> Response:
    """Get how far the goal is, in percent, and when it will be reached."""
    with door.open(Scope.GOALS_READ) as visit:
        body = progress_body(goal_progress(visit.session, visit.tenant, goal_id))
    return ExactResponse(body)
