"""SimpleFIN: the pulled set of a user's accounts, each with its balance and its transactions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from itertools import chain
from typing import Any

from core.errors import EventRejected, ProviderBodyRefused
from core.providers.contracts import AdaptedEvent, Context, KnownAccount
from core.providers.fields import (
    MIDNIGHT,
    Row,
    decimal_text,
    exact_minor,
    first_text,
    flag,
    nested,
    optional_instant,
    required_id,
    rounded_minor,
    rows_in,
    whole_number,
)
from core.providers.provider import ProviderSpec
from core.providers.rows import (
    Part,
    Reading,
    Statement,
    connection_statements,
    make_statement,
    read_row,
    read_rows,
    refuse_window,
    rows_of,
    with_window,
)

# Servers write a date as midnight in UTC; the Bridge, whose rows come from MX, as noon.
MARKERS = MIDNIGHT | {time(12)}
_NONE = datetime(1970, 1, 1, tzinfo=UTC)


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """The answer to GET /accounts, of version 1 or 2 of the protocol."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object")
    if "accounts" not in body:
        raise ProviderBodyRefused("not_this_form", "the body has no accounts")
    accounts = rows_of(body["accounts"], "accounts")
    _check_ids(accounts)
    if accounts and not any(account.get("transactions") is not None for account in rows_in(accounts)):
        refuse_window(context, "no account has transactions")
    if body.get("errors") or body.get("errlist"):
        context = replace(context, complete=None)  # a bank that did not answer took no rows back
    # A server need not change balance-date when a row changes: of two pulls of the same balance the later one wins.
    order = "" if context.pulled_at is None else f"p{context.pulled_at:%Y%m%d%H%M%S%f}"
    yield from read_rows(CONNECTION, list(_connections(body, accounts)), context, "connections")
    for index, account in enumerate(accounts):
        yield from _of_account(account, f"accounts[{index}]", context, order)


def _of_account(account: object, where: str, context: Context, order: str) -> Iterator[AdaptedEvent]:
    """An account, then its rows, each with what it needs of its account, so that it can be read again by itself."""
    if not isinstance(account, dict):
        yield from read_row(ACCOUNT, account, Reading(context, order), where)
        return
    rows = rows_of(account.get("transactions"), f"{where}.transactions")
    row = {name: value for name, value in account.items() if name != "transactions"}
    own = read_row(ACCOUNT, row, Reading(context, order), where)
    if _is_custom(account.get("currency")):
        yield from own
        return
    about = {"account_id": account.get("id")} | {name: account.get(name) for name in ("currency", "balance-date")}
    merged = [each | about if isinstance(each, dict) else each for each in rows]
    events = chain(own, _transactions(merged, context, f"{where}.transactions", order))
    if account.get("transactions") is None:
        yield from events
    else:
        yield from with_window(
            events, context, lambda reading: (reading.account(row, "id"), _balance_date(row, reading)[0])
        )


def _transactions(rows: Sequence[object], context: Context, where: str, order: str) -> Iterator[AdaptedEvent]:
    """Each row. Of a pending and a posted one with one id, which may be beside each other, the posted one wins."""
    for index, row in enumerate(rows):
        is_posted = isinstance(row, dict) and bool(row.get("posted")) and row.get("pending") is not True
        yield from read_row(TRANSACTION, row, Reading(context, f"{order}{is_posted:d}"), f"{where}[{index}]")


def _check_ids(accounts: Sequence[object]) -> None:
    """Refuse two accounts with one id: ids are unique only within a connection, and money would be mixed up."""
    seen: set[str] = set()
    for index, account in enumerate(accounts):
        name = account.get("id") if isinstance(account, dict) else None
        if isinstance(name, str) and name in seen:
            raise ProviderBodyRefused("not_this_form", "another account has this id", f"accounts[{index}].id")
        if isinstance(name, str):
            seen.add(name)


def _connections(body: Mapping[str, Any], accounts: Sequence[object]) -> Iterator[object]:
    """A row for each connection that a body of version 2 lists or blames: the code of its error, and its accounts.

    A body without `errlist` does not say whether a connection is healthy.
    """
    if body.get("errlist") is None:
        return
    errors = {
        name: row["code"]
        for row in rows_in(rows_of(body["errlist"], "errlist"))
        if (name := _conn_id(row)) is not None and str(row.get("code")).startswith("con.")
    }
    own: dict[str, list[object]] = {}
    for account in rows_in(accounts):
        if (name := _conn_id(account)) is not None:
            own.setdefault(name, []).append(account.get("id"))
    listed = rows_of(body.get("connections"), "connections")
    yield from (row for row in listed if _conn_id(row) is None)
    for name in dict.fromkeys([*filter(None, map(_conn_id, listed)), *errors]):
        yield {"conn_id": name, "code": errors.get(name), "accounts": own.get(name, [])}


def _conn_id(row: object) -> str | None:
    """The connection that a row names; None also for what is no row, so that it is read and refused as one."""
    name = row.get("conn_id") if isinstance(row, dict) else None
    return name if isinstance(name, str) and name else None


