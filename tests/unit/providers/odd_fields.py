"""Each field that the adapters read, and what becomes of its row if it is null, absent or of another type."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.providers.registry import Format


class Kept(NamedTuple):
    """The row is kept whole, and the reason names this."""

    named: str


class Refused(NamedTuple):
    """The whole body is refused, with this in the place or in the reason."""

    named: str


class Changed(NamedTuple):
    """The row is understood: its event is the template's, but for these values (None: left out)."""

    values: dict[str, Any]


class Nothing(NamedTuple):
    """The row is understood, and there is no such event."""


Outcome = Kept | Refused | Changed | Nothing
SAME = Changed({})
NOTHING = Nothing()

NO_TEXT: tuple[Any, ...] = (True, [], {"a": 1})
NO_WORD: tuple[Any, ...] = (5, True, [], {"a": 1})
NO_FLAG: tuple[Any, ...] = ("true", 1, [], {"a": 1})
NO_AMOUNT: tuple[Any, ...] = (True, "x", [], {"a": 1})
NO_DAY: tuple[Any, ...] = (5, True, "soon", [], {"a": 1})
NO_TIME: tuple[Any, ...] = (True, "soon", [], {"a": 1})
NO_OBJECT: tuple[Any, ...] = (5, True, "x", [])
NO_ARRAY: tuple[Any, ...] = (5, True, "x", {"a": 1})


@dataclass(frozen=True)
class Odd:
    """A field by its path: the outcome where it is null or absent, and where it is one of `others`."""

    path: str
    missing: Outcome
    other: Outcome
    others: tuple[Any, ...]
    absent: Outcome | None = None


def texts(path: str, missing: dict[str, Any]) -> Odd:
    """A field that only people read: of another type it is as if it were missing."""
    return Odd(path, Changed(missing), Changed(missing), NO_TEXT)


def kept(path: str, others: tuple[Any, ...], missing: Outcome | None = None) -> Odd:
    """A field that is not understood where it is of another type, nor where it is missing unless that is said."""
    name = path.rpartition(".")[2]
    return Odd(path, Kept(name) if missing is None else missing, Kept(name), others)


def ignored(path: str, others: tuple[Any, ...]) -> Odd:
    """A field that is not looked at, because another one that comes before it is there."""
    return Odd(path, SAME, SAME, others)


@dataclass(frozen=True)
class Table:
    """A body, the path of the row in it whose fields are made odd, the event that the row becomes, and the fields.

    `said` is what the caller says about the body besides `pulled_at`.
    """

    format: Format
    body: Any
    row: str
    event: str
    fields: tuple[Odd, ...]
    said: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """A table's body with one field made odd."""

    name: str
    table: Table
    body: Any
    outcome: Outcome


ABSENT = object()
"""In place of a value: the field is taken away."""


def variants(tables: tuple[Table, ...]) -> Iterator[Variant]:
    """Every field of the tables, null, absent, and of each other type."""
    for table in tables:
        for odd in table.fields:
            path = ".".join(part for part in (table.row, odd.path) if part)
            cases = [("null", None, odd.missing), ("absent", ABSENT, odd.absent or odd.missing)]
            cases += [(repr(other), other, odd.other) for other in odd.others]
            for name, value, outcome in cases:
                yield Variant(f"{table.format} {path} {name}", table, changed(table.body, path, value), outcome)


def changed(body: Any, path: str, value: Any) -> Any:
    """The body with the value at that path replaced, or taken away."""
    whole = copy.deepcopy(body)
    place: Any = whole
    *above, last = path.split(".")
    for name in above:
        place = place[int(name) if isinstance(place, list) else name]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return whole


