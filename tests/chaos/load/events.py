"""Events as a producer makes them: the JSON of each kind, and the outcome that it must have."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from tests.chaos.load.world import AccountPlan

# The outcomes of events that do not become dead letters; every other outcome is the code of a dead letter.
FACT, NOTHING = "fact", "nothing"
_DATE_LENGTH = len("2026-01-31")
_DECIMALS = {"USD": 2, "JPY": 0, "KWD": 3}


@dataclass(frozen=True, slots=True)
class Event:
    """One event and its account. `outcome`: FACT, NOTHING or the code of the dead letter that it must become.

    `is_malformed`: POST /events refuses it, and with it the whole batch. `outlives`: it has an effect even after a
    later statement of its key has won, so that no table can tell whether it was applied.
    """

    event_id: str
    tenant: str
    account_id: str
    body: bytes
    outcome: str = FACT
    is_malformed: bool = False
    outlives: bool = False


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the events of one source for one tenant."""

    source: str
    tenant: str

    def transaction(
        self,
        event_id: str,
        event_time: datetime,
        account: AccountPlan,
        name: str,
        minor: int,
        posted_at: str,
        **more: Any,
    ) -> Event:
        """An event that records a transaction; of one with only a date the first report counts, whatever wins."""
        data = {"transaction_id": name, "amount": money(minor, account.currency), "posted_at": posted_at}
        event = self._fact(
            event_id, event_time, "transaction.recorded", account, data | {"currency": account.currency} | more
        )
        return replace(event, outlives=len(posted_at) == _DATE_LENGTH)

    def removal(self, event_id: str, event_time: datetime, account: AccountPlan, name: str) -> Event:
        """An event that removes a transaction."""
        return self._fact(event_id, event_time, "transaction.removed", account, {"transaction_id": name})

    def report(
        self, event_id: str, event_time: datetime, account: AccountPlan, minor: int | None, as_of: str, **more: Any
    ) -> Event:
        """An event that reports a balance; without an amount it has no effect."""
        current = None if minor is None else money(minor, account.currency)
        data = {"current": current, "currency": account.currency, "as_of": as_of} | more
        event = self._fact(event_id, event_time, "balance.reported", account, data)
        return event if minor is not None else _become(event, NOTHING)

    def window(self, event_id: str, event_time: datetime, account: AccountPlan, first: date, last: date) -> Event:
        """An event that says that a pull had all booked rows of these days."""
        days = {"from": first.isoformat(), "through": last.isoformat()}
        return replace(self._fact(event_id, event_time, "window.reported", account, days), outlives=True)

    def attributes(self, event_id: str, event_time: datetime, account: AccountPlan, **stated: Any) -> Event:
        """An event that states attributes of an account."""
        return self._fact(event_id, event_time, "account.changed", account, stated)

    def connection(self, event_id: str, event_time: datetime, account: AccountPlan, state: str, reason: str) -> Event:
        """An event that states the state of the connection through which an account is read."""
        data = {"account_ids": [account.account_id], "state": state, "reason": reason}
        return self._fact(event_id, event_time, "connection.changed", account, data)

    def _fact(
        self, event_id: str, event_time: datetime, type: str, account: AccountPlan, data: dict[str, Any]
    ) -> Event:
        owner = {} if "account_ids" in data else {"account_id": account.account_id}
        envelope = {"specversion": "1.0", "id": event_id, "source": self.source, "type": f"milepost.{type}"}
        body = json.dumps(envelope | {"time": event_time.isoformat(), "data": owner | data}).encode()
        return Event(event_id, self.tenant, account.account_id, body)


def spoil(event: Event, how: str, later: datetime) -> Event:
    """An event that cannot be applied, made from a transaction that could; `later` is more than 400 days away."""
    parsed = json.loads(event.body)
    data = parsed["data"]
    match how:
        case "cut off":
            return _become(event, "unparseable", event.body[:-7], is_malformed=True)
        case "not a number":
            return _become(event, "unparseable", _with(parsed, amount=float("nan")), is_malformed=True)
        case "not text":
            return _become(event, "unparseable", event.body.replace(b"milepost", b"\xff", 1), is_malformed=True)
        case "no version":
            return _become(event, "malformed", json.dumps(parsed | {"specversion": "0"}).encode(), is_malformed=True)
        case "no such type":
            return _become(event, "unknown_type", json.dumps(parsed | {"type": "milepost.nothing"}).encode())
        case "no amount":
            return _become(event, "missing_field", _with(parsed, amount=None))
        case "too exact":
            return _become(event, "bad_amount", _with(parsed, amount="1.23456"))
        case "far ahead":
            return _become(event, "far_future", _with(parsed, posted_at=later.isoformat()))
        case "clock ahead":
            ahead = (datetime.fromisoformat(parsed["time"]) + timedelta(hours=20)).isoformat()
            return _become(event, "clock_ahead", json.dumps(parsed | {"time": ahead}).encode(), is_malformed=True)
        case "of itself":
            return _become(event, "self_contradicting", _with(parsed, replaces=data["transaction_id"]))
        case "too large":
            return _become(event, "too_large", _with(parsed, description="x" * 70_000), is_malformed=True)
        case "huge":
            return _become(event, "too_large", _with(parsed, description="x" * 10_000_000), is_malformed=True)
        case _:
            raise ValueError(f"events cannot be spoilt by {how!r}")


SPOILINGS = (
    "cut off",
    "not a number",
    "not text",
    "no version",
    "no such type",
    "no amount",
    "too exact",
    "far ahead",
    "clock ahead",
    "of itself",
    "too large",
)


def killer(event: Event) -> Event:
    """A good event that kills every drain that reads it, while the crash point for it is set."""
    return _become(event, "poison")


def money(minor: int, currency: str) -> str:
    """An amount as text, with the currency's decimals."""
    places = _DECIMALS[currency]
    sign, digits = "-" if minor < 0 else "", str(abs(minor)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def _become(event: Event, outcome: str, body: bytes | None = None, *, is_malformed: bool = False) -> Event:
    return replace(event, body=body or event.body, outcome=outcome, is_malformed=is_malformed, outlives=False)


def _with(parsed: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(parsed | {"data": parsed["data"] | changes}).encode()
