"""The routes of accounts."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.routing import Routes, path_of
from api.schemas.accounts import AccountBody, AllocationsBody, ReportBody, account_body, allocations_body, report_body
from api.schemas.documented import answers
from api.schemas.rendering import ExactResponse
from core.services.accounts import get_account, list_accounts, list_reports
from core.services.funding import read_allocations
from core.services.keys import Scope
from core.services.pages import PAGE, PAGE_LARGEST

router = Routes(tags=["accounts"])


@router.get(
    "",
    summary="List accounts",
    operation_id="listAccounts",
    responses=answers(
        200,
        list[AccountBody],
        "One page, which with `has_difference` may be short or empty though there are more: the next is in the `Link`"
        " header",
        422,
        headers=("Link",),
    ),
)
def list_page(
    request: Request,
    contexts: Contexts,
    user_id: Annotated[str | None, Query(description="Only this user's accounts")] = None,
    has_difference: Annotated[
        bool | None,
        Query(description="Only accounts with a difference that the three reports after it did not take back, or not"),
    ] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """List accounts with what is known of each, in the order of their ids."""
    with contexts.open(Scope.GOALS_READ) as context:
        filters = {"user_id": user_id, "has_difference": has_difference}
        listing = Listing(context.tenant.name, ("accounts",), filters)
        page = list_accounts(
            context.session,
            context.tenant,
            user_id=user_id,
            has_difference=has_difference,
            limit=limit,
            cursor=listing.position(cursor),
        )
        accounts = [account_body(account) for account in page.items]
    return ExactResponse(accounts, headers=listing.link(path_of(request), limit, page.next_cursor))


# An id is the integrator's own and may hold slashes, hence `:path`.
@router.get(
    "/{account_id:path}/allocations",
    summary="Get allocations",
    operation_id="getAllocations",
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


@router.get(
    "/{account_id:path}/reports",
    summary="List reports",
    operation_id="listReports",
    responses=answers(
        200,
        list[ReportBody],
        "One page, the newest first; the next is in the `Link` header",
        404,
        422,
        headers=("Link",),
    ),
)
def reports(
    request: Request, account_id: str, contexts: Contexts, limit: Limit = PAGE, cursor: Cursor = None
) -> Response:
    """List the reports of an account, each with its difference from what the transactions explain."""
    with contexts.open(Scope.GOALS_READ) as context:
        listing = Listing(context.tenant.name, ("accounts", account_id, "reports"))
        position = listing.position(cursor)
        page = list_reports(context.session, context.tenant, account_id, limit=limit, cursor=position)
        body = [report_body(report) for report in page.items]
    path = path_of(request, account_id, "reports")
    return ExactResponse(body, headers=listing.link(path, limit, page.next_cursor))


# After the routes below an account: their paths would match too.
@router.get(
    "/{account_id:path}",
    summary="Get an account",
    operation_id="getAccount",
    responses=answers(200, AccountBody, "The account", 404),
)
def get_one(account_id: str, contexts: Contexts) -> Response:
    """Get an account with its worth, its latest facts and its connection."""
    with contexts.open(Scope.GOALS_READ) as context:
        return ExactResponse(account_body(get_account(context.session, context.tenant, account_id)))
