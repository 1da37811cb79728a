"""Signs: what an account is registered with turns the amounts of every adapter, and no available balance misleads."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from core.events.envelope import check_envelope, parse_json
from core.ingestion.parse import parse_event
from core.providers.contracts import KnownAccount, Sign
from core.providers.registry import Format, accounts_named, adapt
from tests.unit.providers.adapted import PULLED, UTC_ZONE, context, counted, later, only, values
from tests.unit.providers.odd_fields import TABLES, Table, changed
from tests.unit.providers.test_gocardless import entry

FAMILIES = {format.partition("-")[0] for format in Format}
AMOUNTS = [table for table in TABLES if table.event in ("transaction.recorded", "balance.reported")]
TURNS: dict[str | None, tuple[int, int]] = {
    None: (1, 1),
    Sign.AS_GIVEN: (1, 1),
    Sign.REVERSED: (-1, -1),
    Sign.REVERSED_AMOUNTS: (-1, 1),
    Sign.REVERSED_BALANCES: (1, -1),
}


def test_every_format_is_tried_with_every_sign() -> None:
    """A new provider needs tables of its transactions and of its balances."""
    for event in ("transaction.recorded", "balance.reported"):
        assert {table.format.partition("-")[0] for table in AMOUNTS if table.event == event} == FAMILIES


def registered(table: Table, sign: str | None) -> list[tuple[str, dict[str, Any]]]:
    """What the table's body becomes if all its accounts are registered with that sign."""
    names = accounts_named(table.format, table.body) | {table.said.get("account_id", "a")}
    accounts = {name: KnownAccount(name, sign=sign) for name in names}
    return values(adapt(table.format, table.body, context(accounts=accounts, **table.said)))


@pytest.mark.parametrize("sign", list(TURNS))
@pytest.mark.parametrize("table", AMOUNTS, ids=lambda table: f"{table.format} {table.row} {table.event}")
def test_a_sign_turns_the_amounts_the_balances_or_both_of_every_provider(table: Table, sign: str | None) -> None:
    """Nothing else changes, not even the ids that are made of amounts; `available` is left out where balances turn."""
    amounts, balances = TURNS[sign]
    before, after = registered(table, None), registered(table, sign)
    assert len(before) == len(after)
    for (type, given), (_, turned) in zip(before, after, strict=True):
        expected = dict(given)
        if type == "transaction.recorded":
            expected["amount"] = str(Decimal(given["amount"]) * amounts)
        if type == "balance.reported":
            expected["current"] = str(Decimal(given["current"]) * balances)
            if balances < 0:
                expected.pop("available", None)
        assert turned == expected


def test_nothing_owed_is_nothing_owed_in_either_sign() -> None:
    """Zero has no sign."""
    zero = {"balances": [entry("interimBooked", "0.00")]}
    known = {"g1": KnownAccount("card", kind="liability", sign=Sign.REVERSED)}
    reported = only(adapt(Format.GOCARDLESS, zero, context(accounts=known, account_id="g1")), "balance.reported")
    assert reported["current"] == "0.00"


def test_a_card_whose_bank_writes_spending_as_positive_is_owed_what_it_says() -> None:
    """Spent 250.00 and owed 3,250.00, both written as positive; what is left of the limit is not taken."""
    known = {"g1": KnownAccount("card", kind="liability", currency="EUR", sign=Sign.REVERSED)}
    spent = {"internalTransactionId": "s1", "bookingDate": "2026-03-08"}
    spent |= {"transactionAmount": {"amount": "250.00", "currency": "EUR"}}
    pulled = adapt(Format.GOCARDLESS, {"transactions": {"booked": [spent]}}, context(accounts=known, account_id="g1"))
    assert counted(pulled.events) == {"s1": -25000}
    body = {"balances": [entry("expected", "3250.00"), entry("interimAvailable", "46750.00")]}
    reported = only(adapt(Format.GOCARDLESS, body, context(accounts=known, account_id="g1")), "balance.reported")
    assert (reported["current"], reported["kind"], "available" in reported) == ("3250.00", "liability", False)


def test_a_sign_that_is_registered_later_corrects_what_is_pulled_again() -> None:
    """The row keeps its key, so the later pull is the same transaction with the right sign."""
    row = {"bookingDate": "2026-03-08", "transactionAmount": {"amount": "250.00", "currency": "EUR"}}
    body = {"transactions": {"booked": [row]}}
    wrong = adapt(Format.GOCARDLESS, body, context(account_id="g1")).events
    known = {"g1": KnownAccount("g1", sign=Sign.REVERSED_AMOUNTS)}
    right = adapt(Format.GOCARDLESS, body, later(accounts=known, account_id="g1")).events
    assert list(counted([*right, *wrong]).values()) == [-25000]


