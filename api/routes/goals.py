"""The routes of goals and their progress."""

from collections.abc import Mapping
from typing import Annotated, Literal

import simplejson
from fastapi import Query, Request
from starlette.responses import Response

from api.bodies import RawBody, document_body, parse_body
from api.conditional import IF_NONE_MATCH, IfMatch, IfNoneMatchHeader, etag
from api.context import Contexts, contexts_of
from api.cursors import Cursor, Limit, Listing
from api.idempotency import REPLAYED, Idempotency
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.goals import GoalBody, ListedGoalBody, ProgressBody, goal_body, listed_goal_body, progress_body
from api.schemas.rendering import ExactResponse, PartsResponse, exact_json
from api.schemas.requests import GoalPatch, NewGoal
from core.errors import InvalidField, NotFound
from core.goals.goal import GoalStatus, GoalType
from core.services.goals import create_goal, delete_goal, list_goals, read_goals, reopen_goal, update_goal
from core.services.keys import Scope
from core.services.pages import PAGE, Page
from core.services.progress import read_progress
from core.services.quotas import require_room_for_goal
from core.services.views import GoalView, ProgressView

PAGE_BYTES_MOST = 4 * 2**20
"""A goal comes with its milestones, and their descriptions may be long."""
router = Routes(tags=["goals"])


