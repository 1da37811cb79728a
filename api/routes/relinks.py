"""The routes of relinks: accounts that probably go on under a new id, joined or parted at a caller's word."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.bodies import RawBody, document_body, parse_body
from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.idempotency import REPLAYED, Idempotency
from api.routing import Routes, path_of
from api.schemas.accounts import AccountBody, account_body
from api.schemas.documented import answers
from api.schemas.relinks import RelinkBody
from api.schemas.rendering import ExactResponse, moment
from api.schemas.requests import NewRelink, UndoneRelink
from core.goals.money import to_decimal
from core.services import relinks
from core.services.keys import Scope
from core.services.pages import PAGE
from core.store.relinks import Candidate

router = Routes(tags=["accounts"])


@router.get(
    "",
    summary="List probable relinks",
    operation_id="listRelinks",
    responses=answers(
        200,
        list[RelinkBody],
        "One page, which may be short or empty though there are more: the next is in the `Link` header",
        422,
        headers=("Link",),
    ),
)
def list_page(
    request: Request,
    contexts: Contexts,
    user_id: Annotated[str | None, Query(description="Only this user's accounts")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """List accounts that probably go on under a new id, and are not joined with it yet."""
    with contexts.open(Scope.GOALS_READ) as context:
        listing = Listing(context.tenant.name, ("relinks",), {"user_id": user_id})
        page = relinks.list_relinks(
            context.session,
            context.tenant,
            user_id=user_id,
            limit=limit,
            cursor=listing.position(cursor),
            now=context.now,
        )
        body = [_body(each) for each in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))


@router.post(
    "",
    summary="Accept a relink",
    operation_id="acceptRelink",
    openapi_extra=document_body(NewRelink),
    responses=answers(200, AccountBody, "The old account", 404, 409, 413, 422, headers=(REPLAYED,)),
)
def accept(contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Let an account go on as another one; the two need not have been listed."""
    with contexts.open(Scope.EVENTS_WRITE) as context:

        def perform() -> Response:
            draft = parse_body(NewRelink, raw).draft()
            return ExactResponse(
                account_body(
                    relinks.accept_relink(context.session, context.tenant, draft, context.now, actor=context.actor)
                )
            )

        return idempotency.answer(context, raw, perform)


@router.post(
    "/undo",
    summary="Undo a relink",
    operation_id="undoRelink",
    openapi_extra=document_body(UndoneRelink),
    responses=answers(200, AccountBody, "The account", 404, 409, 413, 422, headers=(REPLAYED,)),
)
def undo(contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Let an account go on as itself again, whatever said that another one replaces it."""
    with contexts.open(Scope.EVENTS_WRITE) as context:

        def perform() -> Response:
            old_id = parse_body(UndoneRelink, raw).old_account_id
            return ExactResponse(
                account_body(
                    relinks.undo_relink(context.session, context.tenant, old_id, context.now, actor=context.actor)
                )
            )

        return idempotency.answer(context, raw, perform)


def _body(each: Candidate) -> RelinkBody:
    return {
        "old_account_id": each.old_id,
        "new_account_id": each.new_id,
        "user_id": each.user_id,
        "kind": each.kind,
        "currency": each.currency,
        "old_balance": to_decimal(each.old_minor, each.currency),
        "old_as_of": moment(each.old_as_of),
        "new_balance": to_decimal(each.new_minor, each.currency),
        "new_as_of": moment(each.new_as_of),
        "old_last_time": moment(each.last_event_at),
        "new_first_time": moment(each.first_event_at),
        "why": "broken" if each.is_broken else "silent",
    }
