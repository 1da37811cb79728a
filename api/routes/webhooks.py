"""The routes for providers' webhooks, which carry no API key but a signature over the exact bytes of the body."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from anyio import from_thread
from fastapi import Depends, Request
from pydantic import Field, with_config
from starlette.responses import Response
from typing_extensions import TypedDict

from api.auth import DeliveryRefused
from api.bodies import parse_provider_body, read_body
from api.context import Backends, as_database_away, backends_of
from api.errors import Problem
from api.routing import Routes
from api.schemas.documented import answers
from api.schemas.rendering import ExactResponse
from core.providers.contracts import AdaptedEvent
from core.providers.registry import scheme_of
from core.providers.webhooks import Delivery
from core.services.deliveries import Admitted, NotAdmitted, admit_delivery, find_endpoints, take_delivery
from core.services.inputs import Caller
from core.services.keys import Scope, authenticate
from core.store.driver import Session
from core.store.tenants import Tenant

router = Routes(tags=["providers"])

_EXAMPLE = {
    "webhook_type": "TRANSACTIONS",
    "webhook_code": "SYNC_UPDATES_AVAILABLE",
    "item_id": "wz666MBjYWTp2PDzzggYhM6oWWmBb",
}
_REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Delivery"}, "example": _EXAMPLE}},
    }
}


async def _read_delivery(request: Request) -> AsyncIterator[Delivery]:
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw]
    request.app.state.limits.check_address(request)
    async with read_body(request, request.app.state.settings.max_body_bytes, sender="webhooks") as body:
        yield Delivery(body, headers, datetime.now(UTC))


RawDelivery = Annotated[Delivery, Depends(_read_delivery)]


@with_config(title="AcceptedDelivery")
class TakenBody(TypedDict):
    """How many events are on disk now, and how many things the delivery asks to be pulled."""

    accepted: Annotated[int, Field(description="the number of events")]
    refreshes: Annotated[int, Field(description="the number of refresh requests")]


def _document_answers() -> dict[int | str, dict[str, Any]]:
    meaning = "What it says is on disk and will take effect"
    documented = answers(202, TakenBody, meaning, 404, 413, 501, never=(403,))
    challenge_header = {"WWW-Authenticate": {"description": "How the provider signs", "schema": {"type": "string"}}}
    refused = "No such address, or not signed with a secret of it, or outside the replay window"
    return documented | {401: {"description": refused, "model": Problem, "headers": challenge_header}}


@router.post(
    "/{provider}/{endpoint_id}",
    summary="Receive a webhook",
    operation_id="receiveWebhook",
    status_code=202,
    openapi_extra=_REQUEST_BODY,
    responses=_document_answers(),
)
def receive(request: Request, provider: str, endpoint_id: str, delivery: RawDelivery) -> Response:
    """Receive a provider's delivery at an address that `milepost webhooks add` made."""
    return _receive(request, provider, endpoint_id, delivery)


@router.post(
    "/{provider}",
    summary="Receive a webhook at the only address",
    operation_id="receiveWebhookAtOnlyAddress",
    status_code=202,
    openapi_extra=_REQUEST_BODY,
    responses=_document_answers(),
)
def receive_at_only(request: Request, provider: str, delivery: RawDelivery) -> Response:
    """Receive a delivery that names its tenant by an API key, or whose provider has a single address in all."""
    return _receive(request, provider, None, delivery)


def _receive(request: Request, provider: str, endpoint_id: str | None, delivery: Delivery) -> Response:
    scheme, backends = scheme_of(provider), backends_of(request)
    with as_database_away(), backends.sessions.begin() as session:
        tenant, may_send = _tenant_of_key(request, session) if endpoint_id is None else (None, True)
        candidates = find_endpoints(session, provider, endpoint_id=endpoint_id, tenant=tenant) if may_send else []
        verdict = admit_delivery(session, request.app.state.sealer, provider, candidates, delivery)
        if isinstance(verdict, Admitted):
            request.state.caller = Caller(verdict.tenant, f"webhook {verdict.endpoint_id[:10]}", frozenset())
            # Only now: an unsigned body must not reach a parser.
            body = parse_provider_body(delivery.body)
            adapted, refreshes = take_delivery(session, verdict, provider, body, delivery.arrived_at)
    # The transaction has committed: refresh requests for the integrator stay, even if the delivery is refused.
    if isinstance(verdict, NotAdmitted):
        # On the event loop, which alone may touch the counters.
        from_thread.run_sync(request.app.state.limits.use_address, request)
        raise DeliveryRefused(verdict.reason, scheme.challenge)
    return _accept(backends, verdict.tenant, adapted.events, refreshes)


def _accept(backends: Backends, tenant: Tenant, events: tuple[AdaptedEvent, ...], refreshes: int) -> Response:
    entries = backends.stream.append(tenant.name, [(each.account_id, each.event) for each in events])
    body: TakenBody = {"accepted": len(entries), "refreshes": refreshes}
    return ExactResponse(body, status_code=202)


def _tenant_of_key(request: Request, session: Session) -> tuple[Tenant | None, bool]:
    """The tenant of the key that came with a delivery, and whether it may send events; (None, True) without a key."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    secret = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")
    if not secret:
        return None, True
    caller = authenticate(session, secret)
    if caller is None or caller.scopes.isdisjoint({Scope.EVENTS_WRITE, Scope.ADMIN}):
        return None, False
    return caller.tenant, True
