"""Folding facts into locked accounts: what stands, what counts, and by how much worths move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from core.events.calendar import local_day
from core.events.facts import AccountFacts, Attribute, Report
from core.events.transactions import (
    Movement,
    StoredTransaction,
    TransactionChange,
    fold_transactions,
    movements_of,
    standing,
)
from core.events.worth import NextReport, Standing, StoredReport, WorthFold, fold_worth, questions
from core.pipeline.account_moves import AccountMove, Membership
from core.pipeline.day_marks import FIRST_DAY, DayMove, mark_days, mark_from
from core.store import facts as store
from core.store.accounts import AccountKey, AccountRow, write_accounts

Facts = Mapping[AccountKey, Sequence[AccountFacts]]
ReportChanges = dict[datetime, tuple[StoredReport | None, Report]]


@dataclass(slots=True)
class _Account:
    """One account on its way through the fold; `before` is how it stood."""

    row: AccountRow
    before: Standing
    is_new_to_goals: bool
    was_kind_known: bool
    user_before: str | bool | None
    is_seen_anew: bool = False
    changes: list[TransactionChange] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    reports: ReportChanges = field(default_factory=dict)
    fold: WorthFold = field(default_factory=WorthFold)


def fold_accounts(
    session: Session,
    rows: Mapping[AccountKey, AccountRow],
    facts: Facts,
    zones: Mapping[str, ZoneInfo],
    news: set[int],
) -> dict[AccountKey, AccountMove]:
    """Fold facts into accounts, which must be locked, and write all that changed; what moved, by account.

    The id() of every statement that stands anew joins `news`: what is left was known, or older than what is known.

    Reads rows by key only: the statements that the batch's facts meet and, for facts that come behind others, the
    next report. So its cost does not grow with an account's history.
    """
    accounts = {
        key: _Account(row, row.standing, row.is_changed, row.ranks["kind"] is not None, row.values["user_id"])
        for key, row in rows.items()
    }
    for key, account in accounts.items():
        news.update(_fold_attributes(account.row, (a for stated in facts[key] for a in stated.attributes)))
    _fold_transactions(session, accounts, facts)
    _fold_reports(session, accounts, facts)
    for account in accounts.values():
        news.update(id(change.after.transaction) for change in account.changes)
        news.update(id(report) for _, report in account.reports.values())
    _fold_worths(session, accounts)
    moves = {key: move for key, account in accounts.items() if (move := _finish(account)) is not None}
    _write(session, accounts, zones)
    return moves


def _fold_attributes(row: AccountRow, attributes: Iterable[Attribute]) -> Iterable[int]:
    told: dict[str, int] = {}
    for attribute in attributes:
        name = attribute.name
        kept = row.ranks[name] or "", str(row.values[name])
        if (attribute.rank, str(attribute.value)) > kept:
            row.values[name], row.ranks[name] = attribute.value, attribute.rank
            row.is_changed = row.is_described_anew = True
            told[name] = id(attribute)
    return told.values()


def _fold_transactions(session: Session, accounts: Mapping[AccountKey, _Account], facts: Facts) -> None:
    stated = {key: standing(s.transaction for s in facts[key] if s.transaction is not None) for key in accounts}
    keys = {(*key, name) for key, winners in stated.items() for name in winners}
    keys |= {(*key, t.replaces) for key, winners in stated.items() for t in winners.values() if t.replaces}
    stored = store.read_transactions(session, keys)
    nothing: dict[str, StoredTransaction] = {}
    for key, winners in stated.items():
        account = accounts[key]
        account.changes = fold_transactions(winners, stored.get(key, nothing))
        account.movements = movements_of(account.changes)


def _fold_reports(session: Session, accounts: Mapping[AccountKey, _Account], facts: Facts) -> None:
    stated = {key: _standing_reports(facts[key]) for key in accounts}
    stored = store.read_reports(session, ((*key, as_of) for key, reports in stated.items() for as_of in reports))
    for key, reports in stated.items():
        account = accounts[key]
        for as_of, report in reports.items():
            kept = stored.get((*key, as_of))
            if kept is None or report.precedence > kept.report.precedence:
                account.reports[as_of] = kept, report
        if account.row.kind.sign != account.before.sign:
            # A change of kind tells every report anew, with the other sign.
            for as_of, kept in store.read_all_reports(session, key).items():
                account.reports.setdefault(as_of, (kept, kept.report))


def _standing_reports(facts: Iterable[AccountFacts]) -> dict[datetime, Report]:
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
    nothing: dict[datetime, NextReport] = {}
    for key, account in accounts.items():
        account.fold = fold_worth(
            account.before, account.movements, account.reports, answers.get(key, nothing), account.row.kind.sign
        )


def _finish(account: _Account) -> AccountMove | None:
    """Bring the row's figures up to date; what its goals must know, None if nothing."""
    row, fold, before = account.row, account.fold, account.before
    movements = tuple(fold.all_movements)
    row.opening_minor += fold.opening_minor
    row.worth_minor += fold.worth_minor
    row.inflow_minor += fold.inflow_minor
    if account.reports:
        row.first_report_at = min(filter(None, (before.first_report_at, *account.reports)))
        row.last_report_at = max(filter(None, (before.last_report_at, *account.reports)))
    posted = [c.after.transaction.posted_at for c in account.changes if c.after.counts]
    row.last_transaction_at = max(filter(None, (before.last_transaction_at, *posted)), default=None)
    row.is_changed = row.is_changed or bool(movements) or row.standing != before
    has_changed_hands = row.values["user_id"] != account.user_before
    account.is_seen_anew = (
        account.is_new_to_goals
        or has_changed_hands
        or row.kind.sign != before.sign
        or account.was_kind_known != (row.ranks["kind"] is not None)
        or row.first_report_at != before.first_report_at
    )
    if not (movements or fold.opening_minor or account.is_seen_anew):
        return None
    touched = [movement.at for movement in movements] + list(account.reports)
    joins = Membership(row.user_id, row.currency) if has_changed_hands or account.is_new_to_goals else None
    return AccountMove(fold.opening_minor, movements, max(touched, default=None), joins)


