"""Accounts as callers see them: what is known of each, and by how much reports differ from the transactions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.errors import NotFound
from core.events.currency import SaidBy
from core.events.facts import rank_time
from core.events.spans import NEVER, joins, why_apart
from core.services.inputs import is_id
from core.services.pages import Page, cut, id_after, moment_and_id_after, no_position
from core.store import account_views as store
from core.store.account_views import AccountSummary, ReportRow
from core.store.driver import Session
from core.store.spans import chains_of, read_spanned
from core.store.tenants import Tenant

CurrencyFrom = Literal["registration", "statement", "report", "transaction"]
FactType = Literal["report", "transaction"]


@dataclass(frozen=True, slots=True)
class LastFact:
    """The last report or counted transaction: the moment it is dated at, and the time of the event that states it."""

    type: FactType
    at: datetime
    time: datetime


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection at the provider, by the latest registration, and its last stated state with that event's time."""

    provider: str | None
    connection_id: str | None
    state: str | None
    reason: str | None
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as callers see it; `connection` is None if neither a registration nor an event names one.

    `note` says why a statement that joins it with another account has no effect, or that it does not count yet.
    """

    summary: AccountSummary
    note: str | None
    currency_from: CurrencyFrom | None
    last_fact: LastFact | None
    connection: Connection | None


def list_accounts(
    session: Session,
    tenant: Tenant,
    *,
    user_id: str | None,
    has_difference: bool | None,
    limit: int,
    cursor: str | None,
) -> Page[AccountView]:
    """A page of at most `limit` accounts in the order of their ids; raises InvalidField for a bad cursor.

    With `has_difference` only those that have a difference which was not taken back (see store.with_difference), or
    only those without one. Then a page looks at a limited number of accounts, so it may be short or empty though there
    are more.
    """
    after = id_after(cursor)
    if user_id is not None and not is_id(user_id):
        return Page((), None)
    most = limit if has_difference is None else store.ACCOUNTS_AT_ONCE
    ids = cut(
        store.account_ids(session, tenant.name, user_id=user_id, after=after or "", limit=most + 1), most, lambda id: id
    )
    if has_difference is not None:
        differing = store.with_difference(session, tenant.name, ids.items)
        fitting = tuple(id for id in ids.items if (id in differing) is has_difference)
        ids = Page(fitting, ids.next_cursor) if len(fitting) <= limit else cut(fitting, limit, lambda id: id)
    rows = store.read_summaries(session, tenant.name, ids.items)
    return Page(_views(session, tenant, rows), ids.next_cursor)


def get_account(session: Session, tenant: Tenant, account_id: str) -> AccountView:
    """One account; raises NotFound if neither an event nor a link has named it."""
    rows = store.read_summaries(session, tenant.name, [account_id]) if is_id(account_id) else []
    if not rows:
        raise NotFound("Account", account_id)
    return _views(session, tenant, rows)[0]


def list_reports(
    session: Session, tenant: Tenant, account_id: str, *, limit: int, cursor: str | None
) -> Page[ReportRow]:
    """A page of an account's reports, the newest first; raises NotFound as get_account does, and InvalidField."""
    get_account(session, tenant, account_id)
    before = moment_and_id_after(cursor)
    if before is not None and not is_id(before[1]):
        raise no_position()
    rows = store.list_reports(session, (tenant.name, account_id), before=before, limit=limit + 1)
    return cut(rows, limit, lambda row: f"{row.as_of.isoformat()} {row.currency}")


def currency_from(account: AccountSummary) -> CurrencyFrom | None:
    """Who says in which currency an account is; None while no fact does.

    The fold decides it (core.events.currency). Of what was stated, a registration is named that names this currency:
    then the caller knows where to correct it.
    """
    said_by = account.currency_said_by
    if said_by is SaidBy.STATEMENT:
        return "registration" if account.is_currency_registered else "statement"
    return None if said_by is None else "report" if said_by is SaidBy.REPORT else "transaction"


def _views(session: Session, tenant: Tenant, accounts: Sequence[AccountSummary]) -> tuple[AccountView, ...]:
    notes = _notes(session, tenant, accounts)
    return tuple(
        AccountView(row, notes.get(row.account_id), currency_from(row), _last_fact(row), _connection(row))
        for row in accounts
    )


def _notes(session: Session, tenant: Tenant, accounts: Iterable[AccountSummary]) -> dict[str, str]:
    """By account why what is stated of it has no effect, or none yet."""
    notes = {
        each.account_id: "counts nothing before its first report, since it goes on for another account"
        for each in accounts
        if each.counts_from == NEVER
    }
    replaced = {each.account_id: each.replaced_by for each in accounts if each.replaced_by is not None}
    chains = chains_of(session, [(tenant.name, name) for name in replaced])
    rows = read_spanned(session, chains, {tenant.name: tenant.zone})
    described = {name: row.described for (_, name), row in rows.items()}
    joined = joins(described.values())
    for old_id, new_id in replaced.items():
        if old_id in described and old_id not in joined:
            why = why_apart(described[old_id], described[new_id]) or "the statements go in a circle"
            notes[old_id] = f"is not joined with {new_id}: {why}"
    return notes


def _last_fact(account: AccountSummary) -> LastFact | None:
    """The one that is dated later."""
    facts: list[LastFact] = []
    if account.posted_at is not None and account.posted_time is not None:
        facts.append(LastFact("transaction", account.posted_at, account.posted_time))
    if account.last_report is not None:
        facts.append(LastFact("report", account.last_report.as_of, account.last_report.time))
    return max(facts, key=lambda fact: fact.at, default=None)


def _connection(account: AccountSummary) -> Connection | None:
    if account.provider is None and account.connection_state is None:
        return None
    return Connection(
        account.provider,
        account.provider_connection,
        account.connection_state,
        account.connection_reason,
        None if account.connection_rank is None else rank_time(account.connection_rank),
    )
