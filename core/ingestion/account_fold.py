"""One account during the fold, and the result for all of them; compare.py and accounts.py fill both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from core.events.currency import CurrencyFact, SaidBy
from core.events.facts import Rank, Report, SimpleTransaction
from core.events.transactions import StoredTransaction, TransactionChange
from core.events.worth import Movement, StoredReport, WorthState
from core.ingestion.account_moves import AccountMoves
from core.store.accounts import AccountKey, AccountRow
from core.store.moves import AccountWrite, Addition
from core.store.transactions import TransactionKey

ReportChanges = dict[datetime, tuple[StoredReport | None, Report]]


@dataclass(slots=True)
class Folded:
    """The result of a fold. `moves`: what concerns goals, by account.

    The caller still has to write the accounts: `additions` to those that have new transactions alone, `writes` of the
    others, the attributes of those that are `described_anew`, from when on those are that are `known_by_rows`, and
    which have rows with only a date from now on (`dated_anew`). And it has to write the `changes` of compared
    transactions, and the new `places` of others.
    `winning_ids` has the id() of every compared statement that changed what is stored: all others were known or are
    outdated.
    `spanned` are the accounts that count only for a time, before the batch or after it, with their chains; the caller
    updates them as `core.ingestion.spans` does.
    """

    moves: AccountMoves
    additions: list[Addition] = field(default_factory=list)
    writes: list[AccountWrite] = field(default_factory=list)
    described_anew: list[AccountRow] = field(default_factory=list)
    known_by_rows: list[AccountRow] = field(default_factory=list)
    dated_anew: list[AccountKey] = field(default_factory=list)
    changes: dict[AccountKey, Sequence[TransactionChange]] = field(default_factory=dict)
    places: list[tuple[TransactionKey, datetime]] = field(default_factory=list)
    winning_ids: set[int] = field(default_factory=set)
    spanned: set[AccountKey] = field(default_factory=set)


class BeforeBatch(NamedTuple):
    """What goals depend on besides worth, before the batch."""

    state: WorthState
    user_id: str | None
    is_kind_known: bool
    currency: str | None

    def is_another(self, row: AccountRow) -> bool:
        """Whether the account means something else to its goals now, whatever its movements are."""
        return (
            self.currency != row.currency
            or self.user_id != row.user_id
            or self.state.sign != row.kind.sign
            or self.is_kind_known != row.is_kind_known
            or self.state.first_report_at != row.first_report_at
        )


class StatedReport(NamedTuple):
    """A report that is new or won, and the stored one of its key, if that counts."""

    report: Report
    known: StoredReport | None = None


class FormerWorth(NamedTuple):
    """What an account's worth was made of in another currency: the opening, and all movements with the other sign."""

    opening_minor: int
    taken_back: Sequence[Movement]


class AccountFold(Struct):
    """One account during the fold. `before` is kept if it has facts to compare: new transactions change worth alone.

    `stated` are the transactions that the batch states something about as they are after it, `stored` those that are
    stored. `former` is set if the currency is another one: then all rows are stated and no report is stored.
    """

    place: bytes
    row: AccountRow
    new: Sequence[SimpleTransaction] = ()
    before: BeforeBatch | None = None
    stored: Mapping[str, StoredTransaction] = {}
    stated: Mapping[str, StoredTransaction] = {}
    stated_reports: list[StatedReport] = []  # a Struct gives each its own
    # The ranks of reports that do not stand any more.
    outdated: list[Rank] = []
    former: FormerWorth | None = None
    # Reports to keep that do not count, by their keys.
    waiting: dict[tuple[datetime, str], Report] = {}
    changes: Sequence[TransactionChange] = ()
    reports: ReportChanges = {}  # a Struct gives each its own
    movements: Sequence[Movement] = ()
    # The last place of a row that counts, if it is new or has moved.
    posted_at: datetime | None = None
    # The times at which the rows of the batch were first reported, the least and the greatest.
    recorded: tuple[datetime | None, datetime | None] = (None, None)
    intervals: Mapping[datetime, tuple[int, bool]] = {}
    is_report_overdue: bool = False

    def counts(self, report: Report) -> bool:
        """Whether a report counts: it is due, and in the account's currency."""
        return report.due_at is None and report.currency == self.row.currency

    def has_lost(self, fact: CurrencyFact) -> bool:
        """Whether the report or the row that decided the currency does not stand any more as it was."""
        if fact.said_by is SaidBy.REPORT:
            return any(fact.is_of(rank) for rank in self.outdated)
        return any(
            (known := self.stored.get(name)) is not None
            and fact.is_of(known.transaction.rank)
            and not (after.is_booked and after.transaction[:4] == known.transaction[:4])
            for name, after in self.stated.items()
        )

    @property
    def state(self) -> WorthState:
        """The worth before the batch; in another currency than the present one there was none."""
        if self.former is not None:
            return WorthState(self.row.kind.sign, 0, 0, 0, None, None, None)
        return self.row.worth_state if self.before is None else self.before.state
