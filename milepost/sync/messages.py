# Generated from milepost/client by `make sync-client`; change it there.
"""Messages: what happened, in the order in which it was announced."""

import time
from collections.abc import Iterable, Iterator

from milepost.client import arguments
from milepost.client.arguments import optional_text, text
from milepost.client.messages import GoalMessage, MessagePage
from milepost.sync.resource import Resource

MESSAGES = ("messages",)


class Messages(Resource):
    """The feed of messages of one tenant: docs/messages.md."""

    def list_messages(
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
        return MessagePage.of(self._read(MESSAGES, query))

    def messages(
        self,
        after: str | None = None,
        *,
        types: str | Iterable[str] | None = None,
        user_id: str | None = None,
        goal_id: str | None = None,
        poll_s: float = 1.0,
    ) -> Iterator[GoalMessage]:
        """Every message after a cursor, without an end: it waits for the next one. Raises as `list_messages` does.

        Keep the `cursor` of each message that you are done with, and begin after it the next time.
        """
        wanted = types if types is None or isinstance(types, str) else list(types)
        while True:
            page = self.list_messages(after, types=wanted, user_id=user_id, goal_id=goal_id)
            for message in page.messages:
                yield message
            after = page.next
            if not page.has_more:
                time.sleep(poll_s)
