"""The fold: what a batch's facts make of its accounts, which are locked. It is one for all accounts and all facts.

For each account: which statements win over what is stored, how worth moves and when, and for which days that makes
new snapshots necessary. The rules about worth are in `core.events.worth`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct
from sqlalchemy.orm import Session

from core.events.calendar import local_day
from core.events.currency import CurrencyFact, SaidBy, deciding, first_fact
from core.events.facts import (
    REPORT_AWAITED,
    AccountFacts,
    Rank,
    Report,
    SimpleTransaction,
    Transaction,
    standing_report,
)
from core.events.placement_changes import AccountBefore, RowChange
from core.events.worth import (
    MOMENT,
    Movement,
    NewSums,
    NextReport,
    StoredReport,
    StoredTransaction,
    TransactionChange,
    WorthFold,
    WorthState,
    fold_transactions,
    fold_worth,
    movement_of,
    movements_of,
    movements_of_moved,
    questions,
    sums_of_new,
    with_lent_times,
    with_statements,
)
from core.ingestion.account_moves import AccountMove, AccountMoves, Membership
from core.ingestion.dirty_days import FIRST_DAY, mark_dirty, mark_from
from core.ingestion.placing import ToPlace, place_rows, row_change, row_of_new, with_places
from core.ingestion.windows import add_windows, missing_statements, rows_before
from core.store import facts as store
from core.store.accounts import AccountKey, AccountRow, Held, StoredAttribute, read_accounts, read_attributes
from core.store.due import WaitingKey, read_waiting_reports, take_waiting_reports, write_waiting_reports
from core.store.facts import SimpleTransactions, TransactionKey
from core.store.moves import AccountWrite, Addition

# From when on worth has changed if the opening has: every later worth changes with it.
_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
SPAN_ATTRIBUTES = frozenset({"replaced_by", "replaced_from", "opened"})
"""The attributes that say when an account counts."""
_NO_ANSWERS: Mapping[datetime, NextReport] = {}

Facts = Mapping[AccountKey, Sequence[AccountFacts]]
ReportChanges = dict[datetime, tuple[StoredReport | None, Report]]


@dataclass(slots=True)
class Folded:
    """The result of a fold. `moves`: what concerns goals, by account.

    The caller still has to write the accounts: `additions` to those that have new transactions alone, `writes` of the
    others, the attributes of those that are `described_anew`, and from when on those are that are `known_by_rows`. And
    it has to write the `changes` of compared transactions, and the new `places` of others.
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
    changes: dict[AccountKey, Sequence[TransactionChange]] = field(default_factory=dict)
    places: list[tuple[TransactionKey, datetime]] = field(default_factory=list)
    winning_ids: set[int] = field(default_factory=set)
    spanned: set[AccountKey] = field(default_factory=set)


class _Before(NamedTuple):
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


class _StatedReport(NamedTuple):
    """A report that is new or won, and the stored one of its key, if that counts."""

    report: Report
    known: StoredReport | None = None


class _Former(NamedTuple):
    """What an account's worth was made of in another currency: the opening, and all movements with the other sign."""

    opening_minor: int
    taken_back: Sequence[Movement]


class _Account(Struct):
    """One account during the fold. `before` is kept if it has facts to compare: new transactions change worth alone.

    `stated` are the transactions that the batch states something about as they are after it, `stored` those that are
    stored. `former` is set if the currency is another one: then all rows are stated and no report is stored.
    """

    place: bytes
    row: AccountRow
    new: Sequence[SimpleTransaction] = ()
    before: _Before | None = None
    stored: Mapping[str, StoredTransaction] = {}
    stated: Mapping[str, StoredTransaction] = {}
    stated_reports: list[_StatedReport] = []  # a Struct gives each its own
    # The ranks of reports that do not stand any more.
    outdated: list[Rank] = []
    former: _Former | None = None
    # Reports to keep that do not count, by their keys.
    waiting: dict[tuple[datetime, str], Report] = {}
    changes: Sequence[TransactionChange] = ()
    reports: ReportChanges = {}  # a Struct gives each its own
    movements: Sequence[Movement] = ()
    # The last place of a row that counts, if it is new or has moved.
    posted_at: datetime | None = None
    # The times at which the rows of the batch were first reported, the least and the greatest.
    recorded: tuple[datetime | None, datetime | None] = (None, None)
    # Rows that are stored already, and where they are placed now.
    moved: Sequence[tuple[str, datetime]] = ()
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