def _connection(row: Row, reading: Reading) -> Iterator[Statement]:
    """The state of a connection, for the accounts that the body or a registration says are its own."""
    name, code, accounts = required_id(row, "conn_id"), row.get("code"), row.get("accounts")
    named = [reading.account({"id": each}, "id") for each in (accounts if isinstance(accounts, list) else ()) if each]
    registered = [known for known in reading.context.accounts.values() if known.connection == name]
    affected = [account.account_id for account in (*named, *registered)]
    yield from connection_statements(affected, reading.time(), "broken" if code else "healthy", first_text(code))


def _account(row: Row, reading: Reading) -> Iterator[Statement]:
    """The account, and its balance, which is negative if the holder owes. Ours says what is owed on a liability.

    The protocol has no types of accounts, so only the caller knows the kind.
    """
    required_id(row, "id")
    account = reading.account(row, "id")
    currency = _currency(row, account, reading)
    is_owed = reading.known_kind(account) == "liability"
    whose = {"user_id": reading.user_of(account), "kind": reading.kind_of(account)}
    details = {"name": first_text(row.get("name")), "currency": account.currency or currency}
    yield make_statement("account.changed", account, reading.time(), **whose, **details)
    if row.get("balance") is None:
        return
    known_at, as_of = _balance_date(row, reading)
    current = rounded_minor(row, "balance", currency)
    available = None if row.get("available-balance") is None else rounded_minor(row, "available-balance", currency)
    yield make_statement(
        "balance.reported",
        account,
        known_at,
        current=decimal_text(-current if is_owed else current, currency),
        available=None if available is None else decimal_text(available, currency),
        currency=currency,
        as_of=as_of,
        **whose,
    )


def _transaction(row: Row, reading: Reading) -> Iterator[Statement]:
    """The amount is positive when the holder gains money, on accounts of every kind."""
    required_id(row, "account_id")
    account, transaction_id = reading.account(row, "account_id"), required_id(row, "id")
    is_pending, moment = _posted(row, reading)
    currency = _currency(row, account, reading)
    amount = decimal_text(exact_minor(row, "amount", currency), currency)
    if account.is_former(moment.date() if isinstance(moment, datetime) else moment):
        return
    yield make_statement(
        "transaction.recorded",
        account,
        _known_at(row, moment, is_pending, reading),
        transaction_id=transaction_id,
        amount=amount,
        currency=currency,
        posted_at=moment.isoformat(),
        pending=is_pending,
        category=first_text(nested(row, "extra").get("category")),
        description=first_text(row.get("payee"), row.get("description"), row.get("memo")),
    )


def _posted(row: Row, reading: Reading) -> tuple[bool, date]:
    """Whether it is pending, and when it was posted. A `posted` of 0 means pending, whatever `pending` says."""
    is_pending, posted = flag(row, "pending"), _moment(row, "posted")
    if posted is not None:
        return is_pending, posted
    if not is_pending and whole_number(row.get("posted")) is None:
        raise EventRejected("missing_field", "posted is missing")
    return True, _moment(row, "transacted_at") or reading.time()


def _known_at(row: Row, moment: date, is_pending: bool, reading: Reading) -> datetime:
    """When the server knew a row: it was read with the balance beside it, which includes it, unless it posted later."""
    known_at, _ = _balance_date(row, reading)
    is_later = moment > (known_at if isinstance(moment, datetime) else known_at.date())
    return reading.time() if is_later and not is_pending else known_at


def _balance_date(row: Row, reading: Reading) -> tuple[datetime, str]:
    """When the server knew the balance and the rows beside it, and the balance's `as_of`: a time before the pull.

    Where balance-date is missing or a date, nobody knows the time, so the pull's is taken.
    """
    pulled_at, dated = reading.time(), _moment(row, "balance-date")
    if dated is not None and not isinstance(dated, datetime):
        return pulled_at, dated.isoformat()
    known_at = pulled_at if dated is None else min(dated, pulled_at)
    return known_at, known_at.isoformat()


def _moment(row: Row, field: str) -> date | None:
    """A time in seconds since 1970, or only its date if it is one of MARKERS; None for 0 and null."""
    instant = optional_instant(row, field)
    if instant is None or instant == _NONE:
        return None
    return instant.date() if instant.time() in MARKERS else instant


def _currency(row: Row, account: KnownAccount, reading: Reading) -> str:
    if _is_custom(row.get("currency")):
        raise EventRejected("bad_currency", "currency is a custom one, no ISO 4217 code: Milepost counts money only")
    return reading.currency_of(account, row, "currency")


def _is_custom(currency: object) -> bool:
    """Whether a currency is one of the protocol's custom ones (miles, points), which are URLs."""
    return isinstance(currency, str) and "://" in currency


ACCOUNT = Part("simplefin/account", _account)
TRANSACTION = Part("simplefin/transaction", _transaction)
CONNECTION = Part("simplefin/connection", _connection)


def _accounts_in(body: object) -> Iterator[object]:
    if isinstance(body, dict):
        yield from (account.get("id") for account in rows_in(body.get("accounts")))


def _connections_in(body: object) -> Iterator[object]:
    if isinstance(body, dict):
        yield from (row.get("conn_id") for name in ("connections", "errlist") for row in rows_in(body.get(name)))


SIMPLEFIN = ProviderSpec(
    "simplefin",
    formats={"simplefin": adapt_pulled},
    parts=(ACCOUNT, TRANSACTION, CONNECTION),
    accounts_in=_accounts_in,
    connections_in=_connections_in,
    has_windows=True,
)
