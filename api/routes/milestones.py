"""The routes of a goal's milestones."""

from fastapi import Request
from starlette.responses import Response

from api.bodies import RawBody, document_body, parse_body
from api.conditional import IfMatch
from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.idempotency import REPLAYED, Idempotency
from api.routes.goals import read_goal
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.goals import MilestoneBody, MilestoneProgressBody, milestone_body, milestone_progress_body
from api.schemas.rendering import ExactResponse
from api.schemas.requests import MilestonePatch, NewMilestone
from core.services.goals import get_goal
from core.services.keys import Scope
from core.services.milestones import (
    add_milestone,
    change_milestone,
    check_milestones,
    list_milestones,
    milestone_progress,
    next_milestone,
    remove_milestone,
)
from core.services.pages import PAGE

router = Routes(below="/{goal_id}/milestones", tags=["milestones"])

MILESTONE = "/{milestone_id}"


@router.post(
    "",
    summary="Add milestone",
    operation_id="addMilestone",
    status_code=201,
    openapi_extra=document_body(NewMilestone),
    responses=answers(
        201, MilestoneBody, "The milestone, reached or not", 404, 409, 412, 413, 422, headers=(REPLAYED,)
    ),
)
def add(goal_id: str, contexts: Contexts, raw: RawBody, if_match: IfMatch, idempotency: Idempotency) -> Response:
    """Add a milestone; one that the amount has crossed already is reached at once."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            draft = parse_body(NewMilestone, raw).draft()
            seen = if_match.versions(goal_id)
            milestone = add_milestone(context.session, context.tenant, goal_id, draft, context.now, seen=seen)
            currency = get_goal(context.session, context.tenant, goal_id).currency
            return ExactResponse(milestone_body(milestone, currency), status_code=201)

        return idempotency.answer(context, raw, perform)


@router.get(
    "",
    summary="List milestones",
    operation_id="listMilestones",
    responses=answers(
        200, list[MilestoneBody], "One page, by amount; the next is in the `Link` header", 404, 422, headers=("Link",)
    ),
)
def list_page(
    request: Request, goal_id: str, contexts: Contexts, limit: Limit = PAGE, cursor: Cursor = None
) -> Response:
    """List the milestones of a goal, page by page."""
    with contexts.open(Scope.GOALS_READ) as context:
        listing = Listing(context.tenant.name, ("goals", goal_id, "milestones"))
        position = listing.position(cursor)
        currency, page = list_milestones(context.session, context.tenant, goal_id, limit=limit, cursor=position)
        body = [milestone_body(milestone, currency) for milestone in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))


@router.get(
    "/progress",
    summary="Milestone progress",
    operation_id="getMilestoneProgress",
    responses=answers(200, MilestoneProgressBody, "The milestones in numbers", 404),
)
async def progress(request: Request, goal_id: str) -> Response:
    """Get how many milestones are reached, and the next one."""
    goal = await read_goal(request, goal_id)
    return ExactResponse(milestone_progress_body(milestone_progress(goal)))


@router.get(
    "/next",
    summary="Next milestone",
    operation_id="getNextMilestone",
    responses=answers(200, MilestoneBody | None, "The nearest one that is not reached; `null` if none is left", 404),
)
async def following(request: Request, goal_id: str) -> Response:
    """Get the next milestone that is not reached."""
    goal = await read_goal(request, goal_id)
    upcoming = next_milestone(goal)
    return ExactResponse(None if upcoming is None else milestone_body(upcoming, goal.currency))


@router.post(
    "/check",
    summary="Check milestones",
    operation_id="checkMilestones",
    responses=answers(
        200,
        list[MilestoneBody],
        "Those reached since the last check, in the order in which a goal crosses them",
        404,
        409,
        412,
        422,
        headers=(REPLAYED,),
    ),
)
def check(goal_id: str, contexts: Contexts, if_match: IfMatch, idempotency: Idempotency) -> Response:
    """Get the milestones that were reached since the last check; each is given once."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            seen = if_match.versions(goal_id)
            currency, reached = check_milestones(context.session, context.tenant, goal_id, context.now, seen=seen)
            return ExactResponse([milestone_body(milestone, currency) for milestone in reached])

        return idempotency.answer(context, b"", perform)


@router.patch(
    MILESTONE,
    summary="Update milestone",
    operation_id="updateMilestone",
    openapi_extra=document_body(MilestonePatch),
    responses=answers(200, MilestoneBody, "The milestone as it is now", 404, 409, 412, 413, 422, headers=(REPLAYED,)),
)
def change(
    goal_id: str, milestone_id: str, contexts: Contexts, raw: RawBody, if_match: IfMatch, idempotency: Idempotency
) -> Response:
    """Change the fields that are given; a new amount is reached if the goal has crossed it, and else not."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            changes = parse_body(MilestonePatch, raw).changes()
            seen = if_match.versions(goal_id)
            milestone = change_milestone(
                context.session, context.tenant, goal_id, milestone_id, changes, context.now, seen=seen
            )
            return ExactResponse(milestone_body(milestone, get_goal(context.session, context.tenant, goal_id).currency))

        return idempotency.answer(context, raw, perform)


@router.delete(
    MILESTONE,
    summary="Delete milestone",
    operation_id="deleteMilestone",
    status_code=204,
    responses=answers(204, None, "It is gone, reached or not", 404, 409, 412, 422, headers=(REPLAYED,)),
)
def remove(
    goal_id: str, milestone_id: str, contexts: Contexts, if_match: IfMatch, idempotency: Idempotency
) -> Response:
    """Delete a milestone."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            seen = if_match.versions(goal_id)
            remove_milestone(context.session, context.tenant, goal_id, milestone_id, context.now, seen=seen)
            return Response(status_code=204)

        return idempotency.answer(context, b"", perform)
