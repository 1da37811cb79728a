"""The routes of endpoints: the addresses to which a tenant's messages are delivered."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.bodies import RawBody, document_body, parse_body
from api.context import Contexts, RequestContext
from api.cursors import Cursor, Limit, Listing
from api.idempotency import REPLAYED, Idempotency
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.endpoints import (
    AttemptBody,
    EndpointBody,
    EndpointPatch,
    NewEndpoint,
    NewSecret,
    QueuedBody,
    RecoveredBody,
    RecoveredTime,
    ResentMessage,
    attempt_body,
    endpoint_body,
)
from api.schemas.rendering import ExactResponse
from core.delivery.addresses import AddressRules
from core.providers.sealing import Sealer
from core.services import endpoints
from core.services.keys import Scope
from core.services.pages import PAGE
from core.services.webhooks import sealer_of

router = Routes(tags=["endpoints"])


@router.post(
    "",
    summary="Make an endpoint",
    operation_id="createEndpoint",
    status_code=201,
    openapi_extra=document_body(NewEndpoint),
    responses=answers(
        201, EndpointBody, "The endpoint, and its secret if one was made", 409, 413, 422, headers=("Location", REPLAYED)
    ),
)
def create(request: Request, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Make an address to which messages are posted; it gets what is announced from then on."""
    with contexts.open(Scope.ADMIN) as context:
        sealer = _sealer(context)

        def perform() -> Response:
            draft = parse_body(NewEndpoint, raw).draft()
            view, made = endpoints.add_endpoint(
                context.session, sealer, _rules(context), context.tenant.name, draft, context.now, actor=context.actor
            )
            location = path_of(request) + f"/{view.endpoint.endpoint_id}"
            return ExactResponse(endpoint_body(view, made), 201, {"Location": location})

        return idempotency.answer(context, raw, perform, sealer)


@router.get(
    "",
    summary="List endpoints",
    operation_id="listEndpoints",
    responses=answers(200, list[EndpointBody], "All endpoints, the oldest first", 422),
)
def list_all(contexts: Contexts) -> Response:
    """List the addresses to which messages are delivered; there are at most 20."""
    with contexts.open(Scope.ADMIN) as context:
        found = endpoints.list_endpoints(context.session, context.tenant.name)
    return ExactResponse([endpoint_body(view) for view in found])


@router.get(
    "/{endpoint_id}",
    summary="Get an endpoint",
    operation_id="getEndpoint",
    responses=answers(200, EndpointBody, "The endpoint", 404),
)
def get_one(endpoint_id: str, contexts: Contexts) -> Response:
    """Get an endpoint, whether it is enabled, fails, and how many messages wait for it."""
    with contexts.open(Scope.ADMIN) as context:
        return ExactResponse(endpoint_body(endpoints.get_endpoint(context.session, context.tenant.name, endpoint_id)))