def fold_accounts(
    session: Session,
    held: Mapping[AccountKey, Held],
    new: SimpleTransactions,
    rows: Mapping[AccountKey, AccountRow],
    facts: Facts,
    zones: Mapping[str, ZoneInfo],
) -> Folded:
    """Fold facts into locked accounts. Writes their reports; the caller writes the rest.

    `new` are transactions that are known to be new and to count, and are written already. `facts` are those to be
    compared, by account, and `rows` their accounts. Of an account with new transactions they have no report, as this
    would be compared with a sum of stored transactions. What is stored is read by key: the transactions and reports
    that the facts restate and, for facts that are dated before others, the next report. So the cost does not grow with
    an account's history.
    """
    folded = Folded(AccountMoves(new))
    additions, late = folded.additions, set[AccountKey]()
    for key, transactions in new.items():
        known = held[key]
        sums = sums_of_new(transactions)
        if come_after_reports(known, sums) and (not facts or key not in facts):
            additions.append(_addition(key, known, sums, zones[key[0]]))
        else:
            late.add(key)
    rows = {**rows, **read_accounts(session, late - rows.keys())}
    accounts = {key: _Account(held[key].place, row, new[key] if key in late else ()) for key, row in rows.items()}
    _compare(session, {key: accounts[key] for key in facts}, facts, zones, folded)
    _place(session, accounts, zones, folded)
    answers = store.read_next_reports(session, _questions(accounts))
    residuals = {}
    for key, account in accounts.items():
        fold = fold_worth(
            account.state, account.movements, account.reports, answers.get(key, _NO_ANSWERS), account.row.kind.sign
        )
        if account.reports or fold.residuals:
            residuals[key] = fold.residuals
        if account.former is not None:
            fold.opening_minor -= account.former.opening_minor
            fold.movements = sorted([*account.former.taken_back, *fold.movements], key=MOMENT)
        _finish(key, account, fold, zones[key[0]], folded)
    _write_reports(session, accounts, residuals)
    folded.spanned.update([key for key, each in held.items() if each.has_span])
    if not folded.additions and not folded.writes:
        folded.spanned.clear()
    return folded


def come_after_reports(account: Held, new: NewSums) -> bool:
    """Whether new transactions are all reported, and dated, after the account's reports.

    Then worth moves by them, and nothing else changes. This is what most accounts of most batches come to, and nothing
    stored has to be read for it.
    """
    last_report_at, known_by_rows_at = account.last_report_at, account.known_by_rows_at
    if known_by_rows_at is not None and new.recorded_from + REPORT_AWAITED < known_by_rows_at:
        return False
    return last_report_at is None or (last_report_at < new.first_at and last_report_at < new.recorded_from)


def _addition(key: AccountKey, account: Held, new: NewSums, zone: ZoneInfo) -> Addition:
    return (
        key[0],
        account.place,
        new.worth_minor,
        new.inflow_minor,
        new.last_at,
        local_day(new.first_at, zone),
        new.first_at,
        new.recorded_from,
        new.recorded_to,
    )


def _compare(
    session: Session,
    accounts: Mapping[AccountKey, _Account],
    facts: Facts,
    zones: Mapping[str, ZoneInfo],
    folded: Folded,
) -> None:
    """Note on each account which of its facts win over what is stored."""
    for key, account in accounts.items():
        row = account.row
        account.before = _Before(row.worth_state, row.user_id, row.is_kind_known, row.currency)
        account.is_report_overdue = any(stated.is_report_overdue for stated in facts[key])
    _compare_attributes(session, accounts, facts, folded)
    _state_transactions(session, accounts, facts, zones, folded)
    _state_reports(session, accounts, facts, folded.winning_ids)
    for key, account in accounts.items():
        _decide_currency(session, key, account)
    _change_transactions(session, accounts, folded)
    _change_reports(session, accounts)
    folded.described_anew += [account.row for account in accounts.values() if account.row.is_described_anew]