_PLAID_ROW = {
    "account_id": "a",
    "transaction_id": "t1",
    "pending_transaction_id": "p1",
    "amount": 12,
    "iso_currency_code": "USD",
    "unofficial_currency_code": None,
    "date": "2026-03-09",
    "datetime": "2026-03-09T10:00:00Z",
    "pending": False,
    "merchant_name": "Shop",
    "name": "SHOP 12",
    "personal_finance_category": {"primary": "FOOD"},
}
_PLAID_ACCOUNT = {
    "account_id": "a",
    "type": "depository",
    "name": "Main",
    "official_name": "Main account",
    "balances": {
        "current": 5,
        "available": 4,
        "iso_currency_code": "USD",
        "unofficial_currency_code": None,
        "last_updated_datetime": "2026-03-10T06:00:00Z",
    },
}
_PLAID_PAGE = {
    "accounts": [],
    "added": [_PLAID_ROW],
    "modified": [],
    "removed": [{"account_id": "a", "transaction_id": "t9"}],
}
_PULLED_TEXT = "2026-03-10T12:00:00+00:00"
PLAID = (
    Table(
        Format.PLAID_SYNC,
        _PLAID_PAGE,
        "",
        "transaction.recorded",
        (
            Odd("accounts", SAME, Refused("accounts"), NO_ARRAY),
            Odd("added", NOTHING, Refused("added"), NO_ARRAY),
            Odd("modified", SAME, Refused("modified"), NO_ARRAY),
            Odd("removed", SAME, Refused("removed"), NO_ARRAY),
        ),
    ),
    Table(
        Format.PLAID_SYNC,
        _PLAID_PAGE,
        "added.0",
        "transaction.recorded",
        (
            kept("account_id", NO_WORD),
            kept("transaction_id", NO_WORD),
            kept("pending_transaction_id", NO_WORD, Changed({"replaces": None})),
            kept("amount", NO_AMOUNT),
            kept("iso_currency_code", NO_WORD, Refused("currency")),
            ignored("unofficial_currency_code", (*NO_WORD, "BTC")),
            kept("date", NO_DAY, SAME),
            Odd("datetime", Changed({"posted_at": "2026-03-09"}), Changed({"posted_at": "2026-03-09"}), (5, *NO_TIME)),
            kept("pending", NO_FLAG, SAME),
            texts("merchant_name", {"description": "SHOP 12"}),
            texts("name", {}),
            texts("personal_finance_category", {"category": None}),
            texts("personal_finance_category.primary", {"category": None}),
        ),
    ),
    Table(
        Format.PLAID_SYNC,
        _PLAID_PAGE,
        "removed.0",
        "transaction.removed",
        (kept("account_id", NO_WORD), kept("transaction_id", NO_WORD)),
    ),
    Table(
        Format.PLAID_BALANCES,
        {"accounts": [_PLAID_ACCOUNT]},
        "accounts.0",
        "balance.reported",
        (
            kept("account_id", NO_WORD),
            kept("type", NO_WORD, Changed({"kind": None})),
            texts("name", {}),
            texts("official_name", {}),
            kept("balances", NO_OBJECT, NOTHING),
            kept("balances.current", NO_AMOUNT, NOTHING),
            kept("balances.available", NO_AMOUNT, Changed({"available": None})),
            kept("balances.iso_currency_code", NO_WORD, Refused("currency")),
            ignored("balances.unofficial_currency_code", (*NO_WORD, "BTC")),
            kept("balances.last_updated_datetime", NO_TIME, Changed({"as_of": _PULLED_TEXT})),
        ),
    ),
)

_TELLER_ROW = {
    "id": "txn_1",
    "account_id": "acc",
    "amount": "-42.50",
    "currency": "USD",
    "date": "2026-03-09",
    "status": "posted",
    "details": {"category": "groceries", "counterparty": {"name": "Shop"}},
    "description": "SHOP 12",
}
_OF_NOBODY = {"category": None, "description": "SHOP 12"}
TELLER = (
    Table(
        Format.TELLER,
        [_TELLER_ROW, copy.deepcopy(_TELLER_ROW) | {"id": "txn_2", "status": "pending"}],
        "0",
        "transaction.recorded",
        (
            kept("account_id", NO_WORD),
            kept("id", NO_WORD),
            kept("amount", NO_AMOUNT),
            kept("currency", NO_WORD, SAME),
            kept("date", NO_DAY),
            kept("status", (*NO_WORD, "settled"), SAME),
            texts("details", _OF_NOBODY),
            texts("details.category", {"category": None}),
            texts("details.counterparty", {"description": "SHOP 12"}),
            texts("details.counterparty.name", {"description": "SHOP 12"}),
            texts("description", {}),
        ),
        {"kind": "asset", "currency": "USD"},
    ),
    Table(
        Format.TELLER,
        {"account_id": "acc", "ledger": "28.57", "available": "20.00", "currency": "USD"},
        "",
        "balance.reported",
        (
            kept("account_id", NO_WORD),
            kept("ledger", NO_AMOUNT, NOTHING),
            kept("available", NO_AMOUNT, Changed({"available": None})),
            kept("currency", NO_WORD, Refused("currency")),
        ),
        {"kind": "asset"},
    ),
    Table(
        Format.TELLER,
        [{"id": "acc", "enrollment_id": "enr", "name": "Main", "type": "credit", "status": "open"}],
        "0",
        "account.changed",
        (
            kept("id", NO_WORD),
            kept("type", NO_WORD, Changed({"kind": None})),
            kept("status", NO_WORD, SAME),
            texts("name", {"name": None}),
        ),
    ),
)

