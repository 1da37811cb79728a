"""Rows of the outbox after they were written: forgotten some time after they were delivered."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

_FORGET = text(
    """DELETE FROM outbox WHERE (tenant, message_id) IN (
        SELECT tenant, message_id FROM outbox WHERE delivered_at < :before
        LIMIT :most FOR UPDATE SKIP LOCKED)"""
)


def forget_delivered(session: Session, before: datetime, most: int = 10_000) -> int:
    """Drop at most `most` messages that were delivered before a moment; how many. Others stay, however old."""
    return session.execute(_FORGET, {"before": before, "most": most}).rowcount  # type: ignore[attr-defined, no-any-return]
