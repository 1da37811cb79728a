"""The facts that events state, each with its key and its rank.

Plain tuples: a batch makes thousands of each, and a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from core.events.rank import Rank

ACCOUNTS_MOST = 50
"""How many accounts one statement about a connection may name."""


class AccountKind(StrEnum):
    """Whether a balance is owned or owed."""

    ASSET = "asset"
    LIABILITY = "liability"

    @property
    def sign(self) -> int:
        """What turns a stated balance into worth."""
        return 1 if self is AccountKind.ASSET else -1


class Transaction(NamedTuple):
    """What is known of a transaction; its key is (account, transaction_id). A removal is kept as a tombstone."""

    transaction_id: str
    rank: Rank
    amount_minor: int = 0
    currency: str = ""
    posted_at: datetime | None = None
    pending: bool = False
    replaces: str | None = None
    category: str | None = None
    description: str | None = None

    @property
    def is_posted(self) -> bool:
        """Whether it may count: neither removed nor pending."""
        return not self.rank.is_removal and not self.pending

    @property
    def precedence(self) -> tuple[Any, ...]:
        """Sorts statements of one key; the content comes last, so that equal ranks cannot depend on arrival."""
        return (
            self.rank,
            self.amount_minor,
            str(self.posted_at),
            self.pending,
            self.replaces or "",
            self.category or "",
            self.description or "",
        )


class Report(NamedTuple):
    """A stated balance; its key is (account, as_of). `current_minor` of a liability is positive when owed."""

    as_of: datetime
    rank: Rank
    current_minor: int
    currency: str
    available_minor: int | None = None

    @property
    def precedence(self) -> tuple[Any, ...]:
        """Sorts statements of one key, as for transactions."""
        available = self.available_minor
        return (self.rank, self.current_minor, available is not None, available or 0)


class Attribute(NamedTuple):
    """One attribute of an account; its key is (account, name). `rank` is as attribute_rank gives it."""

    name: str
    value: str | bool | None
    rank: str


class AccountFacts(NamedTuple):
    """What one event states of one account."""

    account_id: str
    currency: str | None = None
    attributes: tuple[Attribute, ...] = ()
    transaction: Transaction | None = None
    report: Report | None = None
