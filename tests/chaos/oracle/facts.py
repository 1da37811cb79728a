"""Facts: the result of all events of one tenant, account by account."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

# The decimals of the currencies of the load's accounts.
DECIMALS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}
ATTRIBUTES = ("user_id", "kind", "name", "closed", "replaced_by")

_LAST = timedelta(microseconds=1)
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Statement:
    """The value that one event states for one key. Of two for the same key the one with the greater rank wins."""

    rank: tuple[datetime, bool, str, str]
    value: Any

    @property
    def event_id(self) -> str:
        """The id of the event that states it."""
        return self.rank[3]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as an event states it; for a removal the other values have no meaning."""

    amount_minor: int
    posted_at: datetime | None
    is_pending: bool
    is_removal: bool
    replaces: str | None

    @property
    def is_posted(self) -> bool:
        """Whether it is neither removed nor pending."""
        return not self.is_removal and not self.is_pending


@dataclass(slots=True)
class Account:
    """All facts of one account."""

    currency: str | None = None
    transactions: dict[str, Statement] = field(default_factory=dict)
    reports: dict[datetime, Statement] = field(default_factory=dict)
    attributes: dict[str, Statement] = field(default_factory=dict)

    @property
    def user_id(self) -> str | None:
        """The user of the account, if an event stated it."""
        stated = self.attributes.get("user_id")
        return None if stated is None else stated.value

    @property
    def is_liability(self) -> bool:
        """Whether its balance is a debt."""
        stated = self.attributes.get("kind")
        return stated is not None and stated.value == "liability"


@dataclass(slots=True)
class TenantFacts:
    """The accounts of one tenant, whose days are those of `zone`."""

    zone: str
    accounts: dict[str, Account] = field(default_factory=dict)

    def apply(self, body: bytes) -> None:
        """Apply one event; applying it again changes nothing."""
        event = json.loads(body, parse_float=Decimal, parse_int=Decimal)
        kind, data = event["type"].removeprefix("milepost."), event["data"]
        is_removal = kind == "transaction.removed"
        rank = (instant(event["time"]), is_removal, event["source"], event["id"])
        if kind == "connection.changed":
            for account_id in data["account_ids"]:
                self._state(self._account(account_id).attributes, "connection", rank, data["state"])
                self._state(self._account(account_id).attributes, "connection_reason", rank, data.get("reason"))
            return
        if kind == "balance.reported" and data["current"] is None:
            return
        account = self._account(data["account_id"])
        if kind.startswith("transaction."):
            self._state(account.transactions, data["transaction_id"], rank, self._transaction(data, is_removal))
        if kind == "balance.reported":
            as_of = moment(data["as_of"], self.zone, is_end_of_day=True)
            self._state(account.reports, as_of, rank, minor(data["current"], data["currency"]))
        account.currency = data.get("currency") or account.currency
        for name in ATTRIBUTES if kind == "account.changed" else () if is_removal else ("user_id", "kind"):
            # A null has no effect, except on attributes that can be cleared.
            if data.get(name) is not None or (name in data and name in {"name", "replaced_by"}):
                self._state(account.attributes, name, rank, data[name])

    def _account(self, account_id: str) -> Account:
        return self.accounts.setdefault(account_id, Account())

    def _transaction(self, data: dict[str, Any], is_removal: bool) -> Transaction:
        if is_removal:
            return Transaction(0, None, False, True, None)
        posted_at = moment(data["posted_at"], self.zone, is_end_of_day=False)
        amount = minor(data["amount"], data["currency"])
        return Transaction(amount, posted_at, data.get("pending", False), False, data.get("replaces"))

    @staticmethod
    def _state(statements: dict[Any, Statement], key: Any, rank: tuple[datetime, bool, str, str], value: Any) -> None:
        if key not in statements or rank > statements[key].rank:
            statements[key] = Statement(rank, value)


def minor(amount: Decimal | str, currency: str) -> int:
    """An amount in the smallest unit of its currency: "12.50" USD is 1250."""
    scaled = Decimal(amount) * 10 ** DECIMALS[currency]
    if scaled != int(scaled):
        raise ValueError(f"{amount} is no amount of {currency}")
    return int(scaled)


def instant(text: str) -> datetime:
    """A time with its offset, in UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def moment(text: str, zone: str, *, is_end_of_day: bool) -> datetime:
    """A time, or the first or last instant of a local day."""
    if len(text) > len("2026-01-31"):
        return instant(text)
    day = date.fromisoformat(text)
    return first_instant(day + timedelta(days=1), zone) - _LAST if is_end_of_day else first_instant(day, zone)


_FOUND: dict[tuple[date, str], datetime] = {}


def first_instant(day: date, zone: str) -> datetime:
    """The first instant whose local date is not before `day`, found by trying each quarter of an hour."""
    if (day, zone) not in _FOUND:
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
        while at.astimezone(ZoneInfo(zone)).date() < day:
            at += _QUARTER
        _FOUND[day, zone] = at
    return _FOUND[day, zone]
