"""Percentages are exact to four decimals, above zero, and come out as short as they can."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AllocationExceeded, InvalidField
from core.goals.links import allocate
from core.goals.money import WHOLE_PPM, from_ppm, to_ppm


@pytest.mark.parametrize(
    ("value", "ppm"),
    [
        (60, 600_000),
        ("60.0", 600_000),
        (Decimal("33.3333"), 333_333),
        ("0.0001", 1),
        (100, WHOLE_PPM),
        (Decimal("1E+2"), WHOLE_PPM),
        ("12.50000", 125_000),
        ("100.0001", 1_000_001),
        (1_000_000, 10**10),
    ],
)
def test_a_percentage_is_read_exactly(value: object, ppm: int) -> None:
    """A percentage becomes parts per million; over 100 it is left to the allocation to refuse."""
    assert to_ppm(value, "allocation_percent") == ppm


@pytest.mark.parametrize(
    "value", [0, "0.0", Decimal("-0"), -1, "-0.0001", Decimal("-1E+999999999"), Decimal("-1E-999999999")]
)
def test_a_share_of_nothing_or_less_is_refused(value: object) -> None:
    """A percentage of 0 or less is refused, naming the field."""
    with pytest.raises(InvalidField, match="greater than 0") as refusal:
        to_ppm(value, "allocation_percent")
    assert refusal.value.field == "allocation_percent"


@pytest.mark.parametrize("value", ["33.33333", Decimal("0.00001"), Decimal("1E-999999999"), "99.99999999"])
def test_a_fifth_decimal_is_refused(value: object) -> None:
    """More than four decimals of a percent are refused, never rounded."""
    with pytest.raises(InvalidField, match="4 decimals"):
        to_ppm(value, "allocation_percent")


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), "NaN", "60%", "", " 60", "6_0", "1e1"])
def test_what_is_no_plain_number_is_refused(value: object) -> None:
    """Non-finite numbers and text that is no plain decimal are refused."""
    with pytest.raises(InvalidField):
        to_ppm(value, "allocation_percent")


@pytest.mark.parametrize("value", [60.0, True, None])
def test_floats_and_bools_are_programming_errors(value: object) -> None:
    """A percentage never comes through float."""
    with pytest.raises(TypeError):
        to_ppm(value, "allocation_percent")


@pytest.mark.parametrize("value", [1_000_001, Decimal("1E+999999999"), "9" * 5000])
def test_a_monstrous_percentage_is_an_exceeded_allocation(value: object) -> None:
    """What is far over 100 gets the same refusal as what is a little over."""
    with pytest.raises(AllocationExceeded, match="Total allocation would exceed 100%"):
        allocate([], "account", to_ppm(value, "allocation_percent"))


@pytest.mark.parametrize(
    ("ppm", "text"),
    [
        (600_000, "60.0"),
        (333_333, "33.3333"),
        (WHOLE_PPM, "100.0"),
        (125_000, "12.5"),
        (1, "0.0001"),
        (10, "0.001"),
        (0, "0.0"),
        (-5_000, "-0.5"),
        (13 * 10**40, "13" + "0" * 36 + ".0"),
    ],
)
def test_a_percentage_goes_out_short(ppm: int, text: str) -> None:
    """A percentage is written with at least one decimal and without superfluous zeros."""
    assert str(from_ppm(ppm)) == text


@given(st.integers(1, 10**10))
def test_a_percentage_survives_its_way_out_and_in(ppm: int) -> None:
    """Parts per million written as a percentage are that fraction, and are read back as the same."""
    written = from_ppm(ppm)
    assert Fraction(written) == Fraction(ppm, 10_000)
    assert to_ppm(written, "allocation_percent") == ppm
    assert to_ppm(str(written), "allocation_percent") == ppm