def _compare_attributes(
    session: Session, accounts: Mapping[AccountKey, _Account], facts: Facts, folded: Folded
) -> None:
    by_account = {
        key: attributes for key in accounts if (attributes := [a for stated in facts[key] for a in stated.attributes])
    }
    read_attributes(session, {key: accounts[key].row for key in by_account})
    for key, attributes in by_account.items():
        row, new = accounts[key].row, {}
        for attribute in attributes:
            before = row.attributes[attribute.name]
            if (attribute.rank, str(attribute.value)) > (before.rank or "", str(before.value)):
                row.set_attribute(attribute.name, StoredAttribute(attribute.value, attribute.rank))
                new[attribute.name] = id(attribute)
        folded.winning_ids.update(new.values())
        if not SPAN_ATTRIBUTES.isdisjoint(new):
            successor = row.attributes["replaced_by"].value
            folded.spanned.update([key] if successor is None else [key, (key[0], str(successor))])


def _state_transactions(
    session: Session,
    accounts: Mapping[AccountKey, _Account],
    facts: Facts,
    zones: Mapping[str, ZoneInfo],
    folded: Folded,
) -> None:
    """Compare the transactions that are stated, and once more the stored ones that a new window does not have."""
    rows = {key: account.row for key, account in accounts.items()}
    windows = add_windows(session, rows, facts, folded.winning_ids)
    statements = rows_before(session, windows, zones)
    for key in accounts:
        stated = [each.transaction for each in facts[key] if each.transaction is not None]
        if stated:
            statements[key] = stated + statements.get(key, [])
    stored = store.read_transactions(session, _transaction_keys(statements))
    missing = missing_statements(session, rows, statements, zones)
    for key, of_account in statements.items():
        account = accounts[key]
        account.stored = stored.get(key, {})
        account.stated = with_statements(of_account, account.stored, missing.get(key, frozenset()))


def _change_transactions(session: Session, accounts: Mapping[AccountKey, _Account], folded: Folded) -> None:
    """Find which rows change, and whether they count, now that the currencies are decided."""
    for account in accounts.values():
        if account.stated:
            account.changes = fold_transactions(account.stated, account.stored, account.row.currency)
            folded.winning_ids.update([id(change.after.transaction) for change in account.changes])
    _lend(session, accounts)


def _lend(session: Session, accounts: Mapping[AccountKey, _Account]) -> None:
    """Let removed rows lend the times of their first reports to those that came after them."""
    days: set[store.AccountDay] = set()
    for key, account in accounts.items():
        rows = [row for change in account.changes for row in change if row is not None]
        if account.row.lends or any(row.lending is not None for row in rows):
            concerned = filter(None, [row.lending or row.borrowing for row in rows])
            days.update([(*key, day) for day, _ in concerned])
    if days:
        stored = store.lending_and_borrowing_rows(session, days)
        for key in {(tenant, account_id) for tenant, account_id, _ in days}:
            accounts[key].changes = with_lent_times(accounts[key].changes, stored.get(key, {}))


