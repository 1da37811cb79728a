"""The route of a goal's ledger."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.cursors import Cursor, Limit, Listing
from api.documented import answers
from api.doors import Door
from api.models import QueryMoment
from api.paths import path_of
from api.rendering import ExactResponse
from api.rendering_past import EntryBody, entry_body
from api.routes import Routes
from core.requests.keys import Scope
from core.requests.pages import PAGE
from core.requests.read_history import read_history

AsKnownAt = Annotated[QueryMoment | None, Query(description="Give the ledger as it was at this moment")]

book = Routes(below="/{goal_id}/history", tags=["goals"])


@book.get(
    "",
    summary="Get history",
    responses=answers(
        200, list[EntryBody], "One page, newest first; the next is in the `Link` header", 404, 422, headers=("Link",)
    ),
)
def list_page(
    request: Request,
    goal_id: str,
    door: Door,
    as_known_at: AsKnownAt = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Get when the amount changed, by how much and why, page by page."""
    with door.open(Scope.GOALS_READ) as visit:
        listing = Listing(visit.tenant.name, ("goals", goal_id, "history"), {"as_known_at": as_known_at})
        currency, page = read_history(
            visit.session,
            visit.tenant,
            goal_id,
            limit=limit,
            cursor=listing.position(cursor),
            now=visit.now,
            as_known_at=as_known_at,
        )
        body = [entry_body(entry, currency) for entry in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))
