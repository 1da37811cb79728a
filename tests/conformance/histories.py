"""Random histories in each provider's words, made of few ids and moments so that statements meet."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hypothesis import strategies as st

from core.providers.contracts import AdaptedEvent, Context, KnownAccount
from core.providers.registry import Format, Provider, adapt, adapt_webhook
from tests.conformance.household import TOLD_AT

BEGIN = TOLD_AT - timedelta(days=5)
moments = st.integers(0, 5).map(lambda step: BEGIN + timedelta(hours=9 * step))
days = st.integers(0, 4).map(lambda step: BEGIN.date() - timedelta(days=step))
ids = st.sampled_from(["t1", "t2", "t3"])
cents = st.integers(-500, 500).map(lambda amount: f"{amount // 100}.{amount % 100:02}")
_KNOWN = {"savings": KnownAccount("savings", "u", "asset", "USD")}


def _page(moment: datetime, rows: list[Any], gone: list[str], balance: str | None, type: str) -> list[AdaptedEvent]:
    added, modified = rows[::2], rows[1::2]
    account = {"account_id": "savings", "type": type, "balances": {"current": balance, "iso_currency_code": "USD"}}
    removed = [{"account_id": "savings", "transaction_id": name} for name in gone]
    page = {"accounts": [account], "added": added, "modified": modified, "removed": removed}
    return list(adapt(Format.PLAID_SYNC, page, Context(moment, "plaid", {})).events)


def _plaid_row(name: str, amount: str, day: date, pending: bool, pointer: str | None) -> dict[str, Any]:
    about = {"account_id": "savings", "transaction_id": name, "amount": amount, "iso_currency_code": "USD"}
    points = None if pointer == name else pointer
    return about | {"date": day.isoformat(), "pending": pending, "pending_transaction_id": points}


def _pulled(moment: datetime, rows: list[Any], ledger: str | None) -> list[AdaptedEvent]:
    context = Context(moment, "teller", _KNOWN)
    balances = {"account_id": "savings", "ledger": ledger, "available": "1"}
    return [*adapt(Format.TELLER, rows, context).events, *adapt(Format.TELLER, balances, context).events]


def _teller_row(name: str, amount: str, day: date, pending: bool) -> dict[str, Any]:
    about = {"id": name, "account_id": "savings", "amount": amount, "date": day.isoformat()}
    return about | {"status": "pending" if pending else "posted"}


def _window(moment: datetime, rows: list[Any], balance: tuple[str, str, date]) -> list[AdaptedEvent]:
    type, amount, day = balance
    entry = {"balanceAmount": {"amount": amount, "currency": "USD"}, "balanceType": type}
    entries = [entry | {"referenceDate": day.isoformat()}]
    body = {"transactions": {"booked": rows[1:], "pending": rows[:1]}, "balances": entries}
    return list(adapt(Format.GOCARDLESS, body, Context(moment, "gocardless", {}, account_id="savings")).events)


def _gocardless_row(name: str | None, amount: str, day: date) -> dict[str, Any]:
    row = {"bookingDate": day.isoformat(), "transactionAmount": {"amount": amount, "currency": "USD"}}
    return row | ({} if name is None else {"internalTransactionId": name})


def _posted(name: str, amount: int, day: date, revision: int, known: datetime, state: str) -> list[AdaptedEvent]:
    hook = {"guid": name, "account_guid": "savings", "amount": abs(amount), "type": "CREDIT" if amount > 0 else "DEBIT"}
    hook |= {"status": "PENDING" if state == "pending" else "POSTED", "date": day.isoformat(), "currency_code": "USD"}
    hook |= {"action": "deleted" if state == "deleted" else "updated", "revision": revision}
    told = hook | {"updated_at": int(known.timestamp())}
    return list(adapt_webhook(Provider.MX, told, Context(TOLD_AT, "mx", {})).events)


def _answered(moment: datetime, read: datetime, rows: list[Any], balance: str | None) -> list[AdaptedEvent]:
    account = {
        "id": "savings",
        "name": "S",
        "currency": "USD",
        "balance": balance,
        "balance-date": int(read.timestamp()),
    }
    body = {"errors": [], "accounts": [account | {"transactions": rows}]}
    return list(adapt(Format.SIMPLEFIN, body, Context(moment, "simplefin", _KNOWN)).events)


def _simplefin_row(name: str, amount: str, day: date, state: str) -> dict[str, Any]:
    noon = int(datetime.combine(day, time(12), UTC).timestamp())
    return {"id": name, "amount": amount, "posted": 0 if state == "pending" else noon, "transacted_at": noon}


def _paged(moment: datetime, rows: list[Any], balance: tuple[str, str, date]) -> list[AdaptedEvent]:
    type, amount, day = balance
    context = Context(moment, "enablebanking", _KNOWN, account_id="savings")
    pages = [{"transactions": rows[:2], "continuation_key": "more"}, {"transactions": rows[2:]}]
    entry = {"balance_amount": {"amount": amount, "currency": "USD"}, "balance_type": type}
    balances = {"balances": [entry | {"reference_date": day.isoformat()}]}
    return [*adapt(Format.ENABLEBANKING, pages, context).events, *adapt(Format.ENABLEBANKING, balances, context).events]


def _enablebanking_row(name: str | None, amount: str, day: date, state: str) -> dict[str, Any]:
    statuses = {"posted": "BOOK", "pending": "PDNG", "deleted": "CNCL"}
    row = {"entry_reference": name, "booking_date": day.isoformat(), "status": statuses[state]}
    row |= {"transaction_amount": {"amount": amount.lstrip("-"), "currency": "USD"}}
    return row | {"credit_debit_indicator": "DBIT" if amount.startswith("-") else "CRDT"}


def _listed(moment: datetime, balance: str | None, type: str) -> list[AdaptedEvent]:
    account = {"guid": "savings", "type": type, "balance": balance, "currency_code": "USD"}
    return list(adapt(Format.MX, {"account": account}, Context(moment, "mx", {})).events)


balances = st.one_of(st.none(), cents)
_plaid_rows = st.builds(_plaid_row, ids, cents, days, st.booleans(), st.one_of(st.none(), ids))
_window_rows = st.builds(_gocardless_row, st.one_of(st.none(), ids), cents, days)
_types = st.sampled_from(["interimBooked", "closingBooked", "openingBooked"])
_codes = st.sampled_from(["ITBD", "CLBD", "OPBD"])
_states = st.sampled_from(["posted", "posted", "pending", "deleted"])

HISTORIES: dict[str, st.SearchStrategy[list[list[AdaptedEvent]]]] = {
    "plaid": st.lists(
        st.builds(
            _page,
            moments,
            st.lists(_plaid_rows, max_size=4),
            st.lists(ids, max_size=1),
            balances,
            st.sampled_from(["depository", "depository", "credit"]),
        ),
        max_size=6,
    ),
    "teller": st.lists(
        st.builds(
            _pulled, moments, st.lists(st.builds(_teller_row, ids, cents, days, st.booleans()), max_size=4), balances
        ),
        max_size=6,
    ),
    "gocardless": st.lists(
        st.builds(_window, moments, st.lists(_window_rows, max_size=5), st.tuples(_types, cents, days)), max_size=6
    ),
    "mx": st.lists(
        st.one_of(
            st.builds(_posted, ids, st.integers(-500, 500), days, st.integers(1, 3), moments, _states),
            st.builds(_listed, moments, balances, st.sampled_from(["SAVINGS", "SAVINGS", "LOAN"])),
        ),
        max_size=14,
    ),
    "simplefin": st.lists(
        st.builds(
            _answered,
            moments,
            moments,
            st.lists(st.builds(_simplefin_row, ids, cents, days, _states), max_size=4),
            balances,
        ),
        max_size=6,
    ),
    "enablebanking": st.lists(
        st.builds(
            _paged,
            moments,
            st.lists(st.builds(_enablebanking_row, st.one_of(st.none(), ids), cents, days, _states), max_size=5),
            st.tuples(_codes, cents, days),
        ),
        max_size=6,
    ),
}
