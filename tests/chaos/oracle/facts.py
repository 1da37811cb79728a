"""Facts: the result of all events of one tenant, account by account."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tests.chaos.oracle.placement import Record, day_of, place_all, within

# The decimals of the currencies of the load's accounts.
DECIMALS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}
ATTRIBUTES = ("user_id", "kind", "name", "closed", "replaced_by")


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
    day: date | None
    is_pending: bool
    is_removal: bool
    replaces: str | None
    currency: str | None = None

    @property
    def is_posted(self) -> bool:
        """Whether it is neither removed nor pending."""
        return not self.is_removal and not self.is_pending


@dataclass(frozen=True, slots=True)
class Window:
    """A pull of a source that had all booked rows of the days from `first` through `last`."""

    source: str
    first: date
    last: date
    time: datetime


@dataclass(slots=True)
class Account:
    """All facts of one account."""

    zone: str = "UTC"
    records: set[Record] = field(default_factory=set)
    transactions: dict[str, Statement] = field(default_factory=dict)
    reports: dict[tuple[datetime, str], Statement] = field(default_factory=dict)
    attributes: dict[str, Statement] = field(default_factory=dict)
    stated_currency: dict[str, Statement] = field(default_factory=dict)
    windows: set[Window] = field(default_factory=set)

    def missing(self) -> set[str]:
        """The transactions that a later pull of all booked rows of their days did not have."""
        found = set()
        for name, stated in self.transactions.items():
            time, _, source, _ = stated.rank
            if stated.value.is_posted:
                day = stated.value.day or day_of(stated.value.posted_at, self.zone)
                if any(w.source == source and w.first <= day <= w.last and time < w.time for w in self.windows):
                    found.add(name)
        return found

    @property
    def currency(self) -> str | None:
        """What is stated, else what the first report is in, else what the first posted transaction is in."""
        stated = self.stated_currency.get("currency")
        if stated is not None and stated.value is not None:
            return str(stated.value)
        said = [(each.rank, currency) for (_, currency), each in self.reports.items()]
        if not said:
            missing = self.missing()
            said = [
                (each.rank, each.value.currency)
                for name, each in self.transactions.items()
                if each.value.is_posted and name not in missing
            ]
        return min(said)[1] if said else None

    def counting(self) -> dict[str, Transaction]:
        """The transactions that are posted, in the account's currency, and that no posted one replaces."""
        missing, currency = self.missing(), self.currency
        posted = {
            name: stated.value
            for name, stated in self.transactions.items()
            if stated.value.is_posted and name not in missing
        }
        replaced = {each.replaces for each in posted.values() if each.replaces is not None}
        return {name: each for name, each in posted.items() if name not in replaced and each.currency == currency}

    def reported(self) -> dict[datetime, int]:
        """The worth by each report in the account's currency."""
        sign, own = -1 if self.is_liability else 1, self.currency
        return {as_of: sign * stated.value for (as_of, currency), stated in self.reports.items() if currency == own}

    def places(self) -> dict[str, datetime]:
        """Where each transaction is placed that counts."""
        but = self.transactions.keys() - self.counting().keys()
        return place_all(self.records, self.reported(), self.zone, but=but, missing=self.missing())

    def stored_place(self, name: str, places: dict[str, datetime]) -> datetime | None:
        """Where a transaction is stored; one that does not count and has a day, where it was first reported."""
        transaction: Transaction = self.transactions[name].value
        if transaction.day is None or name in places:
            return places.get(name, transaction.posted_at)
        times = [record.time for record in self.records if record.name == name and record.is_booked]
        return within(min(times, default=self.transactions[name].rank[0]), transaction.day, self.zone)

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
        if kind == "window.reported":
            days = date.fromisoformat(data["from"]), date.fromisoformat(data["through"])
            account.windows.add(Window(event["source"], *days, rank[0]))
        if kind.startswith("transaction."):
            stated = self._transaction(data, is_removal)
            self._state(account.transactions, data["transaction_id"], rank, stated)
            tie = f"{event['source']}\x1f{event['id']}"
            record = Record(data["transaction_id"], rank[0], tie, stated.amount_minor, stated.day, stated.posted_at)
            account.records.add(record._replace(is_pending=stated.is_pending))
        if kind == "balance.reported":
            as_of, day = moment_or_day(data["as_of"])
            if day is not None:
                as_of = within(rank[0], day, self.zone)
            key = as_of, data["currency"]
            self._state(account.reports, key, rank, minor(data["current"], data["currency"]))
        if kind == "account.changed" and "currency" in data:
            self._state(account.stated_currency, "currency", rank, data["currency"])
        for name in ATTRIBUTES if kind == "account.changed" else () if is_removal else ("user_id", "kind"):
            # A null has no effect, except on attributes that can be cleared.
            if data.get(name) is not None or (name in data and name in {"name", "replaced_by"}):
                self._state(account.attributes, name, rank, data[name])

    def _account(self, account_id: str) -> Account:
        return self.accounts.setdefault(account_id, Account(self.zone))

    def _transaction(self, data: dict[str, Any], is_removal: bool) -> Transaction:
        if is_removal:
            return Transaction(0, None, None, False, True, None)
        amount = minor(data["amount"], data["currency"])
        return Transaction(
            amount,
            *moment_or_day(data["posted_at"]),
            data.get("pending", False),
            False,
            data.get("replaces"),
            data["currency"],
        )

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


def moment_or_day(text: str) -> tuple[datetime | None, date | None]:
    """A time, or a local day; the other of the two is None."""
    if len(text) > len("2026-01-31"):
        return instant(text), None
    return None, date.fromisoformat(text)