def _place(
    session: Session, accounts: Mapping[AccountKey, _Account], zones: Mapping[str, ZoneInfo], folded: Folded
) -> None:
    """Find where the rows of the batch are placed and which others move, and note how worth moves by that."""
    to_place = {}
    for key, account in accounts.items():
        if account.new or account.changes or account.reports:
            to_place[key] = _to_place(account, zones[key[0]])
    for key, placed in place_rows(session, to_place).items():
        account, zone = accounts[key], zones[key[0]]
        changes = with_places(account.changes, placed, zone)
        if changes:
            folded.changes[key] = changes
        account.changes, account.intervals = changes, placed.intervals
        moved = [row for _, row in placed.moved]
        movements = [*movements_of(changes), *movements_of_moved(placed.moved)]
        changed = _ids_of(changes)
        for each in account.new:
            row = row_of_new(each)
            if each.transaction_id not in changed:
                row = row._replace(placed_at=placed.places[each.transaction_id])
            movements.append(movement_of(row))
            if row.placed_at != each.posted_at:
                moved.append(row)
        account.movements = sorted(movements, key=MOMENT) if len(movements) > 1 else movements
        places = [row.placed_at for row in moved] + [each.posted_at for each in account.new]
        places += [at for change in changes if change.after.counts and (at := change.after.placed_at) is not None]
        account.posted_at = max(places, default=None)
        folded.places += [((*key, row.transaction_id), row.placed_at) for row in moved]


def _ids_of(changes: Iterable[TransactionChange]) -> set[str]:
    return {change.after.transaction.transaction_id for change in changes}


def _to_place(account: _Account, zone: ZoneInfo) -> ToPlace:
    row, state = account.row, account.state
    # A new row may be changed already: another row of the batch lends it the time of its first report.
    new, changed = {each.transaction_id for each in account.new}, _ids_of(account.changes)
    changes = [RowChange(None, row_of_new(each)) for each in account.new if each.transaction_id not in changed]
    for change in account.changes:
        placing = row_change(change)
        is_new = change.after.transaction.transaction_id in new
        changes.append(RowChange(None, placing.after) if is_new else placing)
    recorded = [*filter(None, account.recorded), *[each.event_time for each in account.new]]
    recorded += [at for change in account.changes if (at := change.after.first_reported) is not None]
    account.recorded = min(recorded, default=None), max(recorded, default=None)
    first_recorded_at = min(filter(None, (row.first_recorded_at, account.recorded[0])), default=None)
    sign = row.kind.sign
    reports = {as_of: report.current_minor * sign for as_of, (_, report) in account.reports.items()}
    before = AccountBefore(
        zone,
        state.worth_minor,
        state.last_report_at,
        state.last_transaction_at,
        row.first_recorded_at,
        row.last_recorded_at if account.former is None else None,
    )
    return ToPlace(before, changes, reports, first_recorded_at, sign)


def _transaction_keys(statements: Mapping[AccountKey, Sequence[Transaction]]) -> list[TransactionKey]:
    """The keys of the transactions that are stated or replaced, with repetitions."""
    keys: list[TransactionKey] = []
    for (tenant, account_id), of_account in statements.items():
        for transaction in of_account:
            keys.append((tenant, account_id, transaction.transaction_id))
            if transaction.replaces is not None:
                keys.append((tenant, account_id, transaction.replaces))
    return keys


def _state_reports(
    session: Session, accounts: Mapping[AccountKey, _Account], facts: Facts, winning_ids: set[int]
) -> None:
    """Compare the reports that are stated with those that are stored: those that count, and those that wait."""
    stated = [(key, report) for key in accounts for report in _winning_reports(facts[key])]
    counted, waiting = set[store.ReportKey](), set[WaitingKey]()
    for key, report in stated:
        if accounts[key].counts(report):
            counted.add((*key, report.as_of))
        elif accounts[key].row.currency is not None:  # else nothing is stored of it
            waiting.add((*key, *report.key))
    stored, kept = store.read_reports(session, counted), read_waiting_reports(session, waiting)
    for key, report in stated:
        account = accounts[key]
        known = stored.get((*key, report.as_of)) if account.counts(report) else None
        before = kept.get((*key, *report.key)) if known is None else known.report
        after = report if before is None else standing_report(before, report)
        if before is not None and before.rank != after.rank:
            account.outdated.append(before.rank)
        if after.rank != report.rank:
            account.outdated.append(report.rank)
        if after != before:
            account.stated_reports.append(_StatedReport(after, known))
            winning_ids.add(id(report))


