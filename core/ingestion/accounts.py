"""The fold: what a batch's facts make of its accounts, which are locked. It is one for all accounts and all facts.

For each account: which statements win over what is stored (compare.py), where rows are placed (placing.py), how worth
moves and when, and for which days that makes new snapshots necessary. The rules about worth are in `core.events.worth`.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from core.events.calendar import local_day
from core.events.facts import REPORT_AWAITED, AccountFacts, Report
from core.events.placement_changes import AccountBefore, Placed, RowChange
from core.events.transactions import TransactionChange
from core.events.worth import (
    MOMENT,
    Movement,
    NewSums,
    NextReport,
    WorthFold,
    fold_worth,
    movements_of,
    movements_of_moved,
    questions,
    sums_of_new,
)
from core.ingestion.account_fold import AccountFold, Folded
from core.ingestion.account_moves import AccountMove, AccountMoves, Membership
from core.ingestion.compare import Facts, compare
from core.ingestion.dirty_days import FIRST_DAY, mark_dirty, mark_from
from core.ingestion.placing import ToPlace, place_rows, row_change, row_of_new, with_places
from core.store.accounts import AccountKey, AccountRow, Held, read_accounts
from core.store.driver import Session
from core.store.moves import AccountWrite, Addition
from core.store.placing import begin_gaps
from core.store.reports import ReportKey, read_next_reports, write_reports
from core.store.transactions import SimpleTransactions

# From when on worth has changed if the opening has: every later worth changes with it.
_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
_NO_ANSWERS: Mapping[datetime, NextReport] = {}
# Of rows that all have instants.
_AS_STATED = Placed()


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
        known, sums = held[key], sums_of_new(transactions)
        if come_after_reports(known, sums) and (not facts or key not in facts):
            additions.append(_addition(key, known, sums, zones[key[0]]))
        else:
            late.add(key)
    rows = {**rows, **read_accounts(session, late - rows.keys())}
    accounts = {key: AccountFold(held[key].place, row, new[key] if key in late else ()) for key, row in rows.items()}
    compare(session, {key: accounts[key] for key in facts}, facts, zones, folded)
    _note_dates(session, accounts, facts, folded)
    _place(session, accounts, zones, folded)
    answers = read_next_reports(session, _questions(accounts))
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
    stored has to be read for it. The first ones of an account that have only a date are rare, and do more.
    """
    last_report_at, known_by_rows_at = account.last_report_at, account.known_by_rows_at
    if known_by_rows_at is not None and new.recorded_from + REPORT_AWAITED < known_by_rows_at:
        return False
    if new.has_dates and not account.has_dates:
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


def _note_dates(session: Session, accounts: Mapping[AccountKey, AccountFold], facts: Facts, folded: Folded) -> None:
    """Note which accounts have rows with only a date from now on.

    Statements that lost count too, so that the order in which they come does not matter.
    """
    begun, new = [], []
    for key, account in accounts.items():
        if not account.row.has_dates and _states_dates(account, facts.get(key, ())):
            account.row.has_dates = True
            folded.dated_anew.append(key)
            if account.row.last_report_at is not None:
                begun.append(key)
                new += [(*key, each.transaction_id) for each in account.new]
    begin_gaps(session, begun, new)


def _states_dates(account: AccountFold, facts: Iterable[AccountFacts]) -> bool:
    is_stated = any(each.transaction is not None and each.transaction.dated is not None for each in facts)
    return is_stated or any(each.dated is not None for each in account.new)


