"""Moments that callers ask about."""

from __future__ import annotations

from datetime import datetime

from core.errors import InvalidField


def check_past(field: str, at: datetime | None, now: datetime) -> None:
    """Raises InvalidField for a moment that is to come: what will be known then is not known yet."""
    if at is not None and at > now:
        raise InvalidField(field, "must not be after now")
