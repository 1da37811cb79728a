"""Events as a producer makes them: the JSON of each kind, and what is to become of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.chaos.load.world import AccountPlan

# What an event that is no dead letter comes to; every other outcome is the code of a dead letter.
FACT, NOTHING = "fact", "nothing"
_DECIMALS = {"USD": 2, "JPY": 0, "KWD": 3}


@dataclass(frozen=True, slots=True)
class Event:
    """One event and where it goes. `outcome`: FACT, NOTHING or the code of the dead letter that it has to become.

    `is_malformed`: the HTTP door refuses it, and so the whole batch that it comes in.
    """

    event_id: str
    tenant: str
    account_id: str
    body: bytes
    outcome: str = FACT
    is_malformed: bool = False


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the events of one source for one tenant."""

    source: str
    tenant: str

    def transaction(
        self, event_id: str, told: datetime, account: AccountPlan, name: str, minor: int, posted_at: str, **more: Any
    ) -> Event:
        """A record of a transaction."""
        data = {"transaction_id": name, "amount": money(minor, account.currency), "posted_at": posted_at}
        return self._fact(event_id, told, "transaction.recorded", account, data | {"currency": account.currency} | more)

    def removal(self, event_id: str, told: datetime, account: AccountPlan, name: str) -> Event:
        """A removal of a transaction."""
        return self._fact(event_id, told, "transaction.removed", account, {"transaction_id": name})

    def report(
        self, event_id: str, told: datetime, account: AccountPlan, minor: int | None, as_of: str, **more: Any
    ) -> Event:
        """A report; without an amount it is no event."""
        current = None if minor is None else money(minor, account.currency)
        data = {"current": current, "currency": account.currency, "as_of": as_of} | more
        event = self._fact(event_id, told, "balance.reported", account, data)
        return event if minor is not None else _become(event, NOTHING)

    def attributes(self, event_id: str, told: datetime, account: AccountPlan, **stated: Any) -> Event:
        """What is said of an account itself."""
        return self._fact(event_id, told, "account.changed", account, stated)

    def connection(self, event_id: str, told: datetime, account: AccountPlan, state: str, reason: str) -> Event:
        """The state of the connection that an account comes by."""
        data = {"account_ids": [account.account_id], "state": state, "reason": reason}
        return self._fact(event_id, told, "connection.changed", account, data)

    def _fact(self, event_id: str, told: datetime, type: str, account: AccountPlan, data: dict[str, Any]) -> Event:
        owner = {} if "account_ids" in data else {"account_id": account.account_id}
        envelope = {"specversion": "1.0", "id": event_id, "source": self.source, "type": f"milepost.{type}"}
        body = json.dumps(envelope | {"time": told.isoformat(), "data": owner | data}).encode()
        return Event(event_id, self.tenant, account.account_id, body)


def spoil(event: Event, how: str, later: datetime) -> Event:
    """An event that cannot take effect, made of a transaction that could; `later` is more than a day away."""
    told = json.loads(event.body)
    data = told["data"]
    match how:
        case "cut off":
            return _become(event, "unparseable", event.body[:-7], is_malformed=True)
        case "not a number":
            return _become(event, "unparseable", _with(told, amount=float("nan")), is_malformed=True)
        case "not text":
            return _become(event, "unparseable", event.body.replace(b"milepost", b"\xff", 1), is_malformed=True)
        case "no version":
            return _become(event, "malformed", json.dumps(told | {"specversion": "0"}).encode(), is_malformed=True)
        case "no such type":
            return _become(event, "unknown_type", json.dumps(told | {"type": "milepost.nothing"}).encode())
        case "no amount":
            return _become(event, "missing_field", _with(told, amount=None))
        case "too exact":
            return _become(event, "bad_amount", _with(told, amount="1.23456"))
        case "another currency":
            return _become(event, "currency_mismatch", _with(told, currency="EUR", amount="1.00"))
        case "far ahead":
            return _become(event, "far_future", _with(told, posted_at=later.isoformat()))
        case "of itself":
            return _become(event, "self_contradicting", _with(told, replaces=data["transaction_id"]))
        case "too large":
            return _become(event, "too_large", _with(told, description="x" * 70_000), is_malformed=True)
        case "huge":
            return _become(event, "too_large", _with(told, description="x" * 10_000_000), is_malformed=True)
        case _:
            raise ValueError(f"there is no way to spoil an event called {how!r}")


WAYS_TO_SPOIL = (
    "cut off",
    "not a number",
    "not text",
    "no version",
    "no such type",
    "no amount",
    "too exact",
    "another currency",
    "far ahead",
    "of itself",
    "too large",
)


def killer(event: Event) -> Event:
    """An event that is good but for what it does to whoever reads it, while the crash point for it is set."""
    return _become(event, "poison")


def money(minor: int, currency: str) -> str:
    """An amount as text, with the currency's decimals."""
    places = _DECIMALS[currency]
    sign, digits = "-" if minor < 0 else "", str(abs(minor)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def _become(event: Event, outcome: str, body: bytes | None = None, *, is_malformed: bool = False) -> Event:
    return Event(event.event_id, event.tenant, event.account_id, body or event.body, outcome, is_malformed)


def _with(told: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(told | {"data": told["data"] | changes}).encode()