def _write(session: Session, accounts: Mapping[AccountKey, _Account], zones: Mapping[str, ZoneInfo]) -> None:
    days: dict[tuple[str, str, date], store.DayMoves] = {}
    new_reports: dict[store.ReportKey, tuple[Report, int]] = {}
    known_reports: dict[store.ReportKey, Report] = {}
    residuals: dict[store.ReportKey, int] = {}
    for key, account in accounts.items():
        _add_days(account, zones[key[0]], days)
        left = dict(account.fold.residuals)
        for as_of, (kept, report) in account.reports.items():
            if kept is None:
                new_reports[*key, as_of] = report, left.pop(as_of, 0)
            elif kept.report != report:
                known_reports[*key, as_of] = report
        residuals |= {(*key, as_of): minor for as_of, minor in left.items() if minor}
    store.write_transactions(session, {key: account.changes for key, account in accounts.items()})
    store.write_reports(session, new_reports, known_reports, residuals)
    took_back = any(change.before is not None for account in accounts.values() for change in account.changes)
    told_more = any(account.fold.residuals for account in accounts.values())
    store.add_to_days(session, days, may_empty=took_back or told_more)
    write_accounts(session, [account.row for account in accounts.values() if account.row.is_changed])


def _add_days(account: _Account, zone: ZoneInfo, days: dict[tuple[str, str, date], store.DayMoves]) -> None:
    """Add what the account's days moved to `days`, and mark the closes that this changes."""
    row, fold = account.row, account.fold
    own: dict[date, store.DayMoves] = {}
    for movement in fold.movements:
        moves = own.setdefault(local_day(movement.at, zone), [0, 0, 0])
        moves[0] += movement.worth_minor
        moves[2] += movement.inflow_minor
    for as_of, minor in fold.residuals.items():
        if minor:
            own.setdefault(local_day(as_of, zone), [0, 0, 0])[1] += minor
    days.update({(*row.key, day): moves for day, moves in own.items()})
    moved = {day: DayMove(moves[0] + moves[1], moves[2]) for day, moves in own.items()}
    mark_days(row, fold.opening_minor, moved)
    if account.is_seen_anew:
        mark_from(row, FIRST_DAY)
