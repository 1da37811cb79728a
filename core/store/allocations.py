"""An account and the shares of it that go to goals, read for a caller who asks about the account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.goals.goal import GoalType, Tracking
from core.store.accounts import AccountKey


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """What is known of an account. `worth_minor` is from all facts so far, and 0 while the currency is unknown.

    `name` is the account's own name, else the one that was given with its latest link.
    """

    account_id: str
    name: str | None
    user_id: str | None
    kind: str
    is_kind_known: bool
    currency: str | None
    worth_minor: int
    first_report_at: datetime | None
    closed: bool


@dataclass(frozen=True, slots=True)
class EqualShares:
    """The number of open links of an account with the same share, to goals of the same currency, type and tracking.

    Links that count the account whole are not included.
    """

    ppm: int
    currency: str
    type: GoalType
    tracking: Tracking
    number: int


_ACCOUNT = text(
    """SELECT a.account_id, coalesce(a.name, (SELECT l.account_name FROM links l
            WHERE l.tenant = a.tenant AND l.account_id = a.account_id AND l.account_name IS NOT NULL
            ORDER BY l.linked_at DESC LIMIT 1)),
        a.user_id, a.kind, a.kind_rank IS NOT NULL, a.currency, a.worth_minor, a.first_report_at, a.closed
    FROM accounts a WHERE a.tenant = :tenant AND a.account_id = :account_id"""
)
_SHARES = text(
    """SELECT l.ppm, g.currency, g.type, g.tracking, count(*)
    FROM links l JOIN goals g USING (tenant, goal_id)
    WHERE l.tenant = :tenant AND l.account_id = :account_id AND l.until_at IS NULL AND NOT l.whole
    GROUP BY 1, 2, 3, 4"""
)


def read_account(session: Session, key: AccountKey) -> KnownAccount | None:
    """An account, not locked; None if neither an event nor a link has named it."""
    row = session.execute(_ACCOUNT, {"tenant": key[0], "account_id": key[1]}).first()
    return None if row is None else KnownAccount(*row)


def shares_of_account(session: Session, key: AccountKey) -> list[EqualShares]:
    """The shares of an account that go to goals now, grouped so that there are few rows even for many goals."""
    rows = session.execute(_SHARES, {"tenant": key[0], "account_id": key[1]}).all()
    return [EqualShares(row[0], row[1], GoalType(row[2]), Tracking(row[3]), row[4]) for row in rows]