_BOOKED = {
    "internalTransactionId": "i1",
    "bookingDate": "2026-03-09",
    "bookingDateTime": "2026-03-09T10:00:00Z",
    "valueDate": "2026-03-10",
    "valueDateTime": "2026-03-10T10:00:00Z",
    "transactionAmount": {"amount": "-5.50", "currency": "EUR"},
    "remittanceInformationUnstructured": "Coffee",
    "remittanceInformationUnstructuredArray": ["Coffee", "Tea"],
    "creditorName": "Bar",
    "debtorName": "Me",
}
_CLOSED = {
    "balanceType": "closingBooked",
    "balanceAmount": {"amount": "100.00", "currency": "EUR"},
    "referenceDate": "2026-03-09",
    "creditLimitIncluded": False,
}
_OF_ACCOUNT = {"account_id": "g1"}
GOCARDLESS = (
    Table(
        Format.GOCARDLESS,
        {"transactions": {"booked": [_BOOKED], "pending": []}, "last_updated": "2026-03-10T06:00:00Z"},
        "",
        "transaction.recorded",
        (
            Odd("transactions", NOTHING, Refused("transactions"), NO_OBJECT, absent=Refused("")),
            Odd("transactions.booked", NOTHING, Refused("transactions.booked"), NO_ARRAY),
            Odd("transactions.pending", SAME, Refused("transactions.pending"), NO_ARRAY),
            Odd("last_updated", SAME, Refused("last_updated"), NO_TIME),
        ),
        _OF_ACCOUNT,
    ),
    Table(
        Format.GOCARDLESS,
        {
            "transactions": {
                "booked": [_BOOKED, copy.deepcopy(_BOOKED) | {"internalTransactionId": "i2"}],
                "pending": [],
            }
        },
        "transactions.booked.0",
        "transaction.recorded",
        (
            kept("internalTransactionId", NO_WORD, Changed({"transaction_id": "row:2026-03-09:-5.50:EUR:1"})),
            kept("bookingDate", NO_DAY, SAME),
            Odd("bookingDateTime", Changed({"posted_at": "2026-03-09"}), Changed({"posted_at": "2026-03-09"}), NO_TIME),
            ignored("valueDate", NO_DAY),
            ignored("valueDateTime", NO_TIME),
            kept("transactionAmount", (*NO_OBJECT, {})),
            kept("transactionAmount.amount", NO_AMOUNT),
            kept("transactionAmount.currency", NO_WORD, Refused("currency")),
            texts("remittanceInformationUnstructured", {}),
            texts("remittanceInformationUnstructuredArray", {}),
            texts("creditorName", {}),
            texts("debtorName", {}),
        ),
        _OF_ACCOUNT,
    ),
    Table(
        Format.GOCARDLESS,
        {"balances": [_CLOSED]},
        "",
        "balance.reported",
        (Odd("balances", NOTHING, Kept("balances"), (*NO_ARRAY, [5]), absent=Refused("balances")),),
        _OF_ACCOUNT,
    ),
    Table(
        Format.GOCARDLESS,
        {"balances": [_CLOSED]},
        "balances.0",
        "balance.reported",
        (
            kept("balanceType", NO_WORD, NOTHING),
            kept("balanceAmount", NO_OBJECT, NOTHING),
            kept("balanceAmount.amount", NO_AMOUNT, NOTHING),
            kept("balanceAmount.currency", NO_WORD, Refused("currency")),
            kept("referenceDate", NO_DAY, Changed({"as_of": _PULLED_TEXT})),
            kept("creditLimitIncluded", NO_FLAG, SAME),
        ),
        _OF_ACCOUNT,
    ),
    Table(
        Format.GOCARDLESS,
        {"account": {"displayName": "Visa", "cashAccountType": "CARD", "status": "enabled", "product": "Gold"}},
        "",
        "account.changed",
        (Odd("account", NOTHING, Kept("object"), NO_OBJECT, absent=Refused("")),),
        _OF_ACCOUNT,
    ),
    Table(
        Format.GOCARDLESS,
        {"account": {"displayName": "Visa", "cashAccountType": "CARD", "status": "enabled", "product": "Gold"}},
        "account",
        "account.changed",
        (
            kept("cashAccountType", NO_WORD, Changed({"kind": None})),
            kept("status", NO_WORD, Changed({"closed": None})),
            texts("displayName", {"name": "Gold"}),
            texts("product", {}),
        ),
        _OF_ACCOUNT,
    ),
    Table(
        Format.GOCARDLESS,
        {"id": "g1", "institution_id": "BANK", "status": "READY"},
        "",
        "connection.changed",
        (kept("id", NO_WORD), kept("status", NO_WORD, NOTHING)),
    ),
)

