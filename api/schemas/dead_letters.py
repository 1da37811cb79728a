"""How dead letters go out: what is known of one, and its event as it came."""

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
    """A letter without its event; `shard` and `entry_id` are its place on the stream, and name it."""

    shard: int
    entry_id: str
    code: Annotated[str, Field(description="why it could not take effect, one of a fixed list")]
    reason: Annotated[str, Field(description="the same for a person")]
    state: Annotated[str, Field(description="waiting, replayed or discarded")]
    event_bytes: int
    arrived_at: Moment
    recorded_at: Moment
    replayed_at: Moment | None
    discarded_at: Moment | None


class WholeLetterBody(LetterBody):
    """A letter with its event: `event` if that is JSON, digit by digit as it came, else `event_base64`."""

    event: NotRequired[Any]
    event_base64: NotRequired[str]


def letter_body(letter: DeadLetterSummary) -> LetterBody:
    """A letter without its event."""
    return {
        "shard": letter.shard,
        "entry_id": letter.entry_id,
        "code": letter.code,
        "reason": letter.reason,
        "state": letter.state,
        "event_bytes": letter.event_bytes,
        "arrived_at": moment(letter.arrived_at),
        "recorded_at": moment(letter.recorded_at),
        "replayed_at": moment(letter.replayed_at),
        "discarded_at": moment(letter.discarded_at),
    }


def whole_letter_body(letter: DeadLetterSummary, event: bytes) -> dict[str, Any]:
    """A letter with its event, as WholeLetterBody describes it."""
    body: dict[str, Any] = {**letter_body(letter)}
    try:
        parse_json(event)
    except MalformedEvent:
        body["event_base64"] = base64.b64encode(event).decode()
    else:
        # Not parsed and written anew: what is wrong with it may be how it was spelt.
        body["event"] = RawJSON(event.decode())
    return body