def _winning_reports(facts: Iterable[AccountFacts]) -> Iterable[Report]:
    """Of the reports of one key that wait until they are due, and of those that do not, the one that wins."""
    winners: dict[tuple[datetime, str, bool], Report] = {}
    for stated in facts:
        report = stated.report
        if report is not None:
            key = *report.key, report.due_at is None
            rival = winners.get(key)
            if rival is None or report.precedence > rival.precedence:
                winners[key] = report
    return winners.values()


def _decide_currency(session: Session, key: AccountKey, account: _Account) -> None:
    """Note on an account the fact that decides its currency now. If the currency is another one, it begins anew."""
    row, known = account.row, account.row.currency_fact
    is_stated = known is not None and known.said_by is SaidBy.STATEMENT
    if row.attributes:
        stated = row.attributes["stated_currency"].value
    else:
        stated = known.currency if known is not None and is_stated else None
    if stated is not None:
        fact: CurrencyFact | None = CurrencyFact(SaidBy.STATEMENT, str(stated))
    else:
        if known is not None and (is_stated or account.has_lost(known)):
            but_reports = [report.key for report, _ in account.stated_reports]
            known = store.first_stored_fact(session, key, but_rows=account.stated, but_reports=but_reports)
        rows = [each.transaction for each in account.stated.values() if each.is_booked]
        fact = deciding((known, first_fact([report for report, _ in account.stated_reports], rows)))
    if fact == row.currency_fact:
        return
    has_another = row.currency is not None and (fact is None or fact.currency != row.currency)
    row.set_currency(fact)
    if has_another:
        _begin_anew(session, key, account)


def _begin_anew(session: Session, key: AccountKey, account: _Account) -> None:
    """Let nothing of an account count any more, so that all of its facts are judged as if they had just come."""
    row, rows, reports = account.row, store.read_all_transactions(session, key), store.take_reports(session, key)
    uncounted, times = {each.transaction_id for each in account.new}, [each.event_time for each in account.new]
    account.recorded = min(times, default=None), max(times, default=None)
    taken_back = [
        Movement(each.placed_at, -each.transaction.amount_minor, -max(each.transaction.amount_minor, 0))
        for name, each in rows.items()
        if each.counts and each.placed_at is not None and name not in uncounted
    ]
    taken_back += [Movement(as_of, -each.residual_minor) for as_of, each in reports.items() if each.residual_minor]
    account.former = _Former(row.opening_minor, taken_back)
    row.first_report_at = row.last_report_at = row.last_transaction_at = None
    store.count_none(session, key)
    account.stored = {name: each._replace(counts=False) for name, each in rows.items()}
    stated = {**account.stored, **account.stated}
    account.stated, account.new = {name: each._replace(counts=each.is_live) for name, each in stated.items()}, ()
    standing: dict[tuple[datetime, str], Report] = {}
    for report in (
        *take_waiting_reports(session, key),
        *[each.report for each in reports.values()],
        *[each.report for each in account.stated_reports],
    ):
        rival = standing.get(report.key)
        standing[report.key] = report if rival is None else standing_report(rival, report)
    account.stated_reports = [_StatedReport(report) for report in standing.values()]


def _change_reports(session: Session, accounts: Mapping[AccountKey, _Account]) -> None:
    """Note on each account which reports count now, and keep those that do not."""
    for account in accounts.values():
        for report, known in account.stated_reports:
            if account.counts(report):
                account.reports[report.as_of] = known, report
            else:
                account.waiting[report.key] = report
    for key, account in accounts.items():
        if account.row.kind.sign != account.state.sign:
            # With a change of kind every report counts with the other sign.
            for as_of, known in store.read_all_reports(session, key).items():
                account.reports.setdefault(as_of, (known, known.report))
    waiting = [(key, report) for key, account in accounts.items() for report in account.waiting.values()]
    write_waiting_reports(session, waiting)


def _questions(accounts: Mapping[AccountKey, _Account]) -> dict[store.ReportKey, bool]:
    """What has to be known of stored reports: nothing of an account whose transactions are all after its last one."""
    asked = {}
    for key, account in accounts.items():
        movements, last_report_at = account.movements, account.row.last_report_at
        is_late = last_report_at is not None and movements and movements[0].at <= last_report_at
        if is_late or account.reports:
            for moment, with_sum in questions(account.state, movements, account.reports).items():
                asked[*key, moment] = with_sum
    return asked


