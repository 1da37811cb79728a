"""Messages: what happened, in the order in which it was announced."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any

from milepost.client import arguments
from milepost.client.arguments import optional_text, text
from milepost.client.records import Record
from milepost.client.resource import Resource

MESSAGES = ("messages",)


class GoalMessage(Record):
    """Something that happened. `id` is the same however often it is read; `data` says what it is about, by `type`.

    `historical`: it was there before, or long ago, when Milepost learned of it. `cursor`, as `after`, is all that comes
    later.
    """

    _NEEDED = "cursor"

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]
    historical: bool
    recorded_at: datetime
    cursor: str


class MessagePage(Record):
    """A page of messages, oldest first, which may be few or none although there are more.

    `next`, as `after`, is all that comes after the page; `has_more` says whether to ask for it at once.
    """

    _NEEDED = "has_more"

    messages: list[GoalMessage]
    next: str
    has_more: bool


class Messages(Resource):
    """The feed of messages of one tenant: docs/messages.md."""

    async def list_messages(
        self,
        after: str | None = None,
        *,
        types: str | Iterable[str] | None = None,
        user_id: str | None = None,
        goal_id: str | None = None,
        limit: int | None = None,
    ) -> MessagePage:
        """A page of the feed: what comes after a cursor, or from its beginning; of some types, a user or a goal.

        Raises Forgotten if messages after the cursor are deleted already, which happens after 90 days.
        """
        query = arguments.query(
            after=optional_text("after", after),
            types=types if types is None or isinstance(types, str) else ",".join(text("types", each) for each in types),
            user_id=optional_text("user_id", user_id),
            goal_id=optional_text("goal_id", goal_id),
            limit=None if limit is None else arguments.whole_number("limit", limit),
        )
        return MessagePage.of(await self._read(MESSAGES, query))

    async def messages(
        self,
        after: str | None = None,
        *,
        types: str | Iterable[str] | None = None,
        user_id: str | None = None,
        goal_id: str | None = None,
        poll_s: float = 1.0,
    ) -> AsyncIterator[GoalMessage]:
        """Every message after a cursor, without an end: it waits for the next one. Raises as `list_messages` does.

        Keep the `cursor` of each message that you are done with, and begin after it the next time.
        """
        wanted = types if types is None or isinstance(types, str) else list(types)
        while True:
            page = await self.list_messages(after, types=wanted, user_id=user_id, goal_id=goal_id)
            for message in page.messages:
                yield message
            after = page.next
            if not page.has_more:
                await asyncio.sleep(poll_s)
