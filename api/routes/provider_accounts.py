"""The routes of provider accounts: what the integrator registered for them."""

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
from api.schemas.rendering import Day, ExactResponse, Moment, day, moment
from api.schemas.requests import NewProviderAccount
from api.schemas.values import AccountKind, Currency, Sign
from core.services import provider_accounts
from core.services.keys import Scope
from core.services.pages import PAGE
from core.store.providers import ProviderAccount

router = Routes(tags=["providers"])


@with_config(title="ProviderAccount")
class ProviderAccountBody(TypedDict):
    """What was registered for a provider's account; null where nothing was."""

    provider: Annotated[str, Field(description="the provider's name, such as plaid")]
    provider_account_id: Annotated[str, Field(description="the provider's id for the account")]
    account_id: Annotated[str, Field(description="your own id for it, else the provider's")]
    user_id: Annotated[str | None, Field(description="whose account it is")]
    kind: Annotated[AccountKind | None, Field(description="asset or liability, where the provider leaves it out")]
    currency: Annotated[Currency | None, Field(description="an ISO 4217 code, where the provider leaves it out")]
    since: Annotated[Day | None, Field(description="records of earlier days came under its former id")]
    connection: Annotated[str | None, Field(description="the item, enrollment or member that it belongs to")]
    sign: Annotated[Sign | None, Field(description="whether the bank turns signs")]
    updated_at: Annotated[Moment, Field(description="when it was registered")]


@router.get(
    "",
    summary="List provider accounts",
    operation_id="listProviderAccounts",
    responses=answers(
        200, list[ProviderAccountBody], "One page; the next is in the `Link` header", 422, headers=("Link",)
    ),
)
def list_page(
    request: Request,
    contexts: Contexts,
    provider: Annotated[str | None, Query(description="Only this provider's")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """List what was registered for providers' accounts, by provider and its id."""
    with contexts.open(Scope.EVENTS_READ) as context:
        listing = Listing(context.tenant.name, ("provider-accounts",), {"provider": provider})
        page = provider_accounts.list_accounts(
            context.session, context.tenant.name, provider=provider, limit=limit, cursor=listing.position(cursor)
        )
        body = [_body(account) for account in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))


# The id is the provider's own and may hold slashes, hence `:path`.
@router.put(
    "/{provider}/{provider_account_id:path}",
    summary="Register a provider account",
    operation_id="putProviderAccount",
    openapi_extra=document_body(NewProviderAccount),
    responses=answers(200, ProviderAccountBody, "What is registered for it now", 404, 413, 422),
)
def put(provider: str, provider_account_id: str, contexts: Contexts, raw: RawBody) -> Response:
    """Register your own id for an account and what the provider leaves out; it replaces what was registered before."""
    with contexts.open(Scope.EVENTS_WRITE) as context:
        draft = parse_body(NewProviderAccount, raw).draft()
        account = provider_accounts.put_account(
            context.session, context.tenant, provider, provider_account_id, draft, context.now, actor=context.actor
        )
        return ExactResponse(_body(account))


@router.get(
    "/{provider}/{provider_account_id:path}",
    summary="Get a provider account",
    operation_id="getProviderAccount",
    responses=answers(200, ProviderAccountBody, "What was registered for it", 404),
)
def get_one(provider: str, provider_account_id: str, contexts: Contexts) -> Response:
    """Get what was registered for an account."""
    with contexts.open(Scope.EVENTS_READ) as context:
        return ExactResponse(
            _body(provider_accounts.read_account(context.session, context.tenant.name, provider, provider_account_id))
        )


@router.delete(
    "/{provider}/{provider_account_id:path}",
    summary="Forget a provider account",
    operation_id="removeProviderAccount",
    status_code=204,
    responses=answers(204, None, "The account goes by the provider's id again", 404, 409, 422, headers=(REPLAYED,)),
)
def remove(provider: str, provider_account_id: str, contexts: Contexts, idempotency: Idempotency) -> Response:
    """Forget what was registered for an account; events that came in under your own id stay."""
    with contexts.open(Scope.EVENTS_WRITE) as context:

        def perform() -> Response:
            provider_accounts.remove_account(
                context.session, context.tenant, provider, provider_account_id, context.now, actor=context.actor
            )
            return Response(status_code=204)

        return idempotency.answer(context, b"", perform)


def _body(account: ProviderAccount) -> ProviderAccountBody:
    return {
        "provider": account.provider,
        "provider_account_id": account.provider_account_id,
        "account_id": account.account_id,
        "user_id": account.user_id,
        "kind": account.kind,
        "currency": account.currency,
        "since": None if account.since is None else day(account.since),
        "connection": account.connection,
        "sign": account.sign,
        "updated_at": moment(account.updated_at),
    }
