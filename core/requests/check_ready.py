"""The act check_ready."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session


def check_ready(session: Session) -> None:
    """Raises the database's own error if it does not answer."""
    session.execute(text("SELECT 1"))
