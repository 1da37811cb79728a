"""The route of a goal's closed days."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.context import Contexts
from api.cursors import Cursor, Listing
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.given import Day, QueryMoment
from api.schemas.goals import CloseBody, snapshot_body
from api.schemas.rendering import ExactResponse
from core.services.history import read_snapshots
from core.services.keys import Scope
from core.services.pages import cut, day_after

PAGE_DAYS = 3660
"""Ten years, the longest range that may be asked for: it fits in one page, unless `limit` says less."""

From = Annotated[Day | None, Query(alias="from", description="The first day; at the earliest the goal's start date")]
To = Annotated[Day | None, Query(alias="to", description="The last day; at the latest the last one that has ended")]
AsKnownAt = Annotated[QueryMoment | None, Query(description="Give the snapshots as they were stored at this moment")]
Limit = Annotated[int, Query(ge=1, le=PAGE_DAYS, description="The most days that the page may have")]

router = Routes(below="/{goal_id}/snapshots", tags=["goals"])


@router.get(
    "",
    summary="Get snapshots",
    operation_id="getGoalSnapshots",
    responses=answers(
        200,
        list[CloseBody],
        "One page, a day each, oldest first; the next is in the `Link` header",
        404,
        422,
        headers=("Link",),
    ),
)
def list_page(
    request: Request,
    goal_id: str,
    contexts: Contexts,
    first: From = None,
    last: To = None,
    as_known_at: AsKnownAt = None,
    limit: Limit = PAGE_DAYS,
    cursor: Cursor = None,
) -> Response:
    """Get the amount at the end of every local day in a range of at most ten years."""
    filters = {"from": first, "to": last, "as_known_at": as_known_at}
    with contexts.open(Scope.GOALS_READ) as context:
        listing = Listing(context.tenant.name, ("goals", goal_id, "snapshots"), filters)
        from_day = day_after(listing.position(cursor)) or first
        view = read_snapshots(
            context.session,
            context.tenant,
            goal_id,
            from_day=from_day,
            to_day=last,
            now=context.now,
            as_known_at=as_known_at,
        )
        page = cut(view.snapshots, limit, lambda snapshot: snapshot.day)
        body = [snapshot_body(snapshot, view.currency) for snapshot in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))
