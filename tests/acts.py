"""Short functions that change goals as callers do and make events, for tests."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import simplejson

from core.goals.goal import GoalType
from core.services.funding import link_account
from core.services.goals import create_goal, get_goal
from core.services.inputs import GoalDraft, LinkDraft
from core.services.progress import read_progress
from core.services.views import ProgressView
from core.store.database import Sessions
from core.store.driver import Session
from core.store.tenants import Tenant
from tests.conftest import NOW

DEFAULT = Tenant("default", "UTC")


def goal(sessions: Sessions, now: datetime, type: GoalType = GoalType.SAVINGS, **changes: object) -> str:
    """A new goal's id."""
    draft = {"user_id": "u", "name": "g", "type": type, "target_amount": "10000", "current_amount": None} | changes
    with sessions.begin() as session:
        return create_goal(session, DEFAULT, GoalDraft(**draft), now).goal_id  # type: ignore[arg-type]


def link(sessions: Sessions, now: datetime, goal_id: str, account: str, percent: str, from_: object = None) -> None:
    """Link an account."""
    with sessions.begin() as session:
        draft = LinkDraft(account, None, percent, from_)  # type: ignore[arg-type]
        link_account(session, DEFAULT, goal_id, draft, now)


def amount(sessions: Sessions, goal_id: str) -> int:
    """A goal's amount in cents."""
    with sessions() as session:
        return get_goal(session, DEFAULT, goal_id).amount_minor


def goal_progress(session: Session, tenant: Tenant, goal_id: str, now: datetime) -> ProgressView:
    """How far a goal is."""
    return read_progress(session, tenant, [goal_id], now)[goal_id]


def event(type: str, time: datetime, id: str, data: dict[str, Any], source: str = "test") -> bytes:
    """An event as JSON."""
    envelope = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": f"milepost.{type}",
        "time": time.isoformat(),
        "data": data,
    }
    return simplejson.dumps(envelope, use_decimal=True).encode()


def money(minor: int) -> Decimal:
    """Cents as a number of the currency."""
    return Decimal(minor).scaleb(-2)


def paid(name: str, minor: int, at: datetime, account: str = "a") -> bytes:
    """A posted transaction, stated when it was posted; one that is dated ahead is stated now."""
    data = {
        "account_id": account,
        "transaction_id": name,
        "amount": money(minor),
        "currency": "USD",
        "posted_at": at.isoformat(),
    }
    return event("transaction.recorded", min(at, NOW), name, data)


def balance(minor: int, at: datetime, account: str = "a", **more: object) -> bytes:
    """A report, stated when it was true; one that is dated ahead is stated now."""
    data = {"account_id": account, "current": money(minor), "currency": "USD", "as_of": at.isoformat()} | more
    return event("balance.reported", min(at, NOW), f"b-{account}-{at}", data)