_MX_ROW = {
    "guid": "TRN-1",
    "account_guid": "ACT-1",
    "parent_guid": "TRN-0",
    "has_been_split": False,
    "is_deleted": False,
    "action": None,
    "amount": "61.11",
    "type": "DEBIT",
    "status": "POSTED",
    "currency_code": "USD",
    "posted_at": "2026-03-09T12:00:00Z",
    "date": "2026-03-08",
    "transacted_at": "2026-03-08T12:00:00Z",
    "updated_at": "2026-03-09T18:00:00Z",
    "deleted_at": None,
    "category": "Food",
    "category_name": "FOOD",
    "description": "Shop",
    "original_description": "SHOP 12",
}
_MX_ACCOUNT = {
    "guid": "ACT-1",
    "account_type": "SAVINGS",
    "type": "SAVINGS",
    "nickname": "Mine",
    "name": "Main",
    "is_closed": False,
    "is_deleted": False,
    "balance": "5",
    "available_balance": "4",
    "currency_code": "USD",
    "updated_at": "2026-03-09T18:00:00Z",
}
MX = (
    *(
        Table(Format.MX, {name: [row]}, "", event, (Odd(name, NOTHING, Refused(name), NO_ARRAY, absent=Refused(name)),))
        for name, row, event in (
            ("transactions", _MX_ROW, "transaction.recorded"),
            ("accounts", _MX_ACCOUNT, "balance.reported"),
        )
    ),
    Table(
        Format.MX,
        {"transactions": [_MX_ROW, _MX_ROW | {"guid": "TRN-2"}]},
        "transactions.0",
        "transaction.recorded",
        (
            kept("guid", NO_WORD),
            kept("account_guid", NO_WORD),
            kept("parent_guid", NO_WORD, Changed({"replaces": None})),
            kept("has_been_split", NO_FLAG, SAME),
            kept("is_deleted", NO_FLAG, SAME),
            kept("action", NO_WORD, SAME),
            kept("amount", NO_AMOUNT),
            kept("type", (5, True, "OTHER", [], {"a": 1})),
            kept("status", (5, True, "OTHER", [], {"a": 1}), SAME),
            kept("currency_code", NO_WORD, Refused("currency")),
            kept("posted_at", NO_TIME, Changed({"posted_at": "2026-03-08"})),
            ignored("date", NO_TIME),
            ignored("transacted_at", NO_TIME),
            kept("updated_at", NO_TIME, SAME),
            kept("deleted_at", NO_TIME, SAME),
            texts("category", {"category": "FOOD"}),
            texts("category_name", {}),
            texts("description", {"description": "SHOP 12"}),
            texts("original_description", {}),
        ),
    ),
    Table(
        Format.MX,
        {"accounts": [_MX_ACCOUNT]},
        "accounts.0",
        "balance.reported",
        (
            kept("guid", NO_WORD),
            kept("account_type", NO_TIME[:1] + NO_TIME[2:], SAME),
            ignored("type", NO_WORD),
            texts("nickname", {}),
            texts("name", {}),
            kept("is_closed", NO_FLAG, SAME),
            kept("is_deleted", NO_FLAG, SAME),
            kept("balance", NO_AMOUNT, NOTHING),
            kept("available_balance", NO_AMOUNT, Changed({"available": None})),
            kept("currency_code", NO_WORD, Refused("currency")),
            kept("updated_at", NO_TIME, Changed({"as_of": _PULLED_TEXT})),
        ),
    ),
    Table(
        Format.MX,
        {"members": [{"guid": "MBR-1", "connection_status": "CONNECTED", "is_deleted": False}]},
        "members.0",
        "connection.changed",
        (kept("guid", NO_WORD), kept("connection_status", NO_WORD, NOTHING), kept("is_deleted", NO_FLAG, SAME)),
    ),
)