def _place(
    session: Session, accounts: Mapping[AccountKey, AccountFold], zones: Mapping[str, ZoneInfo], folded: Folded
) -> None:
    """Find where the rows of the batch are placed and which others move, and note how worth moves by that."""
    concerned, to_place = [], {}
    for key, account in accounts.items():
        if account.new or account.changes or account.reports:
            concerned.append(key)
            _note_recorded(account)
            if account.row.has_dates:
                to_place[key] = _to_place(account, zones[key[0]])
    places_of = place_rows(session, to_place)
    for key in concerned:
        account, placed, zone = accounts[key], places_of.get(key, _AS_STATED), zones[key[0]]
        changes = with_places(account.changes, placed, zone)
        if changes:
            folded.changes[key] = changes
        account.changes, account.intervals = changes, placed.intervals
        moved = [row for _, row in placed.moved]
        movements = [*movements_of(changes), *movements_of_moved(placed.moved)]
        changed = _ids_of(changes)
        for each in account.new:
            placed_at, minor = each.posted_at, each.amount_minor
            if each.dated is not None and each.transaction_id not in changed:
                placed_at = placed.places[each.transaction_id]
                if placed_at != each.posted_at:
                    moved.append(row_of_new(each)._replace(placed_at=placed_at))
            movements.append(Movement(placed_at, minor, max(minor, 0)))
        account.movements = sorted(movements, key=MOMENT) if len(movements) > 1 else movements
        places = [row.placed_at for row in moved] + [each.posted_at for each in account.new]
        places += [at for change in changes if change.after.counts and (at := change.after.placed_at) is not None]
        account.posted_at = max(places, default=None)
        folded.places += [((*key, row.transaction_id), row.placed_at) for row in moved]


def _ids_of(changes: Iterable[TransactionChange]) -> set[str]:
    return {change.after.transaction.transaction_id for change in changes}


def _note_recorded(account: AccountFold) -> None:
    """Note when the first and the last row of the batch were first reported."""
    recorded = [*filter(None, account.recorded), *[each.event_time for each in account.new]]
    recorded += [at for change in account.changes if (at := change.after.first_reported) is not None]
    account.recorded = min(recorded, default=None), max(recorded, default=None)


def _to_place(account: AccountFold, zone: ZoneInfo) -> ToPlace:
    row, state = account.row, account.state
    # A new row may be changed already: another row of the batch lends it the time of its first report.
    new, changed = {each.transaction_id for each in account.new}, _ids_of(account.changes)
    changes = [RowChange(None, row_of_new(each)) for each in account.new if each.transaction_id not in changed]
    for change in account.changes:
        placing = row_change(change)
        is_new = change.after.transaction.transaction_id in new
        changes.append(RowChange(None, placing.after) if is_new else placing)
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


def _questions(accounts: Mapping[AccountKey, AccountFold]) -> dict[ReportKey, bool]:
    """What has to be known of stored reports: nothing of an account whose transactions are all after its last one."""
    asked = {}
    for key, account in accounts.items():
        movements, last_report_at = account.movements, account.row.last_report_at
        is_late = last_report_at is not None and movements and movements[0].at <= last_report_at
        if is_late or account.reports:
            for moment, with_sum in questions(account.state, movements, account.reports).items():
                asked[*key, moment] = with_sum
    return asked


def _finish(key: AccountKey, account: AccountFold, fold: WorthFold, zone: ZoneInfo, folded: Folded) -> None:
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


def _known_by_rows_at(account: AccountFold) -> datetime | None:
    """From when on the rows suffice to know what the account is worth; None if a report came in time, or still may."""
    row, recorded_at = account.row, account.recorded[0]
    first_at = min(filter(None, (row.first_recorded_at, recorded_at)), default=None)
    if first_at is None:
        return row.known_by_rows_at
    known_at, report_at = first_at + REPORT_AWAITED, row.first_report_at
    is_late = report_at is not None and report_at > known_at
    return known_at if is_late or account.is_report_overdue or row.known_by_rows_at is not None else None


def _write_reports(
    session: Session, accounts: Mapping[AccountKey, AccountFold], residuals: Mapping[AccountKey, Mapping[datetime, int]]
) -> None:
    """Write the reports of the accounts that `residuals` has, with what the fold adds to each residual."""
    intervals = {(*key, as_of): kept for key, each in accounts.items() for as_of, kept in each.intervals.items()}
    new: dict[ReportKey, tuple[Report, int]] = {}
    known: dict[ReportKey, Report] = {}
    moved: dict[ReportKey, int] = {}
    for key, by_report in residuals.items():
        left = dict(by_report)
        for as_of, (stored, report) in accounts[key].reports.items():
            if stored is None:
                new[*key, as_of] = report, left.pop(as_of, 0)
            elif stored.report != report:
                known[*key, as_of] = report
        moved |= {(*key, as_of): minor for as_of, minor in left.items() if minor}
    write_reports(session, new, known, moved, intervals)
