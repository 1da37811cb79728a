"""The routes of accounts."""

from fastapi import Request
from starlette.responses import Response

from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.routing import Routes, path_of
from api.schemas.accounts import AllocationsBody, allocations_body
from api.schemas.documented import answers
from api.schemas.goals import ExactResponse
from core.services.funding import read_allocations
from core.services.keys import Scope
from core.services.pages import PAGE_LARGEST

router = Routes(tags=["accounts"])


# The id is the integrator's own and may hold slashes, hence `:path`.
@router.get(
    "/{account_id:path}/allocations",
    summary="Get allocations",
    responses=answers(
        200,
        AllocationsBody,
        "The account with one page of its goals; the next is in the `Link` header",
        404,
        422,
        headers=("Link",),
    ),
)
def allocations(
    request: Request, account_id: str, contexts: Contexts, limit: Limit = PAGE_LARGEST, cursor: Cursor = None
) -> Response:
    """Get how an account is divided between goals, and what is left of it."""
    with contexts.open(Scope.GOALS_READ) as context:
        listing = Listing(context.tenant.name, ("accounts", account_id, "allocations"))
        position = listing.position(cursor)
        view = read_allocations(context.session, context.tenant, account_id, limit=limit, cursor=position)
        body = allocations_body(view)
    path = path_of(request, account_id, "allocations")
    return ExactResponse(body, headers=listing.link(path, limit, view.page.next_cursor))
