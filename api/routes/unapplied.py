"""The route by which an integrator reconciles: the accepted events that have not been applied yet."""

from typing import Annotated

from fastapi import Query, Request
from pydantic import Field, with_config
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import Contexts
from api.cursors import Cursor, Limit, Listing
from api.routing import Routes, path_of
from api.schemas.documented import answers
from api.schemas.given import QueryMoment
from api.schemas.rendering import ExactResponse, Moment, moment
from api.schemas.values import DeadLetterCode, UnappliedState
from core.services.backlog import (
    Applied,
    UnappliedEvent,
    UnappliedPage,
    begin_unapplied,
    read_stream,
    read_unapplied_dead_letters,
)
from core.services.keys import Scope
from core.services.pages import PAGE
from core.store.positions import read_positions

router = Routes(below="/unapplied", tags=["events"])

Since = Annotated[
    QueryMoment | None,
    Query(
        description="Only events accepted at this moment or later; of those in another currency the ones of this `time`"
        " or later"
    ),
]


@with_config(title="UnappliedEvent")
class UnappliedBody(TypedDict):
    """An accepted event that has not been applied yet."""

    state: Annotated[UnappliedState, Field(description="why it is not applied")]
    shard: Annotated[int | None, Field(description="its shard of the stream; null in the state other_currency")]
    entry_id: Annotated[
        str | None,
        Field(
            description="with the shard, its place on the stream; null, like `accepted_at`, in the state other_currency"
        ),
    ]
    accepted_at: Annotated[Moment | None, Field(description="when it was put onto the stream")]
    id: Annotated[
        str | None, Field(description="the event's own id; null, like the next two fields, if it cannot be read")
    ]
    source: Annotated[str | None, Field(description="the event's `source`")]
    type: Annotated[str | None, Field(description="the event's `type`")]
    deliveries: Annotated[int | None, Field(description="how often a worker has tried it, while it is pending")]
    code: Annotated[DeadLetterCode | None, Field(description="why it was refused")]
    reason: Annotated[str | None, Field(description="why it was refused, or counts nothing, as text for a person")]


@router.get(
    "",
    summary="List what is not applied",
    operation_id="listUnappliedEvents",
    responses=answers(
        200,
        list[UnappliedBody],
        "One page, which may be short or empty though there are more: the next is in the `Link` header",
        422,
        501,
        headers=("Link",),
    ),
)
def list_page(
    request: Request, contexts: Contexts, since: Since = None, limit: Limit = PAGE, cursor: Cursor = None
) -> Response:
    """List the accepted events that have not been applied yet, and why; an event on no page has been applied."""
    with contexts.open(Scope.EVENTS_READ) as context:
        tenant = context.tenant.name
        listing = Listing(tenant, ("events", "unapplied"), {"since": since})
        position = begin_unapplied(listing.position(cursor), since, context.now)
        backends = context.backends
        applied = Applied(read_positions(context.session), backends.settings.batch_events)
    page = UnappliedPage((), position)
    if not position.is_past_stream:
        stream = backends.stream
        page = read_stream(stream.client, stream, tenant, position, applied, since=since, limit=limit)
    if page.next is not None and page.next.is_past_stream and len(page.events) < limit:
        # A new transaction, so that it sees events that left the stream and became dead letters while that was read.
        with contexts.open(Scope.EVENTS_READ) as context:
            page = read_unapplied_dead_letters(context.session, tenant, page, page.next, since=since, limit=limit)
    body = [_body(event) for event in page.events]
    next_position = None if page.next is None else str(page.next)
    return ExactResponse(body, headers=listing.link(path_of(request), limit, next_position))


def _body(event: UnappliedEvent) -> UnappliedBody:
    return {
        "state": event.state,
        "shard": event.shard,
        "entry_id": event.entry_id,
        "accepted_at": moment(event.accepted_at),
        "id": event.head.event_id,
        "source": event.head.source,
        "type": event.head.type,
        "deliveries": event.deliveries,
        "code": event.code,
        "reason": event.reason,
    }
