"""Comparing: which of a batch's facts win over what is stored of locked accounts, and which currency these are in.

`compare` notes on each account which transactions and reports change. By which rules a fact wins is in `core.events`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from core.events.currency import CurrencyFact, SaidBy, deciding, first_fact
from core.events.facts import AccountFacts, Report, Transaction, standing_report
from core.events.transactions import fold_transactions, with_lent_times, with_statements
from core.events.worth import Movement
from core.ingestion.account_fold import AccountFold, BeforeBatch, Folded, FormerWorth, StatedReport
from core.ingestion.windows import add_windows, missing_statements, rows_before
from core.store.accounts import AccountKey, StoredAttribute, read_attributes
from core.store.driver import Session
from core.store.due import WaitingKey, read_waiting_reports, take_waiting_reports, write_waiting_reports
from core.store.reports import ReportKey, first_stored_fact, read_all_reports, read_reports, take_reports
from core.store.transactions import (
    AccountDay,
    TransactionKey,
    count_none,
    lending_and_borrowing_rows,
    read_all_transactions,
    read_transactions,
)

SPAN_ATTRIBUTES = frozenset({"replaced_by", "replaced_from", "opened"})
"""The attributes that say when an account counts."""
Facts = Mapping[AccountKey, Sequence[AccountFacts]]


def compare(
    session: Session,
    accounts: Mapping[AccountKey, AccountFold],
    facts: Facts,
    zones: Mapping[str, ZoneInfo],
    folded: Folded,
) -> None:
    """Note on each account which of its facts win over what is stored."""
    for key, account in accounts.items():
        row = account.row
        account.before = BeforeBatch(row.worth_state, row.user_id, row.is_kind_known, row.currency)
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
    session: Session, accounts: Mapping[AccountKey, AccountFold], facts: Facts, folded: Folded
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
    accounts: Mapping[AccountKey, AccountFold],
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
    stored = read_transactions(session, _transaction_keys(statements))
    missing = missing_statements(session, rows, statements, zones)
    for key, of_account in statements.items():
        account = accounts[key]
        account.stored = stored.get(key, {})
        account.stated = with_statements(of_account, account.stored, missing.get(key, frozenset()))


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
    session: Session, accounts: Mapping[AccountKey, AccountFold], facts: Facts, winning_ids: set[int]
) -> None:
    """Compare the reports that are stated with those that are stored: those that count, and those that wait."""
    stated = [(key, report) for key in accounts for report in _winning_reports(facts[key])]
    counted, waiting = set[ReportKey](), set[WaitingKey]()
    for key, report in stated:
        if accounts[key].counts(report):
            counted.add((*key, report.as_of))
        elif accounts[key].row.currency is not None:  # else nothing is stored of it
            waiting.add((*key, *report.key))
    stored, kept = read_reports(session, counted), read_waiting_reports(session, waiting)
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
            account.stated_reports.append(StatedReport(after, known))
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


def _decide_currency(session: Session, key: AccountKey, account: AccountFold) -> None:
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
            known = first_stored_fact(session, key, but_rows=account.stated, but_reports=but_reports)
        rows = [each.transaction for each in account.stated.values() if each.is_booked]
        fact = deciding((known, first_fact([report for report, _ in account.stated_reports], rows)))
    if fact == row.currency_fact:
        return
    has_another = row.currency is not None and (fact is None or fact.currency != row.currency)
    row.set_currency(fact)
    if has_another:
        _begin_anew(session, key, account)


def _begin_anew(session: Session, key: AccountKey, account: AccountFold) -> None:
    """Let nothing of an account count any more, so that all of its facts are judged as if they had just come."""
    row, rows, reports = account.row, read_all_transactions(session, key), take_reports(session, key)
    uncounted, times = {each.transaction_id for each in account.new}, [each.event_time for each in account.new]
    account.recorded = min(times, default=None), max(times, default=None)
    taken_back = [
        Movement(each.placed_at, -each.transaction.amount_minor, -max(each.transaction.amount_minor, 0))
        for name, each in rows.items()
        if each.counts and each.placed_at is not None and name not in uncounted
    ]
    taken_back += [Movement(as_of, -each.residual_minor) for as_of, each in reports.items() if each.residual_minor]
    account.former = FormerWorth(row.opening_minor, taken_back)
    row.first_report_at = row.last_report_at = row.last_transaction_at = None
    count_none(session, key)
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
    account.stated_reports = [StatedReport(report) for report in standing.values()]


def _change_transactions(session: Session, accounts: Mapping[AccountKey, AccountFold], folded: Folded) -> None:
    """Find which rows change, and whether they count, now that the currencies are decided."""
    for account in accounts.values():
        if account.stated:
            account.changes = fold_transactions(account.stated, account.stored, account.row.currency)
            folded.winning_ids.update([id(change.after.transaction) for change in account.changes])
    _lend(session, accounts)


def _lend(session: Session, accounts: Mapping[AccountKey, AccountFold]) -> None:
    """Let removed rows lend the times of their first reports to those that came after them."""
    days: set[AccountDay] = set()
    for key, account in accounts.items():
        rows = [row for change in account.changes for row in change if row is not None]
        if account.row.lends or any(row.lending is not None for row in rows):
            concerned = filter(None, [row.lending or row.borrowing for row in rows])
            days.update([(*key, day) for day, _ in concerned])
    if days:
        stored = lending_and_borrowing_rows(session, days)
        for key in {(tenant, account_id) for tenant, account_id, _ in days}:
            accounts[key].changes = with_lent_times(accounts[key].changes, stored.get(key, {}))


def _change_reports(session: Session, accounts: Mapping[AccountKey, AccountFold]) -> None:
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
            for as_of, known in read_all_reports(session, key).items():
                account.reports.setdefault(as_of, (known, known.report))
    waiting = [(key, report) for key, account in accounts.items() for report in account.waiting.values()]
    write_waiting_reports(session, waiting)
