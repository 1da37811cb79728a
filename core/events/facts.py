"""The facts that events state, each with its key and its rank: which of two statements about one key wins."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct

ACCOUNTS_MOST = 50
"""How many accounts one statement about a connection may name."""


class Rank(NamedTuple):
    """The later `time` wins; at one time a removal beats a record; what is left goes to (source, id)."""

    time: datetime
    is_removal: bool
    source: str
    event_id: str


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


class SimpleTransaction(Struct, frozen=True, gc=False):
    """A posted transaction of some amount that replaces none and tells nothing else of its account.

    A Struct is made in a third of the time of a named tuple, and what holds only texts, numbers and moments need not be
    looked at by the garbage collector.
    """

    account_id: str
    transaction_id: str
    amount_minor: int
    currency: str
    posted_at: datetime
    category: str | None
    description: str | None
    time: datetime
    source: str
    event_id: str

    def facts(self) -> AccountFacts:
        """The same as the closer look has it."""
        rank = Rank(self.time, False, self.source, self.event_id)
        return _account_facts(self, rank, False, None, ())


def attribute_rank(rank: Rank) -> str:
    """The rank of an account's attribute as text that sorts as the rank does.

    Attributes have no removals, so the time in fixed width, the source and the id are all there is. The separator
    sorts below every character that sources and ids may hold.
    """
    return f"{rank.time:%Y-%m-%dT%H:%M:%S.%f}\x1f{rank.source}\x1f{rank.event_id}"


def _account_facts(
    plain: SimpleTransaction, rank: Rank, is_pending: bool, replaces: str | None, attributes: tuple[Attribute, ...]
) -> AccountFacts:
    transaction = Transaction(
        plain.transaction_id,
        rank,
        plain.amount_minor,
        plain.currency,
        plain.posted_at,
        is_pending,
        replaces,
        plain.category,
        plain.description,
    )
    return AccountFacts(plain.account_id, plain.currency, attributes, transaction)
