"""Facts: the result of all events of one tenant, account by account."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.chaos.oracle.placement import Record, day_of, first_instant, place_all, within

# The decimals of the currencies of the load's accounts.
DECIMALS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}
ATTRIBUTES = ("user_id", "kind", "name", "closed", "replaced_by", "replaced_from", "opened")
_CLEARABLE = {"name", "replaced_by", "opened"}
# Instants and reports count at once if they are at most this much ahead.
AHEAD = timedelta(days=1)
FOR_EVER = datetime.max.replace(tzinfo=UTC)

Rank = tuple[datetime, bool, str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """The value that one event states for one key. Of two for the same key the one with the greater rank wins."""

    rank: Rank
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

    def counts_from(self, zone: str) -> datetime:
        """When a posted one begins to count: with its local day, or a day before its instant."""
        if self.day is not None:
            return first_instant(self.day, zone)
        assert self.posted_at is not None
        return self.posted_at - AHEAD


@dataclass(frozen=True, slots=True)
class Window:
    """A pull of a source that had all booked rows of the days from `first` through `last`."""

    source: str
    first: date
    last: date
    time: datetime


@dataclass(slots=True)
class Account:
    """All facts of one account, of which those count that have begun to at `now`."""

    zone: str = "UTC"
    now: datetime = FOR_EVER
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

    def waiting(self) -> dict[str, datetime]:
        """The posted transactions that are dated too far ahead to count, with the moment from which they do."""
        missing = self.missing()
        posted = {
            name: stated.value.counts_from(self.zone)
            for name, stated in self.transactions.items()
            if stated.value.is_posted and name not in missing
        }
        return {name: counts_from for name, counts_from in posted.items() if counts_from > self.now}

    def counting(self) -> dict[str, Transaction]:
        """The transactions in the account's currency that are posted, not dated too far ahead, and not replaced."""
        currency = self.currency
        left_out = self.missing() | self.waiting().keys()
        posted = {
            name: stated.value
            for name, stated in self.transactions.items()
            if stated.value.is_posted and name not in left_out
        }
        replaced = {each.replaces for each in posted.values() if each.replaces is not None}
        return {name: each for name, each in posted.items() if name not in replaced and each.currency == currency}

    def reported(self) -> dict[datetime, int]:
        """The worth by each report in the account's currency that is not dated too far ahead."""
        sign, own = -1 if self.is_liability else 1, self.currency
        return {
            as_of: sign * stated.value
            for (as_of, currency), stated in self.reports.items()
            if currency == own and self.is_due(as_of)
        }

    def known_at(self) -> datetime:
        """When its balance became known: by its first report, else when it had had booked rows for seven days."""
        rows = min((record.time for record in self.records if record.is_booked), default=FOR_EVER)
        by_rows = rows + timedelta(days=7) if rows < FOR_EVER else FOR_EVER
        return min([*self.reported(), by_rows if by_rows <= self.now else FOR_EVER])

    def is_due(self, as_of: datetime) -> bool:
        """Whether a report counts by now."""
        return as_of - AHEAD <= self.now

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
    """The accounts of one tenant, whose days are those of `zone`, as they are at `now`."""

    zone: str
    now: datetime = FOR_EVER
    accounts: dict[str, Account] = field(default_factory=dict)

    def apply(self, body: bytes) -> None:
        """Apply one event; applying it again changes nothing."""
        event = json.loads(body, parse_float=Decimal, parse_int=Decimal)
        kind, data = event["type"].removeprefix("milepost."), event["data"]
        rank = (instant(event["time"]), kind == "transaction.removed", event["source"], event["id"])
        APPLY[kind](self, data, rank)

    def _record(self, data: dict[str, Any], rank: Rank) -> None:
        posted_at, day = moment_or_day(data["posted_at"])
        amount, is_pending = minor(data["amount"], data["currency"]), data.get("pending", False)
        stated = Transaction(amount, posted_at, day, is_pending, False, data.get("replaces"), data["currency"])
        self._transaction(data, rank, stated)
        self._of_fact(data, rank)

    def _remove(self, data: dict[str, Any], rank: Rank) -> None:
        self._transaction(data, rank, Transaction(0, None, None, False, True, None))

    def _transaction(self, data: dict[str, Any], rank: Rank, stated: Transaction) -> None:
        account, name, tie = self._account(data), data["transaction_id"], f"{rank[2]}\x1f{rank[3]}"
        _state(account.transactions, name, rank, stated)
        record = Record(name, rank[0], tie, stated.amount_minor, stated.day, stated.posted_at, stated.is_pending)
        account.records.add(record)

    def _report(self, data: dict[str, Any], rank: Rank) -> None:
        if data["current"] is None:
            return
        as_of, day = moment_or_day(data["as_of"])
        if day is not None:
            as_of = within(rank[0], day, self.zone)
        key = as_of, data["currency"]
        _state(self._account(data).reports, key, rank, minor(data["current"], data["currency"]))
        self._of_fact(data, rank)

    def _window(self, data: dict[str, Any], rank: Rank) -> None:
        days = date.fromisoformat(data["from"]), date.fromisoformat(data["through"])
        self._account(data).windows.add(Window(rank[2], *days, rank[0]))

    def _attributes(self, data: dict[str, Any], rank: Rank) -> None:
        if "currency" in data:
            _state(self._account(data).stated_currency, "currency", rank, data["currency"])
        for name in ATTRIBUTES:
            # A null has no effect, except on attributes that can be cleared.
            if data.get(name) is not None or (name in data and name in _CLEARABLE):
                _state(self._account(data).attributes, name, rank, data[name])
        if "replaced_by" in data:
            from_day = None if data["replaced_by"] is None else data.get("from")
            _state(self._account(data).attributes, "replaced_from", rank, from_day)
            if data["replaced_by"] is not None:
                self._account({"account_id": data["replaced_by"]})

    def _connection(self, data: dict[str, Any], rank: Rank) -> None:
        for account_id in data["account_ids"]:
            attributes = self._account({"account_id": account_id}).attributes
            _state(attributes, "connection", rank, data["state"])
            _state(attributes, "connection_reason", rank, data.get("reason"))

    def _of_fact(self, data: dict[str, Any], rank: Rank) -> None:
        """What a transaction or a report says of its account."""
        account = self._account(data)
        for name in ("user_id", "kind"):
            if data.get(name) is not None:
                _state(account.attributes, name, rank, data[name])

    def _account(self, data: dict[str, Any]) -> Account:
        return self.accounts.setdefault(data["account_id"], Account(self.zone, self.now))


# By the type of an event: what applies it.
APPLY: dict[str, Callable[[TenantFacts, dict[str, Any], Rank], None]] = {
    "transaction.recorded": TenantFacts._record,
    "transaction.removed": TenantFacts._remove,
    "balance.reported": TenantFacts._report,
    "window.reported": TenantFacts._window,
    "account.changed": TenantFacts._attributes,
    "connection.changed": TenantFacts._connection,
}


def _state(statements: dict[Any, Statement], key: Any, rank: Rank, value: Any) -> None:
    """State a value for a key; of two the one with the greater rank stands."""
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
