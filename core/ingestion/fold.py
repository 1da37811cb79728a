"""Folding facts into locked accounts: which statements win, how worth moves, and which days that makes dirty."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from core.events.calendar import EARLIEST, local_day
from core.events.facts import AccountFacts, Report
from core.events.worth import (
    Movement,
    NextReport,
    StoredReport,
    StoredTransaction,
    TransactionChange,
    WorthFold,
    fold_transactions,
    fold_worth,
    movements_of,
    questions,
    winning_transactions,
)
from core.ingestion.timeline import AccountMove, Membership
from core.store import facts as store
from core.store.accounts import AccountKey, AccountRow, StoredAttribute, read_attributes, write_attributes
from core.store.fast_path import AccountWrite

FIRST_DAY = EARLIEST.date()
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayMove:
    """By how much the worth and the inflow of an account move at the end of a day and of all later days."""

    worth_minor: int
    inflow_minor: int


def mark_dirty_days(row: AccountRow, opening_minor: int, moves: Mapping[date, DayMove]) -> None:
    """Note on a locked account for which days its goals need new snapshots, or their first.

    A movement that changes the worth for good makes all days from its own on dirty (`dirty_from`). If a later report
    cancels it, only the days before that report are dirty (`late_from` to `late_through`): so a late fact costs what it
    changes, however long ago it was. No report cancels inflow: for goals that follow it, all days from `late_from` on
    are dirty.
    """
    running, since = opening_minor, FIRST_DAY if opening_minor else None
    for day in sorted(moves):
        before, running = running, running + moves[day].worth_minor
        if before == 0 != running:
            since = day
        elif before != 0 == running and since is not None:
            _mark_late(row, since, day - _DAY)
        elif before == 0 == running and (row.dirty_from is None or day < row.dirty_from):
            # The end-of-day worth is the same, but not the worth at each hour, and a link may count from such an hour.
            _mark_late(row, day, day)
    if running and since is not None:
        mark_from(row, since)
    first_inflow = min((day for day, move in moves.items() if move.inflow_minor), default=None)
    if first_inflow is not None and (row.dirty_from is None or first_inflow < row.dirty_from):
        _mark_late(row, first_inflow, first_inflow)


def mark_from(row: AccountRow, day: date) -> None:
    """Mark every day from `day` on as dirty."""
    if row.dirty_from is None or day < row.dirty_from:
        row.dirty_from, row.is_changed = day, True


def _mark_late(row: AccountRow, first: date, last: date) -> None:
    if row.late_from is None or row.late_through is None:
        row.late_from, row.late_through, row.is_changed = first, last, True
        return
    both = min(row.late_from, first), max(row.late_through, last)
    if both != (row.late_from, row.late_through):
        (row.late_from, row.late_through), row.is_changed = both, True


Facts = Mapping[AccountKey, Sequence[AccountFacts]]
ReportChanges = dict[datetime, tuple[StoredReport | None, Report]]

_NO_STORED: Mapping[str, StoredTransaction] = {}
_NO_ANSWERS: Mapping[datetime, NextReport] = {}


class _Account:
    """One account during the fold; `before` is its state before the batch."""

    __slots__ = (
        "are_all_days_dirty",
        "before",
        "changes",
        "fold",
        "is_new_to_goals",
        "movements",
        "reports",
        "row",
        "user_before",
        "was_kind_known",
    )

    def __init__(self, row: AccountRow) -> None:
        self.row = row
        self.before = row.worth_state
        self.is_new_to_goals = row.is_changed
        self.was_kind_known = row.is_kind_known
        self.user_before = row.user_id
        self.are_all_days_dirty = False
        self.changes: Sequence[TransactionChange] = ()
        self.movements: Sequence[Movement] = ()
        self.reports: ReportChanges = {}
        self.fold: WorthFold


@dataclass(slots=True)
class Folded:
    """The result of a fold. `moves`: what moved, by account.

    `writes` are the rows of accounts, and `changes` the transactions, that the caller still has to write. `winning_ids`
    has the id() of every statement that changed what is stored: all others were known or are outdated.
    """

    moves: dict[AccountKey, AccountMove] = field(default_factory=dict)
    writes: list[AccountWrite] = field(default_factory=list)
    changes: dict[AccountKey, Sequence[TransactionChange]] = field(default_factory=dict)
    winning_ids: set[int] = field(default_factory=set)


def fold_accounts(
    session: Session,
    rows: Mapping[AccountKey, AccountRow],
    facts: Facts,
    zones: Mapping[str, ZoneInfo],
    stored: Mapping[AccountKey, Mapping[str, StoredTransaction]],
) -> Folded:
    """Fold facts into accounts, which must be locked. Writes their reports and attributes; the caller writes the rest.

    `stored` has the stored transactions that the facts state or replace. All rows are read by key: the stored reports
    that the facts restate and, for facts that are dated before others, the next report. So the cost does not grow with
    an account's history.
    """
    folded = Folded()
    winning_ids = folded.winning_ids
    accounts = {key: _Account(row) for key, row in rows.items()}
    _fold_attributes(session, rows, facts, winning_ids)
    _fold_transactions(accounts, facts, stored)
    _fold_reports(session, accounts, facts)
    for account in accounts.values():
        winning_ids.update([id(change.after.transaction) for change in account.changes])
        if account.reports:
            winning_ids.update(id(report) for _, report in account.reports.values())
    _fold_worths(session, accounts)
    folded.moves = {key: move for key, account in accounts.items() if (move := _update_row(account)) is not None}
    _write(session, accounts, zones, folded)
    return folded


def _fold_attributes(
    session: Session, rows: Mapping[AccountKey, AccountRow], facts: Facts, winning_ids: set[int]
) -> None:
    by_account = {
        key: attributes for key in rows if (attributes := [a for stated in facts[key] for a in stated.attributes])
    }
    read_attributes(session, {key: rows[key] for key in by_account})
    for key, attributes in by_account.items():
        row, new = rows[key], {}
        for attribute in attributes:
            before = row.attributes[attribute.name]
            if (attribute.rank, str(attribute.value)) > (before.rank or "", str(before.value)):
                row.set_attribute(attribute.name, StoredAttribute(attribute.value, attribute.rank))
                new[attribute.name] = id(attribute)
        winning_ids.update(new.values())


def _fold_transactions(
    accounts: Mapping[AccountKey, _Account], facts: Facts, stored: Mapping[AccountKey, Mapping[str, StoredTransaction]]
) -> None:
    for key, account in accounts.items():
        winners = winning_transactions([s.transaction for s in facts[key] if s.transaction is not None])
        if winners:
            account.changes = fold_transactions(winners, stored.get(key, _NO_STORED))
            account.movements = movements_of(account.changes)


def _fold_reports(session: Session, accounts: Mapping[AccountKey, _Account], facts: Facts) -> None:
    stated = {key: reports for key in accounts if (reports := _winning_reports(facts[key]))}
    stored = store.read_reports(session, ((*key, as_of) for key, reports in stated.items() for as_of in reports))
    for key, reports in stated.items():
        for as_of, report in reports.items():
            known = stored.get((*key, as_of))
            if known is None or report.precedence > known.report.precedence:
                accounts[key].reports[as_of] = known, report
    for key, account in accounts.items():
        if account.row.kind.sign != account.before.sign:
            # With a change of kind every report counts with the other sign.
            for as_of, known in store.read_all_reports(session, key).items():
                account.reports.setdefault(as_of, (known, known.report))


def _winning_reports(facts: Iterable[AccountFacts]) -> dict[datetime, Report]:
    winners: dict[datetime, Report] = {}
    for stated in facts:
        report = stated.report
        if report is not None:
            rival = winners.get(report.as_of)
            if rival is None or report.precedence > rival.precedence:
                winners[report.as_of] = report
    return winners


def _fold_worths(session: Session, accounts: Mapping[AccountKey, _Account]) -> None:
    asked = {
        (*key, moment): with_sum
        for key, account in accounts.items()
        for moment, with_sum in questions(account.before, account.movements, account.reports).items()
    }
    answers = store.read_next_reports(session, asked)
    for key, account in accounts.items():
        account.fold = fold_worth(
            account.before, account.movements, account.reports, answers.get(key, _NO_ANSWERS), account.row.kind.sign
        )


def _update_row(account: _Account) -> AccountMove | None:
    """Apply the fold to the account's row; returns what concerns the account's goals, None if nothing does."""
    row, fold, before = account.row, account.fold, account.before
    movements = tuple(fold.all_movements)
    row.opening_minor += fold.opening_minor
    row.worth_minor += fold.worth_minor
    row.inflow_minor += fold.inflow_minor
    if account.reports:
        row.first_report_at = min(filter(None, (before.first_report_at, *account.reports)))
        row.last_report_at = max(filter(None, (before.last_report_at, *account.reports)))
    posted = [at for c in account.changes if c.after.counts and (at := c.after.transaction.posted_at) is not None]
    if posted:
        latest_posted = max(posted)
        if row.last_transaction_at is None or row.last_transaction_at < latest_posted:
            row.last_transaction_at = latest_posted
    row.is_changed = row.is_changed or bool(movements) or row.worth_state != before
    has_new_user = row.user_id != account.user_before
    account.are_all_days_dirty = (
        account.is_new_to_goals
        or has_new_user
        or row.kind.sign != before.sign
        or account.was_kind_known != row.is_kind_known
        or row.first_report_at != before.first_report_at
    )
    if not (movements or fold.opening_minor or account.are_all_days_dirty):
        return None
    latest_at = movements[-1].at if movements else None
    if account.reports:
        latest_at = max(filter(None, (latest_at, *account.reports)))
    membership = Membership(row.user_id, row.currency) if has_new_user or account.is_new_to_goals else None
    return AccountMove(fold.opening_minor, movements, latest_at, membership)


def _write(
    session: Session, accounts: Mapping[AccountKey, _Account], zones: Mapping[str, ZoneInfo], folded: Folded
) -> None:
    new_reports: dict[store.ReportKey, tuple[Report, int]] = {}
    known_reports: dict[store.ReportKey, Report] = {}
    residuals: dict[store.ReportKey, int] = {}
    for key, account in accounts.items():
        _mark_dirty(account, zones[key[0]])
        if not (account.reports or account.fold.residuals):
            continue
        left = dict(account.fold.residuals)
        for as_of, (known, report) in account.reports.items():
            if known is None:
                new_reports[*key, as_of] = report, left.pop(as_of, 0)
            elif known.report != report:
                known_reports[*key, as_of] = report
        residuals |= {(*key, as_of): minor for as_of, minor in left.items() if minor}
    store.write_reports(session, new_reports, known_reports, residuals)
    folded.changes = {key: account.changes for key, account in accounts.items()}
    folded.writes = [
        _write_of(account, folded.moves.get(key))
        for key, account in accounts.items()
        if account.row.is_changed or key in folded.moves
    ]
    write_attributes(session, [account.row for account in accounts.values() if account.row.is_described_anew])


def _write_of(account: _Account, move: AccountMove | None) -> AccountWrite:
    row, fold = account.row, account.fold
    return AccountWrite(
        *row.key,
        row.currency,
        fold.opening_minor,
        fold.worth_minor,
        fold.inflow_minor,
        row.first_report_at,
        row.last_report_at,
        row.last_transaction_at,
        row.dirty_from,
        row.late_from,
        row.late_through,
        move is not None,
        None if move is None else move.earliest_at,
    )


def _mark_dirty(account: _Account, zone: ZoneInfo) -> None:
    """Mark the days that the account's facts make dirty."""
    row, fold = account.row, account.fold
    worths: dict[date, int] = defaultdict(int)
    inflows: dict[date, int] = defaultdict(int)
    for movement in fold.movements:
        day = local_day(movement.at, zone)
        worths[day] += movement.worth_minor
        inflows[day] += movement.inflow_minor
    for as_of, minor in fold.residuals.items():
        if minor:
            worths[local_day(as_of, zone)] += minor
    mark_dirty_days(row, fold.opening_minor, {day: DayMove(worth, inflows[day]) for day, worth in worths.items()})
    if account.are_all_days_dirty:
        mark_from(row, FIRST_DAY)
