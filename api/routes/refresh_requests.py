"""The routes of refresh requests: what providers' webhooks ask the integrator to pull."""

from typing import Annotated

from fastapi import Query, Request
from pydantic import Field, with_config
from starlette.responses import Response
from typing_extensions import TypedDict

from api.bodies import RawBody, document_body, parse_body
from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.idempotency import REPLAYED, Idempotency
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.rendering import ExactResponse, Moment, moment
from api.schemas.requests import DoneRefresh
from core.services import deliveries
from core.services.keys import Scope
from core.services.pages import PAGE
from core.store.providers import RefreshRow

router = Routes(tags=["providers"])


@with_config(title="RefreshRequest")
class RefreshBody(TypedDict):
    """Something to be pulled from a provider."""

    id: Annotated[str, Field(description="given by Milepost")]
    provider: Annotated[str, Field(description="the provider's name, such as plaid")]
    subject: Annotated[str, Field(description="the provider's item, enrollment, member, account, or key id")]
    kind: Annotated[str, Field(description="what to pull: transactions, balances, accounts, verification_key, ...")]
    reason: Annotated[str, Field(description="the provider's word for it, of the last webhook")]
    opened_at: Annotated[Moment, Field(description="when it was first asked for since it was last done")]
    requested_at: Annotated[Moment, Field(description="when it was last asked for")]
    count: Annotated[int, Field(description="how often it was asked for; give it back when it is done")]
    open: Annotated[bool, Field(description="whether it was asked for again since it was last done")]


@router.get(
    "",
    summary="List refresh requests",
    operation_id="listRefreshRequests",
    responses=answers(
        200,
        list[RefreshBody],
        "One page of the open ones, the longest waiting first; the next is in the `Link` header",
        422,
        headers=("Link",),
    ),
)
def list_page(
    request: Request,
    contexts: Contexts,
    provider: Annotated[str | None, Query(description="Only this provider's")] = None,
    kind: Annotated[str | None, Query(description="Only of this kind")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """List what webhooks asked to be pulled and nobody has pulled since."""
    with contexts.open(Scope.EVENTS_READ) as context:
        listing = Listing(context.tenant.name, ("refresh-requests",), {"provider": provider, "kind": kind})
        page = deliveries.list_open(
            context.session,
            context.tenant.name,
            provider=provider,
            kind=kind,
            limit=limit,
            cursor=listing.position(cursor),
        )
        body = [_body(row) for row in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))


@router.post(
    "/{request_id}/done",
    summary="Refresh done",
    operation_id="finishRefreshRequest",
    openapi_extra=document_body(DoneRefresh),
    responses=answers(
        200, RefreshBody, "Closed, unless it was asked for again since", 404, 409, 413, 422, headers=(REPLAYED,)
    ),
)
def done(request_id: str, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Say that you have pulled what was asked for, with the `count` that you read before."""
    with contexts.open(Scope.EVENTS_WRITE) as context:

        def perform() -> Response:
            count = parse_body(DoneRefresh, raw).count
            return ExactResponse(
                _body(deliveries.mark_done(context.session, context.tenant.name, request_id, count, context.now))
            )

        return idempotency.answer(context, raw, perform)


def _body(row: RefreshRow) -> RefreshBody:
    return {
        "id": row.request_id,
        "provider": row.provider,
        "subject": row.subject,
        "kind": row.kind,
        "reason": row.reason,
        "opened_at": moment(row.opened_at),
        "requested_at": moment(row.requested_at),
        "count": row.count,
        "open": row.is_open,
    }