@router.post(
    "",
    summary="Create goal",
    operation_id="createGoal",
    status_code=201,
    openapi_extra=document_body(NewGoal),
    responses=answers(201, GoalBody, "The goal", 409, 413, 422, headers=("Location", "ETag", REPLAYED)),
)
def create(request: Request, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Create a goal, active or paused."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            draft = parse_body(NewGoal, raw).draft()
            require_room_for_goal(context.session, context.tenant, context.backends.settings)
            goal = create_goal(context.session, context.tenant, draft, context.now)
            return _answer(goal, status=201, headers={"Location": f"{path_of(request)}/{goal.goal_id}"})

        return _with_etag(idempotency.answer(context, raw, perform), path_of(request))


@router.get(
    "",
    summary="List goals",
    operation_id="listGoals",
    responses=answers(200, list[ListedGoalBody], "One page; the next is in the `Link` header", 422, headers=("Link",)),
)
def list_page(
    request: Request,
    contexts: Contexts,
    type: Annotated[GoalType | None, Query(description="Only goals of this type")] = None,
    goal_type: Annotated[GoalType | None, Query(description="The same as `type`")] = None,
    user_id: Annotated[str | None, Query(description="Only this user's goals")] = None,
    status: Annotated[GoalStatus | None, Query(description="Only goals of this status")] = None,
    external_id: Annotated[str | None, Query(description="Only goals with this id of your own")] = None,
    include: Annotated[Literal["progress"] | None, Query(description="Each goal with its `progress`")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """List goals, filtered, page by page; with their progress, if you ask for it."""
    with contexts.open(Scope.GOALS_READ) as context:
        type = _one_of(type, goal_type)
        filters = {"user_id": user_id, "type": type, "status": status, "external_id": external_id}
        listing = Listing(context.tenant.name, ("goals",), {**filters, "include": include})
        page = list_goals(
            context.session,
            context.tenant,
            user_id=user_id,
            type=type,
            status=status,
            external_id=external_id,
            limit=limit,
            cursor=listing.position(cursor),
        )
        progresses: Mapping[str, ProgressView] = {}
        if include is not None:
            ids = [goal.goal_id for goal in page.items]
            progresses = read_progress(context.session, context.tenant, ids, context.now)
        goals, next_cursor = _fitting(page, progresses)
    return PartsResponse(goals, headers=listing.link(path_of(request), limit, next_cursor))


@router.get(
    "/{goal_id}",
    summary="Get goal details",
    operation_id="getGoal",
    openapi_extra=IF_NONE_MATCH,
    responses=answers(200, GoalBody, "The goal", 304, 404, headers=("ETag",)),
)
async def get_one(request: Request, goal_id: str) -> Response:
    """Get a goal with its milestones; nothing but 304 if you have it already."""
    goal = await read_goal(request, goal_id)
    if IfNoneMatchHeader.of(request).covers(etag(goal_id, goal.version)):
        return Response(status_code=304, headers={"ETag": etag(goal_id, goal.version)})
    return _answer(goal)


@router.patch(
    "/{goal_id}",
    summary="Update goal",
    operation_id="updateGoal",
    openapi_extra=document_body(GoalPatch),
    responses=answers(200, GoalBody, "The goal as it is now", 404, 409, 412, 413, 422, headers=("ETag", REPLAYED)),
)
def update(goal_id: str, contexts: Contexts, raw: RawBody, if_match: IfMatch, idempotency: Idempotency) -> Response:
    """Change the fields that are given; `null` clears the description and the deadline."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            patch = parse_body(GoalPatch, raw)
            seen = if_match.versions(goal_id, patch.expected_version)
            goal = update_goal(context.session, context.tenant, goal_id, patch.changes(), context.now, seen=seen)
            return _answer(goal)

        return _with_etag(idempotency.answer(context, raw, perform))


@router.delete(
    "/{goal_id}",
    summary="Delete goal",
    operation_id="deleteGoal",
    status_code=204,
    responses=answers(204, None, "It is gone, with its milestones and links", 404, 409, 412, 422, headers=(REPLAYED,)),
)
def delete(goal_id: str, contexts: Contexts, if_match: IfMatch, idempotency: Idempotency) -> Response:
    """Delete a goal."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            delete_goal(context.session, context.tenant, goal_id, context.now, seen=if_match.versions(goal_id))
            return Response(status_code=204)

        return idempotency.answer(context, b"", perform)


@router.post(
    "/{goal_id}/reopen",
    summary="Reopen goal",
    operation_id="reopenGoal",
    responses=answers(200, GoalBody, "The goal, active again", 404, 409, 412, 422, headers=("ETag", REPLAYED)),
)
def reopen(goal_id: str, contexts: Contexts, if_match: IfMatch, idempotency: Idempotency) -> Response:
    """Undo that a goal was completed or abandoned: its links go on as if they had never ended."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            seen = if_match.versions(goal_id)
            return _answer(reopen_goal(context.session, context.tenant, goal_id, context.now, seen=seen))

        return _with_etag(idempotency.answer(context, b"", perform))


@router.get(
    "/{goal_id}/progress",
    summary="Get progress",
    operation_id="getGoalProgress",
    responses=answers(200, ProgressBody, "How far the goal is", 404),
)
async def progress(request: Request, goal_id: str) -> Response:
    """Get how far the goal is, in percent, and when it will be reached."""
    found = await contexts_of(request).read(Scope.GOALS_READ, read_progress, goal_id)
    if found is None:
        raise NotFound("Goal", goal_id)
    return ExactResponse(progress_body(found))


async def read_goal(request: Request, goal_id: str) -> GoalView:
    """The goal with its milestones; raises NotFound if there is none."""
    goal = await contexts_of(request).read(Scope.GOALS_READ, read_goals, goal_id)
    if goal is None:
        raise NotFound("Goal", goal_id)
    return goal


def _one_of(type: GoalType | None, goal_type: GoalType | None) -> GoalType | None:
    if type is not None and goal_type not in (None, type):
        raise InvalidField("goal_type", "differs from type: give one of the two")
    return type or goal_type


def _fitting(page: Page[GoalView], progresses: Mapping[str, ProgressView]) -> tuple[list[bytes], str | None]:
    """The goals of a page that fit into PAGE_BYTES_MOST, at least one, as JSON; and where the next page begins."""
    goals: list[bytes] = []
    left = PAGE_BYTES_MOST
    for goal in page.items:
        body = exact_json(listed_goal_body(goal, progresses.get(goal.goal_id)))
        left -= len(body)
        if goals and left < 0:
            return goals, page.items[len(goals) - 1].goal_id
        goals.append(body)
    return goals, page.next_cursor


def _answer(goal: GoalView, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    all_headers = {"ETag": etag(goal.goal_id, goal.version), **(headers or {})}
    return ExactResponse(goal_body(goal), status_code=status, headers=all_headers)


def _with_etag(answer: Response, goals: str | None = None) -> Response:
    """The answer with its ETag. An answer stored for an Idempotency-Key has none, so it is made from the body.

    So is the Location of a created goal, below the path `goals`: the first request may have come in at another prefix.
    """
    if "ETag" not in answer.headers:
        goal = simplejson.loads(bytes(answer.body))
        answer.headers["ETag"] = etag(goal["id"], goal["version"])
        if goals is not None:
            answer.headers["Location"] = f"{goals}/{goal['id']}"
    return answer
