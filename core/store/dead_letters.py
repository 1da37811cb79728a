"""Rows of dead letters: what could not take effect, whole, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store import bulk

TENANT_LONGEST = 200


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was refused. (shard, entry_id) names its place on the stream, so it is kept once."""

    tenant: str
    shard: int
    entry_id: str
    code: str
    reason: str
    event: bytes
    arrived_at: datetime
    recorded_at: datetime


_COLUMNS = {
    "tenant": bulk.TEXT,
    "shard": bulk.INT4,
    "entry_id": bulk.TEXT,
    "code": bulk.TEXT,
    "reason": bulk.TEXT,
    "event": bulk.BYTEA,
    "arrived_at": bulk.TIMESTAMPTZ,
    "recorded_at": bulk.TIMESTAMPTZ,
}
_KEEP = text(
    f"""INSERT INTO dead_letters ({", ".join(_COLUMNS)}) SELECT {", ".join(_COLUMNS)} FROM staged_dead_letters
    ON CONFLICT (tenant, shard, entry_id) DO NOTHING"""
)


def keep_dead_letters(session: Session, letters: Sequence[DeadLetter]) -> None:
    """Keep refused events; one from the same place on the stream is kept already."""
    if letters:
        rows = (tuple(getattr(letter, column) for column in _COLUMNS) for letter in letters)
        bulk.stage(session, "staged_dead_letters", _COLUMNS, rows)
        session.execute(_KEEP)
