"""Amounts among floats: what a float stands for, and arithmetic that stays exact."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.goals.money import MAX_MINOR, digits, to_decimal
from milepost.client.records import Exact, read_float

MINOR = st.integers(-MAX_MINOR, MAX_MINOR)


@given(MINOR, st.sampled_from(["USD", "JPY", "KWD"]))
def test_every_amount_comes_back_from_a_float(minor: int, currency: str) -> None:
    """No amount that Milepost takes loses a digit by way of a float, in any currency."""
    amount = to_decimal(minor, currency)
    assert read_float(float(amount)) == amount
    assert Exact(amount) == float(amount)


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=20))
def test_the_noise_of_float_arithmetic_is_left_out(minors: list[int]) -> None:
    """A sum of amounts done in floats is read as the exact sum."""
    total = 0.0
    for minor in minors:
        total += minor / 100
    assert read_float(total).quantize(Decimal("0.000001")) == Decimal(sum(minors)) / 100


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (33.333333333333336, "33.3333333333333"),
        (10.005, "10.005"),
        (-0.0, "0"),
        (1e22, "10000000000000000000000"),
        (123456789012345678.0, "123456789012345680"),
        (1e-7, "1E-7"),
    ],
)
def test_what_a_float_stands_for(number: float, text: str) -> None:
    """Fifteen significant digits, but all digits of a whole number."""
    assert read_float(number) == Decimal(text)


OPERATIONS: list[Callable[[object, object], object]] = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
]


@pytest.mark.parametrize("operation", OPERATIONS)
@given(left=MINOR.filter(bool), right=st.integers(-(10**6), 10**6).filter(bool))
def test_arithmetic_with_floats_is_that_of_decimals(
    operation: Callable[[object, object], object], left: int, right: int
) -> None:
    """Whatever side the float is on, the result is what Decimals give, and an Exact."""
    exact, other = Exact(to_decimal(left, "USD")), to_decimal(right, "USD")
    for result, wanted in (
        (operation(exact, float(other)), operation(Decimal(exact), other)),
        (operation(float(other), exact), operation(other, Decimal(exact))),
        (operation(exact, other), operation(Decimal(exact), other)),
        (operation(exact, right), operation(Decimal(exact), right)),
    ):
        assert type(result) is Exact
        assert result == wanted


@given(left=MINOR, right=MINOR)
def test_comparisons_with_floats_are_those_of_amounts(left: int, right: int) -> None:
    """Equal, less and greater mean what they mean for the amounts, on both sides."""
    exact, number = Exact(to_decimal(left, "USD")), float(to_decimal(right, "USD"))
    assert (exact == number, number == exact) == (left == right, left == right)
    assert (exact != number) == (left != right)
    assert (exact < number, number > exact) == (left < right, left < right)
    assert (exact <= number, number >= exact) == (left <= right, left <= right)
    assert (exact > number, number < exact) == (left > right, left > right)
    assert (exact >= number, number <= exact) == (left >= right, left >= right)


def test_what_the_documentation_does_with_amounts() -> None:
    """Formats, sums, rounding, max and comparisons of the documented examples work as they do with floats."""
    amount = Exact("2500.00")
    assert f"${amount:,.2f}" == "$2,500.00"
    assert f"{amount / Exact('10000.00') * 100:.1f}%" == "25.0%"
    assert sum([Exact("0.10"), Exact("0.20")]) == 0.3
    assert max(0, Exact("250.00") - 750.00) == 0
    assert str(amount + 500.00) == "3000.00"
    assert (round(Exact("2.675"), 2), round(Exact("2.5"))) == (Exact("2.68"), 2)
    assert (abs(-amount), +amount) == (2500.0, 2500.0)
    assert float(amount) == 2500.0
    assert repr(amount) == "Exact('2500.00')"
    assert f"{Exact('60.0')}%" == "60.0%"


def test_what_is_no_number_is_refused_as_ever() -> None:
    """Adding text is a TypeError, equality with it is False, and infinities compare."""
    with pytest.raises(TypeError):
        _ = Exact("1.00") + "1.00"  # type: ignore[operator]
    assert Exact("1.00") != "1.00"
    assert Exact("1.00") != None  # noqa: E711
    assert -math.inf < Exact("1.00") < math.inf
    assert Exact("1.00") != math.nan
    assert Exact("0.50") == Fraction(1, 2)


def test_an_exact_can_be_kept_and_copied() -> None:
    """It pickles, copies and hashes as the decimal that it is."""
    amount = Exact("10.10")
    for other in (pickle.loads(pickle.dumps(amount)), copy.deepcopy(amount), copy.copy(amount)):
        assert (type(other), str(other)) == (Exact, "10.10")
    assert {Decimal("10.10"): "here"}[amount] == "here"
    assert digits("USD") == 2
