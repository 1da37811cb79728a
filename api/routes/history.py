"""The route of a goal's ledger."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.given import QueryMoment
from api.schemas.goals import EntryBody, entry_body
from api.schemas.rendering import ExactResponse
from core.services.history import read_history
from core.services.keys import Scope
from core.services.pages import PAGE

AsKnownAt = Annotated[QueryMoment | None, Query(description="Give the ledger as it was at this moment")]

router = Routes(below="/{goal_id}/history", tags=["goals"])


@router.get(
    "",
    summary="Get history",
    operation_id="getGoalHistory",
    responses=answers(
        200, list[EntryBody], "One page, newest first; the next is in the `Link` header", 404, 422, headers=("Link",)
    ),
)
def list_page(
    request: Request,
    goal_id: str,
    contexts: Contexts,
    as_known_at: AsKnownAt = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Get when the amount changed, by how much and why, page by page."""
    with contexts.open(Scope.GOALS_READ) as context:
        listing = Listing(context.tenant.name, ("goals", goal_id, "history"), {"as_known_at": as_known_at})
        currency, page = read_history(
            context.session,
            context.tenant,
            goal_id,
            limit=limit,
            cursor=listing.position(cursor),
            now=context.now,
            as_known_at=as_known_at,
        )
        body = [entry_body(entry, currency) for entry in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))
