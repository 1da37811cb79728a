"""Ids that callers give: the same rule as for ids in events, so that what an event can name a request can name too."""

from __future__ import annotations

from core.errors import InvalidField, MalformedEvent
from core.events.envelope import identifier


def check_id(field: str, value: str) -> str:
    """The id as it is; raises InvalidField."""
    try:
        return identifier(value, field)
    except MalformedEvent as error:
        raise InvalidField(field, error.message.removeprefix(f"{field} ")) from None


def is_id(value: str) -> bool:
    """Whether `check_id` takes it; what it refuses names nothing, and Postgres may not take it as text."""
    try:
        identifier(value, "id")
    except MalformedEvent:
        return False
    return True
