"""The audit: acts that leave no other trace."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

_NOTE = text(
    """INSERT INTO audit (tenant, audit_id, at, actor, action, subject, detail)
    VALUES (:tenant, :audit_id, :at, :actor, :action, :subject, :detail)"""
)


def note_act(
    session: Session,
    tenant: str,
    *,
    action: str,
    subject: str,
    at: datetime,
    actor: str = "",
    detail: str | None = None,
) -> None:
    """Note who did what to what, in the transaction of the act itself."""
    session.execute(
        _NOTE,
        {
            "tenant": tenant,
            "audit_id": uuid.uuid4().hex,
            "at": at,
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": detail,
        },
    )