_SIMPLEFIN_ROW = {
    "id": "TRN-1",
    "posted": 1773057600,
    "amount": "-12.50",
    "description": "SHOP 12",
    "payee": "Shop",
    "memo": "Thanks",
    "transacted_at": 1773000000,
    "pending": False,
    "extra": {"category": "food"},
}
_SIMPLEFIN_ACCOUNT = {
    "id": "ACT-1",
    "name": "Daily",
    "conn_id": "CON-1",
    "currency": "USD",
    "balance": "100.23",
    "available-balance": "75.20",
    "balance-date": 1773123300,
    "transactions": [_SIMPLEFIN_ROW],
    "extra": {},
}
_BLAMED = {
    "errlist": [{"code": "con.auth", "msg": "Sign in again", "conn_id": "CON-1"}],
    "connections": [{"conn_id": "CON-1", "name": "Bank", "org_id": "ORG-1"}],
    "accounts": [_SIMPLEFIN_ACCOUNT | {"transactions": []}],
}
_HEALTHY = Changed({"state": "healthy", "reason": None})
_OF_ASSETS = {"kind": "asset"}
SIMPLEFIN = (
    Table(
        Format.SIMPLEFIN,
        {"errors": [], "accounts": [_SIMPLEFIN_ACCOUNT]},
        "",
        "transaction.recorded",
        (
            Odd("accounts", NOTHING, Refused("accounts"), NO_ARRAY, absent=Refused("accounts")),
            Odd("accounts.0.transactions", NOTHING, Refused("transactions"), NO_ARRAY),
            Odd("errors", SAME, SAME, NO_ARRAY),
        ),
        _OF_ASSETS,
    ),
    Table(
        Format.SIMPLEFIN,
        {"accounts": [_SIMPLEFIN_ACCOUNT | {"transactions": [_SIMPLEFIN_ROW, _SIMPLEFIN_ROW | {"id": "TRN-2"}]}]},
        "accounts.0.transactions.0",
        "transaction.recorded",
        (
            kept("id", NO_WORD),
            kept("posted", NO_TIME),
            kept("amount", NO_AMOUNT),
            texts("payee", {"description": "SHOP 12"}),
            texts("description", {}),
            texts("memo", {}),
            kept("pending", NO_FLAG, SAME),
            ignored("transacted_at", NO_TIME),
            texts("extra", {"category": None}),
            texts("extra.category", {"category": None}),
        ),
        _OF_ASSETS,
    ),
    Table(
        Format.SIMPLEFIN,
        {"accounts": [_SIMPLEFIN_ACCOUNT | {"transactions": []}]},
        "accounts.0",
        "balance.reported",
        (
            kept("id", NO_WORD),
            texts("name", {}),
            kept("currency", (*NO_WORD, "https://bank.example/miles"), Refused("currency")),
            kept("balance", NO_AMOUNT, NOTHING),
            kept("available-balance", NO_AMOUNT, Changed({"available": None})),
            kept("balance-date", NO_TIME, Changed({"as_of": _PULLED_TEXT})),
            ignored("conn_id", NO_WORD),
            ignored("extra", NO_OBJECT),
        ),
        _OF_ASSETS,
    ),
    Table(
        Format.SIMPLEFIN,
        _BLAMED,
        "",
        "connection.changed",
        (
            Odd("errlist", NOTHING, Refused("errlist"), NO_ARRAY),
            Odd("errlist.0.code", _HEALTHY, _HEALTHY, (*NO_WORD, "act.failed")),
            Odd("errlist.0.conn_id", _HEALTHY, _HEALTHY, NO_WORD),
            texts("errlist.0.msg", {}),
            Odd("connections", SAME, Refused("connections"), NO_ARRAY),
            texts("connections.0.name", {}),
            Odd("accounts.0.conn_id", NOTHING, NOTHING, NO_WORD),
        ),
        _OF_ASSETS,
    ),
    Table(Format.SIMPLEFIN, _BLAMED, "connections.0", "connection.changed", (kept("conn_id", NO_WORD),), _OF_ASSETS),
)

