"""The events of a benchmark: the same for the same arguments, in two orders that load the drain differently."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from math import gcd

import simplejson

CURRENCY = "USD"
SOURCE = "bench"
PAGE = 20
# The time within which the events are dated; all are after the seed and before the measurement.
SPAN = timedelta(days=30)
_LEAST_MINOR, _MOST_MINOR = -100_00, 200_00
_GOLDEN = 0.618


class Workload(StrEnum):
    """The order of the events."""

    SCATTERED = "scattered"
    """Each event is another account's, as webhooks are."""
    PAGES = "pages"
    """PAGE transactions of one account in a row, as bank syncs are."""


@dataclass(frozen=True, slots=True)
class BenchEvent:
    """One transaction of the account numbered `account`."""

    account: int
    transaction_id: str
    amount_minor: int
    posted_at: datetime

    def to_json(self) -> bytes:
        """The event as a producer would put it on the stream."""
        data = {
            "account_id": account_id(self.account),
            "transaction_id": self.transaction_id,
            "amount": Decimal(self.amount_minor).scaleb(-2),
            "currency": CURRENCY,
            "posted_at": self.posted_at.isoformat(),
            "pending": False,
            "category": "FOOD_AND_DRINK" if self.amount_minor < 0 else "TRANSFER_IN",
            "description": f"bench transaction {self.transaction_id}",
        }
        return envelope("transaction.recorded", self.transaction_id, self.posted_at, data)


def account_id(number: int) -> str:
    """The id of an account by its number."""
    return f"account-{mark(number)}"


def mark(number: int) -> str:
    """The text that the ids of one account, its user and its opening report contain, and no other id does."""
    return f"n{number:07d}"


def envelope(type: str, event_id: str, time: datetime, data: Mapping[str, object]) -> bytes:
    """An event in its envelope."""
    whole = {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": f"milepost.{type}",
        "time": time.isoformat(),
        "data": data,
    }
    return simplejson.dumps(whole, use_decimal=True).encode()


def make_events(
    workload: Workload, events: int, accounts: int, since: datetime, span: timedelta = SPAN
) -> list[BenchEvent]:
    """`events` transactions in the order in which they come, posted within `span` after `since`."""
    return list(each_event(workload, events, accounts, since, span))


def each_event(
    workload: Workload, events: int, accounts: int, since: datetime, span: timedelta = SPAN
) -> Iterator[BenchEvent]:
    """The same, one by one, for more events than fit in a process's memory."""
    places = _scattered if workload is Workload.SCATTERED else _pages
    amounts = random.Random(events)
    for number, (account, share) in enumerate(places(events, accounts)):
        minor = amounts.randint(_LEAST_MINOR, _MOST_MINOR) or 1
        yield BenchEvent(account, f"transaction-{number:09d}", minor, since + span * share)


def sums(events: Iterable[BenchEvent]) -> dict[str, int]:
    """The sum of the transactions of each account that has any, in minor units, by account id."""
    totals: dict[int, int] = {}
    for event in events:
        totals[event.account] = totals.get(event.account, 0) + event.amount_minor
    return {account_id(number): total for number, total in totals.items()}


def _scattered(events: int, accounts: int) -> Iterator[tuple[int, float]]:
    """(account, share of the span): every account once before any comes again, neighbours far apart."""
    stride = max(1, int(accounts * _GOLDEN))
    while gcd(stride, accounts) != 1:
        stride += 1
    for number in range(events):
        yield number * stride % accounts, (number + 1) / (events + 1)


def _pages(events: int, accounts: int) -> Iterator[tuple[int, float]]:
    """(account, share of the span): each page has one account's transactions of the whole span, oldest first."""
    stepped = _scattered(-(-events // PAGE), accounts)
    for page, (account, shift) in enumerate(stepped):
        for place in range(min(PAGE, events - page * PAGE)):
            yield account, (place + shift) / PAGE