def test_a_row_that_was_kept_whole_is_turned_when_it_is_understood() -> None:
    """The registration of its time is kept with it."""
    known = {"g1": KnownAccount("card", sign=Sign.REVERSED)}
    row = {"internalTransactionId": "s1", "bookingDate": "9 March"}
    row |= {"transactionAmount": {"amount": "250.00", "currency": "EUR"}}
    said = context(accounts=known, account_id="g1")
    kept = check_envelope(
        parse_json(adapt(Format.GOCARDLESS, {"transactions": {"booked": [row]}}, said).events[-1].event)
    )
    mended = kept._replace(data=changed(kept.data, "row.bookingDate", "2026-03-09"))
    (stated,) = parse_event(mended, UTC_ZONE, PULLED)
    assert stated.transaction is not None
    assert stated.transaction.amount_minor == -25000


AVAILABLE: dict[Format, tuple[Any, dict[str, Any]]] = {
    Format.PLAID_BALANCES: (
        {
            "accounts": [
                {
                    "account_id": "a",
                    "type": "credit",
                    "balances": {"current": None, "available": 5000, "iso_currency_code": "EUR"},
                }
            ]
        },
        {},
    ),
    Format.TELLER: ({"account_id": "a", "ledger": None, "available": "5000.00"}, {"currency": "EUR"}),
    Format.GOCARDLESS: ({"balances": [entry("interimAvailable", "5000.00")]}, {"account_id": "a"}),
    Format.MX: (
        {
            "accounts": [
                {"guid": "a", "type": "CREDIT_CARD", "balance": None, "available_balance": 5000, "currency_code": "EUR"}
            ]
        },
        {},
    ),
    Format.SIMPLEFIN: (
        {"accounts": [{"id": "a", "balance": None, "available-balance": "5000.00", "currency": "EUR"}]},
        {},
    ),
    Format.ENABLEBANKING: (
        {"balances": [{"balance_type": "ITAV", "balance_amount": {"amount": "5000.00", "currency": "EUR"}}]},
        {"account_id": "a"},
    ),
}


@pytest.mark.parametrize("known", ["query", "registration", "recorded", "body"])
@pytest.mark.parametrize("format", list(AVAILABLE))
def test_an_available_balance_of_a_liability_is_no_balance(format: Format, known: str) -> None:
    """Whoever says that it is a liability: it is what is left of a limit, and no adapter takes it for money."""
    if known == "body" and format not in (Format.PLAID_BALANCES, Format.MX):
        pytest.skip("its balances do not say what kind of account it is")
    body, said = AVAILABLE[format]
    said = dict(said)
    if known == "query":
        said["kind"] = "liability"
    elif known != "body":
        said["accounts"] = {
            "a": KnownAccount("a", **{"kind" if known == "registration" else "recorded_kind": "liability"})
        }
    assert "balance.reported" not in [type for type, _ in values(adapt(format, body, context(**said)))]


@pytest.mark.parametrize("type", ["interimAvailable", "closingAvailable"])
@pytest.mark.parametrize("kind", ["asset", None])
def test_an_available_balance_of_an_asset_is_taken_where_no_booked_one_is_given(type: str, kind: str | None) -> None:
    """Unless its balances come with the opposite sign: nobody can tell whether what is available does."""
    body = {"balances": [entry(type, "50.00")]}
    for sign, current in ((None, "50.00"), (Sign.REVERSED_AMOUNTS, "50.00"), (Sign.REVERSED, None)):
        known = {"g1": KnownAccount("g1", kind=kind, sign=sign)}
        adapted = adapt(Format.GOCARDLESS, body, context(accounts=known, account_id="g1"))
        reported = [data["current"] for found, data in values(adapted) if found == "balance.reported"]
        assert reported == ([] if current is None else [current])


@pytest.mark.parametrize("table", AMOUNTS, ids=lambda table: f"{table.format} {table.row} {table.event}")
def test_no_report_of_a_liability_says_what_is_available(table: Table) -> None:
    """Whatever a provider writes there, it is not the holder's money."""
    names = accounts_named(table.format, table.body) | {table.said.get("account_id", "a")}
    accounts = {name: KnownAccount(name, kind="liability") for name in names}
    for _, data in values(adapt(table.format, table.body, context(accounts=accounts, **table.said))):
        assert "available" not in data


def test_a_card_that_gives_no_balance_is_known_as_a_liability_all_the_same() -> None:
    """Its worth is unknown; whose it is and of what kind is not."""
    body = {"balances": [entry("interimAvailable", "5000.00")]}
    adapted = adapt(Format.GOCARDLESS, body, context(account_id="g1", kind="liability", user_id="u"))
    assert values(adapted) == [("account.changed", {"account_id": "g1", "user_id": "u", "kind": "liability"})]
