"""The routes of a goal's funding sources: the accounts that are linked to it."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.bodies import RawBody, document_body, parse_body
from api.conditional import IfMatch
from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.idempotency import REPLAYED, Idempotency
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.given import Day
from api.schemas.goals import FundingBody, funding_body
from api.schemas.rendering import ExactResponse
from api.schemas.requests import Allocation, NewLink
from core.services.funding import change_allocation, link_account, list_funding, unlink_account
from core.services.keys import Scope
from core.services.pages import PAGE

router = Routes(below="/{goal_id}/funding", tags=["funding"])

# The id is the integrator's own and may hold slashes, hence `:path`.
ACCOUNT = "/{account_id:path}"


@router.post(
    "",
    summary="Link account",
    operation_id="linkAccount",
    status_code=201,
    openapi_extra=document_body(NewLink),
    responses=answers(201, FundingBody, "The funding source", 400, 404, 409, 412, 413, 422, headers=(REPLAYED,)),
)
def link(goal_id: str, contexts: Contexts, raw: RawBody, if_match: IfMatch, idempotency: Idempotency) -> Response:
    """Let a share of an account count for the goal; an account that is linked already gets the new share."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            draft = parse_body(NewLink, raw).draft()
            seen = if_match.versions(goal_id)
            source = link_account(context.session, context.tenant, goal_id, draft, context.now, seen=seen)
            return ExactResponse(funding_body(source), status_code=201)

        return idempotency.answer(context, raw, perform)


@router.get(
    "",
    summary="List funding sources",
    operation_id="listFunding",
    responses=answers(
        200,
        list[FundingBody],
        "One page of the accounts that count now; the next is in the `Link` header",
        404,
        422,
        headers=("Link",),
    ),
)
def list_page(
    request: Request, goal_id: str, contexts: Contexts, limit: Limit = PAGE, cursor: Cursor = None
) -> Response:
    """List the accounts that are linked to the goal, in the order of linking, page by page."""
    with contexts.open(Scope.GOALS_READ) as context:
        listing = Listing(context.tenant.name, ("goals", goal_id, "funding"))
        position = listing.position(cursor)
        page = list_funding(context.session, context.tenant, goal_id, limit=limit, cursor=position)
        body = [funding_body(source) for source in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))


@router.patch(
    ACCOUNT,
    summary="Update allocation",
    operation_id="updateAllocation",
    openapi_extra=document_body(Allocation),
    responses=answers(
        200, FundingBody, "The funding source as it is now", 400, 404, 409, 412, 413, 422, headers=(REPLAYED,)
    ),
)
def change(
    goal_id: str, account_id: str, contexts: Contexts, raw: RawBody, if_match: IfMatch, idempotency: Idempotency
) -> Response:
    """Change the share from now on; what was counted stays, unless it is corrected from a day on."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            asked = parse_body(Allocation, raw)
            source = change_allocation(
                context.session,
                context.tenant,
                goal_id,
                account_id,
                asked.allocation_percent,
                context.now,
                correct_from=asked.correct_from,
                seen=if_match.versions(goal_id),
            )
            return ExactResponse(funding_body(source))

        return idempotency.answer(context, raw, perform)


@router.delete(
    ACCOUNT,
    summary="Remove account",
    operation_id="removeAccount",
    status_code=204,
    responses=answers(
        204, None, "The account counts no more; what was counted stays", 404, 409, 412, 422, headers=(REPLAYED,)
    ),
)
def unlink(
    goal_id: str,
    account_id: str,
    contexts: Contexts,
    if_match: IfMatch,
    idempotency: Idempotency,
    correct_from: Annotated[Day | None, Query(description="Since when it counts no more; unless given, now")] = None,
) -> Response:
    """End the link of an account to the goal, now or from a day on."""
    with contexts.open(Scope.GOALS_WRITE) as context:

        def perform() -> Response:
            seen = if_match.versions(goal_id)
            unlink_account(
                context.session, context.tenant, goal_id, account_id, context.now, correct_from=correct_from, seen=seen
            )
            return Response(status_code=204)

        # With another day it is another request.
        return idempotency.answer(context, b"" if correct_from is None else str(correct_from).encode(), perform)
