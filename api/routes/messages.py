"""The route of the feed of messages: what happened."""

from typing import Annotated

import simplejson
from fastapi import Query
from pydantic import Field, with_config
from starlette.responses import Response
from typing_extensions import TypedDict

from api.context import Contexts
from api.cursors import Limit, Listing
from api.routing import Routes
from api.schemas.documented import answers
from api.schemas.messages import MessageData
from api.schemas.rendering import ExactResponse, Moment, moment
from core.errors import InvalidField
from core.messages.types import MessageType
from core.services.keys import Scope
from core.services.messages import FeedForgotten, read_messages
from core.services.pages import PAGE, number_after
from core.store.outbox import FeedFilter, Listed

router = Routes(tags=["messages"])

After = Annotated[
    str | None,
    Query(description="`next` of the page before, or `cursor` of a message; without it the feed's beginning"),
]
Types = Annotated[
    str | None,
    Query(description="Only messages of these types, separated by commas", examples=["milestone.reached,goal.reached"]),
]


@with_config(title="Message")
class MessageBody(TypedDict):
    """A message. `type`, `timestamp` and `data` never change; docs/messages.md has what each type says."""

    id: Annotated[str, Field(description="the same for the same happening, however often it is sent or read")]
    type: Annotated[MessageType, Field(description="what the message says")]
    timestamp: Annotated[Moment, Field(description="when it happened")]
    data: Annotated[MessageData, Field(description="what it is about")]
    historical: Annotated[
        bool, Field(description="whether it was there before, or long ago, when Milepost learned of it")
    ]
    recorded_at: Annotated[Moment, Field(description="when Milepost learned of it")]
    cursor: Annotated[str, Field(description="as `after`: all that comes after this message")]


@with_config(title="MessagePage")
class MessagePageBody(TypedDict):
    """A page of the feed, oldest first."""

    messages: Annotated[list[MessageBody], Field(description="may be few or none although there are more")]
    next: Annotated[str, Field(description="as `after`: all that comes after this page, now or later")]
    has_more: Annotated[bool, Field(description="whether to ask for it at once")]


@router.get(
    "",
    summary="Read the feed of messages",
    operation_id="listMessages",
    responses=answers(200, MessagePageBody, "One page; go on with its `next`, also when it is empty", 410, 422),
)
def list_page(
    contexts: Contexts,
    after: After = None,
    types: Types = None,
    user_id: Annotated[str | None, Query(description="Only messages about this user's goals")] = None,
    goal_id: Annotated[str | None, Query(description="Only messages about this goal")] = None,
    limit: Limit = PAGE,
) -> Response:
    """Read what happened, in the order in which it was announced; whoever goes on with `next` misses nothing."""
    with contexts.open(Scope.GOALS_READ) as context:
        listing = feed_listing(context.tenant.name)
        wanted = FeedFilter(None if types is None else types.split(","), user_id, goal_id)
        try:
            page = read_messages(
                context.session, context.tenant, wanted, after=feed_position(listing, after), limit=limit
            )
        except FeedForgotten as error:
            return forgotten(listing, error)
    body: MessagePageBody = {
        "messages": [message_body(listing, each) for each in page.messages],
        "next": listing.cursor(str(page.next)),
        "has_more": page.has_more,
    }
    return ExactResponse(body)


def feed_listing(tenant: str) -> Listing:
    """What a cursor of the feed is of: not of the filters, so that a reader may go on with others."""
    return Listing(tenant, ("messages",))


def forgotten(listing: Listing, error: FeedForgotten) -> Response:
    """The answer to whoever has not read what is deleted."""
    return ExactResponse({"detail": str(error), "oldest": listing.cursor(str(error.oldest))}, 410)


def feed_position(listing: Listing, after: str | None) -> int | None:
    """The position in a cursor, None for none; raises InvalidField."""
    try:
        return number_after(listing.position(after))
    except InvalidField:
        raise InvalidField("after", "is not one that the feed of messages gave") from None


def message_body(listing: Listing, message: Listed) -> MessageBody:
    """A message as it is read."""
    body = simplejson.loads(message.payload, use_decimal=True)
    return {
        "id": message.message_id,
        "type": body["type"],
        "timestamp": body["timestamp"],
        "data": body["data"],
        "historical": message.is_historical,
        "recorded_at": moment(message.created_at),
        "cursor": listing.cursor(str(message.position)),
    }