def _finish(key: AccountKey, account: _Account, fold: WorthFold, zone: ZoneInfo, folded: Folded) -> None:
    """Add to the result what has to be written of an account, and what concerns its goals."""
    row, before, reports, opening = account.row, account.before, account.reports, fold.opening_minor
    movements = fold.all_movements
    latest_at = movements[-1].at if movements else None
    if reports:
        row.first_report_at = min(filter(None, (row.first_report_at, *reports)))
        row.last_report_at = max(filter(None, (row.last_report_at, *reports)))
        latest_at = max(filter(None, (latest_at, *reports)))
        row.is_changed = True
    replaces = any(change.after.transaction.replaces is not None for change in account.changes)
    is_another = before is not None and before.is_another(row)
    known_by_rows_at = _known_by_rows_at(account)
    if known_by_rows_at != row.known_by_rows_at:
        row.known_by_rows_at, is_another = known_by_rows_at, True
        folded.known_by_rows.append(row)
    mark_dirty(row, fold, zone)
    if is_another:
        mark_from(row, FIRST_DAY)
    if movements or opening or is_another:
        earliest_at = _BEFORE_ALL if opening else movements[0].at if movements else None
        is_member_anew = before is not None and (before.currency, before.user_id) != (row.currency, row.user_id)
        membership = Membership(row.user_id, row.currency) if is_member_anew else None
        folded.moves.add(key, AccountMove(opening, movements, latest_at, membership))
    elif row.is_changed or replaces or account.posted_at is not None or account.recorded[0] is not None:
        earliest_at = None
    else:
        return
    folded.writes.append(
        AccountWrite(
            (
                key[0],
                account.place,
                opening + sum([movement.worth_minor for movement in movements]),
                sum([movement.inflow_minor for movement in movements]),
                account.posted_at,
                row.dirty_from,
                earliest_at,
                *account.recorded,
            ),
            row.currency,
            row.currency_from,
            row.currency_time,
            row.currency_source,
            row.currency_event_id,
            account.former is not None,
            opening,
            row.first_report_at if reports else None,
            row.last_report_at if reports else None,
            row.late_from,
            row.late_through,
            replaces,
            any(change.after.lending is not None for change in account.changes),
            row.last_window_at,
            is_another,
        )
    )


def _known_by_rows_at(account: _Account) -> datetime | None:
    """From when on the rows suffice to know what the account is worth; None if a report came in time, or still may."""
    row, recorded_at = account.row, account.recorded[0]
    first_at = min(filter(None, (row.first_recorded_at, recorded_at)), default=None)
    if first_at is None:
        return row.known_by_rows_at
    known_at, report_at = first_at + REPORT_AWAITED, row.first_report_at
    is_late = report_at is not None and report_at > known_at
    return known_at if is_late or account.is_report_overdue or row.known_by_rows_at is not None else None


def _write_reports(
    session: Session, accounts: Mapping[AccountKey, _Account], residuals: Mapping[AccountKey, Mapping[datetime, int]]
) -> None:
    """Write the reports of the accounts that `residuals` has, with what the fold adds to each residual."""
    intervals = {(*key, as_of): kept for key, each in accounts.items() for as_of, kept in each.intervals.items()}
    new: dict[store.ReportKey, tuple[Report, int]] = {}
    known: dict[store.ReportKey, Report] = {}
    moved: dict[store.ReportKey, int] = {}
    for key, by_report in residuals.items():
        left = dict(by_report)
        for as_of, (stored, report) in accounts[key].reports.items():
            if stored is None:
                new[*key, as_of] = report, left.pop(as_of, 0)
            elif stored.report != report:
                known[*key, as_of] = report
        moved |= {(*key, as_of): minor for as_of, minor in left.items() if minor}
    store.write_reports(session, new, known, moved, intervals)
