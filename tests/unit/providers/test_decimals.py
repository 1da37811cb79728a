"""Currencies without decimals, or with three: amounts are exact in each, whatever number of zeros a bank writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.providers.contracts import Adapted
from core.providers.registry import Format, adapt
from core.providers.rows import ROW_TYPE
from tests.unit.providers import test_enablebanking as enable_banking
from tests.unit.providers import test_gocardless as gocardless
from tests.unit.providers import test_mx as mx
from tests.unit.providers import test_plaid as plaid
from tests.unit.providers import test_simplefin as simplefin
from tests.unit.providers import test_teller as teller
from tests.unit.providers.adapted import context, counted, values

BODIES: dict[Format, Callable[[str, str], Any]] = {
    Format.PLAID_SYNC: lambda amount, currency: {"added": [plaid.row(amount=f"-{amount}", iso_currency_code=currency)]},
    Format.TELLER: lambda amount, _: [teller.row(amount=amount)],
    Format.GOCARDLESS: lambda amount, currency: {
        "transactions": {"booked": [gocardless.row(transactionAmount={"amount": amount, "currency": currency})]}
    },
    Format.MX: lambda amount, currency: {"transactions": [mx.row(amount, "CREDIT", currency_code=currency)]},
    Format.SIMPLEFIN: lambda amount, currency: {
        "accounts": [simplefin.account(simplefin.row(amount), currency=currency, balance="0.000")]
    },
    Format.ENABLEBANKING: lambda amount, currency: {
        "transactions": [
            enable_banking.row(
                transaction_amount={"amount": amount, "currency": currency}, credit_debit_indicator="CRDT"
            )
        ]
    },
}


def adapted(format: Format, amount: str, currency: str) -> Adapted:
    """What a body becomes with one row, of money that came in."""
    said = {} if format is Format.PLAID_SYNC else {"kind": "asset", "account_id": "a", "currency": currency}
    return adapt(format, BODIES[format](amount, currency), context(**said))


@pytest.mark.parametrize("format", BODIES)
@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12000", "KRW", 12_000),
        ("12000.00", "KRW", 12_000),
        ("1.234", "KWD", 1_234),
        ("1.2", "KWD", 1_200),
        ("5.5", "USD", 550),
        ("5.500", "USD", 550),
    ],
)
def test_an_amount_is_that_of_its_currency(format: Format, amount: str, currency: str, minor: int) -> None:
    """Twelve thousand won are twelve thousand units, not hundredths; zeros behind them change nothing."""
    assert list(counted(adapted(format, amount, currency).events).values()) == [minor]


@pytest.mark.parametrize("format", BODIES)
@pytest.mark.parametrize(("amount", "currency"), [("12000.50", "KRW"), ("1.2345", "KWD"), ("5.505", "USD")])
def test_an_amount_with_decimals_that_its_currency_has_not_is_kept_whole(
    format: Format, amount: str, currency: str
) -> None:
    """It is not rounded: nobody knows whether a digit or the currency is wrong."""
    types = [type for type, _ in values(adapted(format, amount, currency))]
    assert ROW_TYPE.removeprefix("milepost.") in types
    assert "transaction.recorded" not in types
