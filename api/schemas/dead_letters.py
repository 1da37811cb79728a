"""The bodies of answers about dead letters: what is known of one, and its event as it came."""

from __future__ import annotations

import base64
from typing import Annotated, Any, NotRequired

from pydantic import Field
from simplejson import RawJSON
from typing_extensions import TypedDict

from api.schemas.goals import Moment, moment
from core.errors import MalformedEvent
from core.events.envelope import parse_json
from core.store.dead_letters import DeadLetterSummary


class LetterBody(TypedDict):
    """A dead letter without its event; `shard` and `entry_id`, its place on the stream, identify it."""

    shard: int
    entry_id: str
    code: Annotated[str, Field(description="why it could not take effect, from a fixed list")]
    reason: Annotated[str, Field(description="the same, as text for a person")]
    state: Annotated[str, Field(description="waiting, replayed or discarded")]
    event_bytes: int
    arrived_at: Moment
    recorded_at: Moment
    replayed_at: Moment | None
    discarded_at: Moment | None


class WholeLetterBody(LetterBody):
    """A dead letter with its event: `event` if that is JSON, digit by digit as it came, else `event_base64`."""

    event: NotRequired[Any]
    event_base64: NotRequired[str]


def letter_body(dead_letter: DeadLetterSummary) -> LetterBody:
    """A dead letter without its event."""
    return {
        "shard": dead_letter.shard,
        "entry_id": dead_letter.entry_id,
        "code": dead_letter.code,
        "reason": dead_letter.reason,
        "state": dead_letter.state,
        "event_bytes": dead_letter.event_bytes,
        "arrived_at": moment(dead_letter.arrived_at),
        "recorded_at": moment(dead_letter.recorded_at),
        "replayed_at": moment(dead_letter.replayed_at),
        "discarded_at": moment(dead_letter.discarded_at),
    }


def whole_letter_body(dead_letter: DeadLetterSummary, event: bytes) -> dict[str, Any]:
    """A dead letter with its event, as WholeLetterBody describes it."""
    body: dict[str, Any] = {**letter_body(dead_letter)}
    try:
        parse_json(event)
    except MalformedEvent:
        body["event_base64"] = base64.b64encode(event).decode()
    else:
        # The very text, not parsed and written again: what is wrong with the event may be how it is spelt.
        body["event"] = RawJSON(event.decode())
    return body