_ENABLE_BANKING_ROW = {
    "entry_reference": "e1",
    "transaction_id": "opaque",
    "transaction_amount": {"amount": "5.50", "currency": "EUR"},
    "credit_debit_indicator": "DBIT",
    "status": "BOOK",
    "booking_date": "2026-03-09",
    "value_date": "2026-03-10",
    "transaction_date": "2026-03-08",
    "creditor": {"name": "Bar"},
    "debtor": {"name": "Me"},
    "remittance_information": ["Coffee", "Tea"],
}
_CLBD = {
    "name": "Booked",
    "balance_type": "CLBD",
    "balance_amount": {"amount": "100.00", "currency": "EUR"},
    "last_change_date_time": "2026-03-09T20:00:00Z",
    "reference_date": "2026-03-09",
}
_NUMBERED = "row:2026-03-09:-5.50:EUR:1"
_OF_AN_ASSET = _OF_ACCOUNT | _OF_ASSETS
ENABLE_BANKING = (
    Table(
        Format.ENABLEBANKING,
        {"transactions": [_ENABLE_BANKING_ROW], "continuation_key": None},
        "",
        "transaction.recorded",
        (
            Odd("transactions", NOTHING, Refused("transactions"), NO_ARRAY, absent=Refused("transactions")),
            Odd("continuation_key", SAME, Refused("continuation_key"), (*NO_WORD, "more")),
        ),
        _OF_ACCOUNT,
    ),
    Table(
        Format.ENABLEBANKING,
        {
            "transactions": [
                _ENABLE_BANKING_ROW,
                copy.deepcopy(_ENABLE_BANKING_ROW) | {"entry_reference": "e2", "booking_date": "2026-03-05"},
            ]
        },
        "transactions.0",
        "transaction.recorded",
        (
            kept("entry_reference", NO_WORD, Changed({"transaction_id": _NUMBERED, "replaces": None})),
            ignored("transaction_id", NO_WORD),
            kept("transaction_amount", (*NO_OBJECT, {})),
            kept("transaction_amount.amount", (*NO_AMOUNT, "-5.50")),
            kept("transaction_amount.currency", NO_WORD, Refused("currency")),
            kept("credit_debit_indicator", (*NO_WORD, "OTHR")),
            kept("status", (*NO_WORD, "booked")),
            kept(
                "booking_date", NO_DAY, Changed({"posted_at": "2026-03-10", "replaces": "row:2026-03-10:-5.50:EUR:1"})
            ),
            ignored("value_date", NO_DAY),
            ignored("transaction_date", NO_DAY),
            texts("creditor", {"description": "Coffee"}),
            texts("creditor.name", {"description": "Coffee"}),
            texts("debtor", {}),
            texts("remittance_information", {}),
        ),
        _OF_ACCOUNT,
    ),
    Table(
        Format.ENABLEBANKING,
        {"balances": [_CLBD]},
        "",
        "balance.reported",
        (Odd("balances", NOTHING, Kept("balances"), (*NO_ARRAY, [5]), absent=Refused("balances")),),
        _OF_AN_ASSET,
    ),
    Table(
        Format.ENABLEBANKING,
        {"balances": [_CLBD]},
        "balances.0",
        "balance.reported",
        (
            kept("balance_type", NO_WORD, NOTHING),
            kept("balance_amount", NO_OBJECT, NOTHING),
            kept("balance_amount.amount", NO_AMOUNT, NOTHING),
            kept("balance_amount.currency", NO_WORD, Refused("currency")),
            kept("reference_date", NO_DAY, Changed({"as_of": _PULLED_TEXT})),
            ignored("last_change_date_time", NO_TIME),
            texts("name", {}),
        ),
        _OF_AN_ASSET,
    ),
    Table(
        Format.ENABLEBANKING,
        {"identification_hash": "g1", "cash_account_type": "CARD", "details": "Gold", "product": "Card", "name": "Me"},
        "",
        "account.changed",
        (
            kept("cash_account_type", NO_WORD, Changed({"kind": None})),
            ignored("identification_hash", NO_WORD),
            texts("details", {"name": "Card"}),
            texts("product", {}),
            texts("name", {}),
        ),
        _OF_ACCOUNT,
    ),
)
TABLES: tuple[Table, ...] = (*PLAID, *TELLER, *GOCARDLESS, *MX, *SIMPLEFIN, *ENABLE_BANKING)
