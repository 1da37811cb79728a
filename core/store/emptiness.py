"""Whether an installation holds anybody's data yet."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

# Of all tenants on purpose: what is to be filled must be nobody's.
_ANY = text("SELECT EXISTS (SELECT FROM goals) OR EXISTS (SELECT FROM accounts)")


def is_empty(session: Session) -> bool:
    """Whether there is no goal and no account of any tenant."""
    return not session.execute(_ANY).scalar_one()