@router.patch(
    "/{endpoint_id}",
    summary="Change an endpoint",
    operation_id="updateEndpoint",
    openapi_extra=document_body(EndpointPatch),
    responses=answers(200, EndpointBody, "The endpoint as it is now", 404, 409, 413, 422, headers=(REPLAYED,)),
)
def change(endpoint_id: str, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Change an endpoint, disable it, or enable it again."""
    with contexts.open(Scope.ADMIN) as context:

        def perform() -> Response:
            changes = parse_body(EndpointPatch, raw).changes()
            view = endpoints.change_endpoint(
                context.session,
                _rules(context),
                context.tenant.name,
                endpoint_id,
                changes,
                context.now,
                actor=context.actor,
            )
            return ExactResponse(endpoint_body(view))

        return idempotency.answer(context, raw, perform)


@router.delete(
    "/{endpoint_id}",
    summary="Delete an endpoint",
    operation_id="deleteEndpoint",
    status_code=204,
    responses=answers(204, None, "Nothing more is sent to it", 404, 409, 422, headers=(REPLAYED,)),
)
def remove(endpoint_id: str, contexts: Contexts, idempotency: Idempotency) -> Response:
    """Delete an endpoint with its secrets, and what was to be delivered to it."""
    with contexts.open(Scope.ADMIN) as context:

        def perform() -> Response:
            endpoints.remove_endpoint(
                context.session, context.tenant.name, endpoint_id, context.now, actor=context.actor
            )
            return Response(status_code=204)

        return idempotency.answer(context, b"", perform)


@router.post(
    "/{endpoint_id}/rotate",
    summary="Rotate a secret",
    operation_id="rotateSecret",
    openapi_extra=document_body(NewSecret),
    responses=answers(
        200, EndpointBody, "The endpoint, and its secret if one was made", 404, 409, 413, 422, headers=(REPLAYED,)
    ),
)
def rotate(endpoint_id: str, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Give an endpoint a new secret; until the overlap is over, the old ones sign each message too."""
    with contexts.open(Scope.ADMIN) as context:
        sealer = _sealer(context)

        def perform() -> Response:
            body = parse_body(NewSecret, raw)
            view, made = endpoints.rotate_secret(
                context.session,
                sealer,
                context.tenant.name,
                endpoint_id,
                body.secret,
                context.now,
                overlap=timedelta(hours=min(body.overlap_hours, 10_000)),
                actor=context.actor,
            )
            return ExactResponse(endpoint_body(view, made))

        return idempotency.answer(context, raw, perform, sealer)


@router.post(
    "/{endpoint_id}/ping",
    summary="Test an endpoint",
    operation_id="pingEndpoint",
    status_code=202,
    responses=answers(202, QueuedBody, "The test message will be sent in moments", 404, 409, 422, headers=(REPLAYED,)),
)
def ping(endpoint_id: str, contexts: Contexts, idempotency: Idempotency) -> Response:
    """Send a message of the type `endpoint.ping` to this endpoint alone; its attempts show what was answered."""
    with contexts.open(Scope.ADMIN) as context:

        def perform() -> Response:
            message_id = endpoints.ping_endpoint(context.session, context.tenant.name, endpoint_id, context.now)
            body: QueuedBody = {"message_id": message_id}
            return ExactResponse(body, 202)

        return idempotency.answer(context, b"", perform)


@router.post(
    "/{endpoint_id}/resend",
    summary="Resend a message",
    operation_id="resendMessage",
    status_code=202,
    openapi_extra=document_body(ResentMessage),
    responses=answers(202, QueuedBody, "It will be sent in moments", 404, 409, 413, 422, headers=(REPLAYED,)),
)
def resend(endpoint_id: str, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Send one announced message to this endpoint, also if it has it already or does not take its type."""
    with contexts.open(Scope.ADMIN) as context:

        def perform() -> Response:
            message_id = parse_body(ResentMessage, raw).message_id
            endpoints.resend_message(context.session, context.tenant.name, endpoint_id, message_id, context.now)
            body: QueuedBody = {"message_id": message_id}
            return ExactResponse(body, 202)

        return idempotency.answer(context, raw, perform)


@router.post(
    "/{endpoint_id}/recover",
    summary="Recover messages",
    operation_id="recoverEndpoint",
    status_code=202,
    openapi_extra=document_body(RecoveredTime),
    responses=answers(202, RecoveredBody, "They will be sent in moments", 404, 409, 413, 422, headers=(REPLAYED,)),
)
def recover(endpoint_id: str, contexts: Contexts, raw: RawBody, idempotency: Idempotency) -> Response:
    """Send what was announced in a time, and this endpoint takes and did not get: what failed, and what it missed."""
    with contexts.open(Scope.ADMIN) as context:

        def perform() -> Response:
            time = parse_body(RecoveredTime, raw)
            number = endpoints.recover_endpoint(
                context.session, context.tenant.name, endpoint_id, time.since, time.until, context.now
            )
            body: RecoveredBody = {"messages": number}
            return ExactResponse(body, 202)

        return idempotency.answer(context, raw, perform)


@router.get(
    "/{endpoint_id}/attempts",
    summary="List attempts",
    operation_id="listAttempts",
    responses=answers(
        200, list[AttemptBody], "One page, newest first; the next is in the `Link` header", 404, 422, headers=("Link",)
    ),
)
def list_attempts(
    request: Request,
    endpoint_id: str,
    contexts: Contexts,
    message_id: Annotated[str | None, Query(description="Only those of this message")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """List the attempts to deliver messages to this endpoint, with what it answered."""
    with contexts.open(Scope.ADMIN) as context:
        listing = Listing(context.tenant.name, ("attempts", endpoint_id), {"message_id": message_id})
        page = endpoints.list_attempts(
            context.session,
            context.tenant.name,
            endpoint_id,
            message_id=message_id,
            limit=limit,
            cursor=listing.position(cursor),
        )
        body = [attempt_body(each) for each in page.items]
    return ExactResponse(body, headers=listing.link(path_of(request), limit, page.next_cursor))


def _sealer(context: RequestContext) -> Sealer | None:
    return sealer_of(context.backends.settings)


def _rules(context: RequestContext) -> AddressRules:
    return AddressRules.of(context.backends.settings)
