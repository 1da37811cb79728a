"""The types of messages, how ids spell them, and the JSON of a message's body."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

# Decimals as numbers with all their digits. Control characters are escaped, others stay as they are.
_encode = msgspec.json.Encoder(decimal_format="number").encode


class MessageType(StrEnum):
    """What a message says; `docs/messages.md` has what each follows from."""

    GOAL_CREATED = "goal.created"
    GOAL_CHANGED = "goal.changed"
    GOAL_REACHED = "goal.reached"
    GOAL_REACHED_WITHDRAWN = "goal.reached.withdrawn"
    GOAL_COMPLETED = "goal.completed"
    GOAL_COMPLETED_WITHDRAWN = "goal.completed.withdrawn"
    MILESTONE_REACHED = "milestone.reached"
    MILESTONE_REACHED_WITHDRAWN = "milestone.reached.withdrawn"
    REFRESH_REQUESTED = "refresh.requested"
    DEAD_LETTER_WAITING = "dead_letter.waiting"
    ACCOUNT_RELINK_SUSPECTED = "account.relink.suspected"
    ENDPOINT_PING = "endpoint.ping"
    ENDPOINT_DISABLED = "endpoint.disabled"


def id_part(message_type: MessageType) -> str:
    """A type as ids spell it. Receivers sign and verify `id.timestamp.body`, so an id has no full stop."""
    return message_type.replace(".", "_")


def body(message_type: MessageType, happened_at: datetime, data: Mapping[str, object]) -> str:
    """The body of a message as receivers get it, in JSON."""
    return _encode({"type": message_type, "timestamp": utc(happened_at), "data": data}).decode()


def utc(moment: datetime) -> datetime:
    """A moment as bodies write it: in UTC."""
    return moment.astimezone(UTC)
