"""The route of the feed of messages as a stream of server-sent events; only our own app has it."""

from functools import partial
from typing import Annotated

from fastapi import Header, Query, Request
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response

from api.bodies import HeaderRefused
from api.context import Contexts
from api.feed import Feed
from api.listeners import HEADERS, StreamResponse
from api.routes.messages import After, Types, feed_listing, feed_position, forgotten, message_body
from api.routing import Routes, is_head
from api.schemas.documented import answers
from api.schemas.rendering import exact_json
from core.errors import InvalidField
from core.services.inputs import Caller
from core.services.keys import Scope
from core.services.messages import FeedForgotten, begin_feed
from core.store.outbox import FeedFilter, Listed

router = Routes(tags=["messages"])

_LAST_EVENT_ID = "Last-Event-ID"
_EVENTS = {
    "description": "Events: `event` is the type of a message, `data` a `Message`, `id` its `cursor`",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


@router.get(
    "",
    summary="Read the feed of messages as it grows",
    operation_id="streamMessages",
    responses=answers(200, None, "Events", 410, 422) | {200: _EVENTS},
)
async def stream(
    request: Request,
    contexts: Contexts,
    after: After = None,
    types: Types = None,
    user_id: Annotated[str | None, Query(description="Only messages about this user's goals")] = None,
    goal_id: Annotated[str | None, Query(description="Only messages about this goal")] = None,
    last_event_id: Annotated[
        str | None, Header(alias=_LAST_EVENT_ID, description="The `id` of the last event; it counts more than `after`")
    ] = None,
) -> Response:
    """Read what happened, and then what happens, as server-sent events; it ends when its key is revoked."""
    await contexts.admit(Scope.GOALS_READ)
    caller: Caller = request.state.caller
    feed: Feed = request.app.state.feed
    listing = feed_listing(caller.tenant.name)
    wanted = FeedFilter(None if types is None else types.split(","), user_id, goal_id)
    # A browser sends none as long as it has none; others may send an empty one.
    if last_event_id:
        position = _position_of_header(caller.tenant.name, last_event_id)
    else:
        position = feed_position(listing, after)
    try:
        begins_at = await contexts.run(partial(_begin, contexts, wanted, position))
    except FeedForgotten as error:
        return forgotten(listing, error)
    if is_head(request):
        return EventSourceResponse(iterate_in_threadpool(()), headers=HEADERS)
    return StreamResponse(feed.join(caller, wanted, begins_at), feed.leave)


def format_message(tenant: str, message: Listed) -> bytes:
    """A message as an event."""
    body = message_body(feed_listing(tenant), message)
    return format_sse_event(data_str=exact_json(body).decode(), event=body["type"], id=body["cursor"])


def format_position(tenant: str, position: int) -> str:
    """The id of an event after which a stream goes on at a position."""
    return feed_listing(tenant).cursor(str(position))


def _begin(contexts: Contexts, wanted: FeedFilter, position: int | None) -> int:
    with contexts.open(Scope.GOALS_READ) as context:
        return begin_feed(context.session, context.tenant, wanted, position)


def _position_of_header(tenant: str, last_event_id: str) -> int | None:
    try:
        return feed_position(feed_listing(tenant), last_event_id)
    except InvalidField as error:
        raise HeaderRefused.at(_LAST_EVENT_ID, error.message) from None
