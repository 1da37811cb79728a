"""The demo's events as a producer sends them: deterministic ids, exact decimals, CloudEvents in JSON."""

from collections.abc import Mapping
from datetime import date, datetime

import simplejson

from core.goals.money import to_decimal
from milepost.demo.rules import Move

SOURCE = "milepost-demo"


def described(account_id: str, user_id: str, kind: str, name: str, time: datetime) -> bytes:
    """An event that names the user, the kind and the name of an account."""
    data = {"account_id": account_id, "user_id": user_id, "kind": kind, "name": name}
    return _event("account.changed", f"{account_id}.described", time, data)


def reported(
    account_id: str, current_minor: int, currency: str, as_of: date | datetime, time: datetime, event_id: str
) -> bytes:
    """An event that reports a balance; of a liability it is what is owed."""
    data = {
        "account_id": account_id,
        "current": to_decimal(current_minor, currency),
        "currency": currency,
        "as_of": as_of.isoformat(),
    }
    return _event("balance.reported", event_id, time, data)


def recorded(
    move: Move,
    currency: str,
    transaction_id: str,
    posted_at: date | datetime,
    time: datetime,
    *,
    pending: bool = False,
    replaces: str | None = None,
) -> bytes:
    """An event that records a transaction, pending or posted."""
    data = {
        "account_id": move.account_id,
        "transaction_id": transaction_id,
        "amount": to_decimal(move.amount_minor, currency),
        "currency": currency,
        "posted_at": posted_at.isoformat(),
        "pending": pending,
        "category": move.category,
        "description": move.description,
    }
    if replaces is not None:
        data["replaces"] = replaces
    return _event("transaction.recorded", f"{transaction_id}.recorded", time, data)


def removed(account_id: str, transaction_id: str, time: datetime) -> bytes:
    """An event that removes a pending transaction that was never posted."""
    data = {"account_id": account_id, "transaction_id": transaction_id}
    return _event("transaction.removed", f"{transaction_id}.removed", time, data)


def _event(type: str, event_id: str, time: datetime, data: Mapping[str, object]) -> bytes:
    whole = {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": f"milepost.{type}",
        "time": time.isoformat().replace("+00:00", "Z"),
        "data": data,
    }
    return simplejson.dumps(whole, use_decimal=True).encode()
