"""A reached milestone is announced in a plain sentence with its exact amount."""

from __future__ import annotations

import pytest

from core.goals.progress import celebration


@pytest.mark.parametrize(
    ("amount", "currency", "printed"),
    [
        (500_000, "USD", "Milestone reached: 5,000.00 USD."),
        (0, "USD", "Milestone reached: 0.00 USD."),
        (-250_000, "EUR", "Milestone reached: -2,500.00 EUR."),
        (1_000_000, "JPY", "Milestone reached: 1,000,000 JPY."),
        (12_345_678, "KWD", "Milestone reached: 12,345.678 KWD."),
        (10**17 + 1, "USD", "Milestone reached: 1,000,000,000,000,000.01 USD."),
    ],
)
def test_the_amount_has_all_its_digits(amount: int, currency: str, printed: str) -> None:
    """As many decimals as the currency has, however large the amount, with commas between thousands."""
    assert celebration(1, amount, currency, None) == printed


def test_a_debt_says_what_is_left_to_pay() -> None:
    """A debt's amount is what is still owed."""
    assert celebration(-1, 600_000, "USD", None) == "Milestone reached: down to 6,000.00 USD."
    printed = "Milestone reached: down to 0.00 USD (Debt reduced to $0.00)."
    assert celebration(-1, 0, "USD", "Debt reduced to $0.00") == printed


@pytest.mark.parametrize("description", [None, "", "  ", "\n"])
def test_without_a_description_there_is_nothing_in_brackets(description: str | None) -> None:
    """No description and a blank one are the same."""
    assert celebration(1, 100, "USD", description) == "Milestone reached: 1.00 USD."


def test_a_description_of_several_lines_comes_on_one() -> None:
    """Lines and tabs become spaces, so that it stays one sentence."""
    assert celebration(1, 100, "USD", "25%\n\tto fund") == "Milestone reached: 1.00 USD (25% to fund)."
