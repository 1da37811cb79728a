"""The facts that events state, each with a key and a rank: of two statements about one key the higher rank wins."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from core.events.calendar import local_day

ACCOUNTS_MOST = 50
"""How many accounts one event about a connection may name."""
REPORT_AWAITED = timedelta(days=7)
"""How long after its first row an account's first report is waited for; then the rows alone say what it is worth."""


class Rank(NamedTuple):
    """Orders statements: the later `time` wins; at the same time a removal beats a record; then (source, id) decide."""

    time: datetime
    is_removal: bool
    source: str
    event_id: str


class AccountKind(StrEnum):
    """Whether the money in an account is owned or owed."""

    ASSET = "asset"
    LIABILITY = "liability"

    @property
    def sign(self) -> int:
        """The factor that makes a reported balance the account's worth."""
        return 1 if self is AccountKind.ASSET else -1


class Booked(NamedTuple):
    """What stays known of a transaction that is removed, or pending again: its latest record that says it is booked.

    `rank` is a text, see `attribute_rank`. `dated` is None if the record had an instant.
    """

    rank: str
    amount_minor: int
    dated: date | None

    @property
    def precedence(self) -> tuple[Any, ...]:
        """Sorts the booked records of one key as their transactions' precedence does."""
        return self.rank, self.amount_minor, str(self.dated)


class Transaction(NamedTuple):
    """One statement about a transaction; its key is (account, transaction_id). A removal is stored as a tombstone.

    `posted_at` is its instant, or `dated` its local day if it has only a date. `due_at` is set while the transaction is
    dated too far ahead to count: from then on it counts.
    """

    transaction_id: str
    rank: Rank
    amount_minor: int = 0
    currency: str = ""
    posted_at: datetime | None = None
    dated: date | None = None
    pending: bool = False
    replaces: str | None = None
    category: str | None = None
    description: str | None = None
    due_at: datetime | None = None

    @property
    def is_posted(self) -> bool:
        """Whether it may count: neither removed nor pending, and not dated too far ahead."""
        return not self.rank.is_removal and not self.pending and self.due_at is None

    @property
    def booked(self) -> Booked | None:
        """What stays known of it; None if it does not say that the transaction is booked."""
        if self.rank.is_removal or self.pending:
            return None
        return Booked(attribute_rank(self.rank), self.amount_minor, self.dated)

    def day(self, zone: ZoneInfo) -> date | None:
        """Its local day; None for a removal, which has none."""
        return local_day(self.posted_at, zone) if self.posted_at is not None else self.dated

    @property
    def precedence(self) -> tuple[Any, ...]:
        """Sorts statements of one key. The content comes last, so that the order of arrival never decides.

        A statement that is due wins over itself as it was before.
        """
        return (
            self.rank,
            self.amount_minor,
            str(self.dated),
            str(self.posted_at),
            self.pending,
            self.replaces or "",
            self.category or "",
            self.description or "",
            self.currency,
            self.due_at is None,
        )


class Report(NamedTuple):
    """A reported balance; its key is (account, as_of, currency). `current_minor` of a liability is positive when owed.

    `due_at` is set while the report is dated too far ahead to count.
    """

    as_of: datetime
    rank: Rank
    current_minor: int
    currency: str
    available_minor: int | None = None
    due_at: datetime | None = None

    @property
    def key(self) -> tuple[datetime, str]:
        """Its key within the account."""
        return self.as_of, self.currency

    @property
    def precedence(self) -> tuple[Any, ...]:
        """Sorts statements of one key, as the one of transactions does."""
        available = self.available_minor
        return (self.rank, self.current_minor, available is not None, available or 0)


def standing_report(known: Report, stated: Report) -> Report:
    """The one of two statements about a report that wins. It is due if either is: they have one `as_of`."""
    winner = stated if stated.precedence > known.precedence else known
    return winner._replace(due_at=None) if known.due_at is None or stated.due_at is None else winner


class Window(NamedTuple):
    """Local days, both included, of which a pull had all booked rows of an account. It is its own key.

    A row counts as removed if its standing statement is booked, of the window's source and dated in the window, and
    older than the window: the pull would have had it.
    """

    source: str
    first_day: date
    last_day: date
    time: datetime


AttributeValue = str | bool | date | None


class Attribute(NamedTuple):
    """One attribute of an account; its key is (account, name). `rank` is the text that attribute_rank makes."""

    name: str
    value: AttributeValue
    rank: str


def replacement(successor: str | None, from_day: date | None, rank: str) -> tuple[Attribute, Attribute]:
    """The attributes that say which account another one goes on as, None for none, and from which day on."""
    return Attribute("replaced_by", successor, rank), Attribute("replaced_from", from_day, rank)


class AccountFacts(NamedTuple):
    """What one event states of one account.

    `is_report_overdue` is stated by no event, but by time: the account's first report is awaited no longer.
    """

    account_id: str
    attributes: tuple[Attribute, ...] = ()
    transaction: Transaction | None = None
    report: Report | None = None
    window: Window | None = None
    is_report_overdue: bool = False

    @property
    def account_ids(self) -> list[str]:
        """The account, and the one that is said to replace it."""
        named = [str(each.value) for each in self.attributes if each.name == "replaced_by" and each.value is not None]
        return [self.account_id, *named]


class SimpleTransaction(Struct, frozen=True, gc=False):
    """A posted transaction with an amount other than 0 that replaces none and states no attribute of its account.

    Its fields are called as the columns of the table. If it has only a date, `posted_at` is where it is placed while no
    balance is known that it belongs to.

    A Struct is made in a third of the time of a named tuple, and the garbage collector need not look at one that has
    only texts, numbers and moments.
    """

    account_id: str
    transaction_id: str
    amount_minor: int
    currency: str
    posted_at: datetime
    dated: date | None
    category: str | None
    description: str | None
    event_time: datetime
    source: str
    event_id: str

    def facts(self) -> AccountFacts:
        """The same facts as the full parser makes them."""
        rank = Rank(self.event_time, False, self.source, self.event_id)
        return facts_of_transaction(self, rank, is_pending=False, replaces=None, attributes=())


def attribute_rank(rank: Rank) -> str:
    """The rank of an account's attribute as text that sorts as the rank does.

    Attributes have no removals, so the text has only the time in fixed width, the source and the id. The separator
    sorts before every character that is allowed in sources and ids.
    """
    return f"{rank.time:%Y-%m-%dT%H:%M:%S.%f}\x1f{rank.source}\x1f{rank.event_id}"


def rank_time(rank: str) -> datetime:
    """The time of the event that set an attribute, from the attribute's rank."""
    return datetime.fromisoformat(rank.partition("\x1f")[0]).replace(tzinfo=UTC)


def facts_of_transaction(
    simple: SimpleTransaction, rank: Rank, *, is_pending: bool, replaces: str | None, attributes: tuple[Attribute, ...]
) -> AccountFacts:
    """The facts of an event that states this transaction, and what a simple one does not have."""
    transaction = Transaction(
        simple.transaction_id,
        rank,
        simple.amount_minor,
        simple.currency,
        simple.posted_at if simple.dated is None else None,
        simple.dated,
        is_pending,
        replaces,
        simple.category,
        simple.description,
    )
    return AccountFacts(simple.account_id, attributes, transaction)
