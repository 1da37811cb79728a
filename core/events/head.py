"""The head of an event: what names it, where it can be read, whatever else is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import MalformedEvent
from core.events.envelope import EVENT_LONGEST_BYTES, SOURCE_LONGEST, identifier, parse_json


@dataclass(frozen=True, slots=True)
class EventHead:
    """What a producer would know an event by; None where that cannot be read."""

    event_id: str | None = None
    source: str | None = None
    type: str | None = None


def head_of(raw: bytes) -> EventHead:
    """The head of an event as it lies on the stream. What is longer than any event that counts is not looked into."""
    if len(raw) > EVENT_LONGEST_BYTES:
        return EventHead()
    try:
        value = parse_json(raw)
    except MalformedEvent:
        return EventHead()
    if not isinstance(value, dict):
        return EventHead()
    return EventHead(*(_name(value.get(field), field) for field in ("id", "source", "type")))


def _name(value: object, field: str) -> str | None:
    try:
        return identifier(value, field, SOURCE_LONGEST)
    except MalformedEvent:
        return None
