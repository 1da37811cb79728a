"""Stated amounts become minor units exactly or are refused, and shares are cut towards zero."""

import tracemalloc
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from iso4217 import Currency

from core.errors import InvalidField
from core.goals import currencies as currencies_module
from core.goals.money import MAX_MINOR, digits, share, to_decimal, to_minor

PLACES = {"JPY": 0, "USD": 2, "KWD": 3, "CLF": 4}
currencies = st.sampled_from(sorted(PLACES))
stated = st.integers(-MAX_MINOR, MAX_MINOR)


@pytest.mark.parametrize(("currency", "places"), [*PLACES.items(), ("CZK", 2), ("EUR", 2), ("ISK", 0), ("BHD", 3)])
def test_decimals_are_those_of_iso_4217(currency: str, places: int) -> None:
    """A currency has the minor digits that ISO 4217 gives it."""
    assert digits(currency) == places


@pytest.mark.parametrize("code", ["usd", "Usd", "XAU", "XXX", "XTS", "ZZZ", "", "USD ", "US", "$", "USDT"])
def test_other_codes_are_refused_by_name_of_the_field(code: str) -> None:
    """What is no upper-case code of a currency with minor units is refused, naming the field."""
    with pytest.raises(InvalidField) as refusal:
        digits(code, field="data.currency")
    assert refusal.value.field == "data.currency"


def test_an_unknown_currency_is_named_currency_by_default() -> None:
    """The field of a bad currency is `currency` where the caller gives no other name."""
    with pytest.raises(InvalidField) as refusal:
        to_minor(1, "usd", "amount")
    assert refusal.value.field == "currency"


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [
        ("10000.00", "USD", 1_000_000),
        (Decimal("2500.00"), "USD", 250_000),
        (Decimal("2500.0"), "USD", 250_000),
        (8500, "USD", 850_000),
        (Decimal("1.500"), "USD", 150),
        ("1.500", "KWD", 1500),
        (Decimal("1E+3"), "USD", 100_000),
        (Decimal("12E-1"), "USD", 120),
        ("+7", "JPY", 7),
        (Decimal("100.000"), "JPY", 100),
        ("-0.01", "USD", -1),
        ("-0.00", "USD", 0),
        (Decimal("-0"), "USD", 0),
        (Decimal("0E+999999999"), "USD", 0),
        (Decimal("0E-999999999"), "USD", 0),
        ("0.0001", "CLF", 1),
        (Decimal("1." + "0" * 5000), "USD", 100),
        ("007.5", "USD", 750),
    ],
)
def test_a_stated_amount_is_read_exactly(value: object, currency: str, minor: int) -> None:
    """Ints, decimals and plain decimal strings give the minor units they name."""
    assert to_minor(value, currency, "amount") == minor


@pytest.mark.parametrize(
    ("value", "currency"),
    [
        ("1.005", "USD"),
        (Decimal("0.001"), "USD"),
        (Decimal("12345678901.678"), "USD"),
        ("0.5", "JPY"),
        ("1.0001", "KWD"),
        (Decimal("1E-5"), "CLF"),
        (Decimal("1E-999999999"), "USD"),
        (Decimal("-1E-999999999"), "USD"),
        ("0." + "0" * 5000 + "1", "USD"),
    ],
)
def test_more_decimals_than_the_currency_has_are_refused(value: object, currency: str) -> None:
    """An over-precise amount is refused, never rounded, and the text names the currency."""
    with pytest.raises(InvalidField, match=currency) as refusal:
        to_minor(value, currency, "current_amount")
    assert refusal.value.field == "current_amount"


@pytest.mark.parametrize("text", ["NaN", "-NaN", "sNaN", "Infinity", "-Infinity"])
def test_non_finite_numbers_are_refused(text: str) -> None:
    """NaN and the infinities are no amounts, whether they come as decimals or as text."""
    for value in (Decimal(text), text):
        with pytest.raises(InvalidField):
            to_minor(value, "USD", "amount")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        " 1",
        "1\n",
        "1 000",
        "1_000",
        "1,000",
        "1e3",
        "1E+2",
        ".5",
        "5.",
        "--1",
        "0x10",
        "١٢",
        "1.2.3",
        "-",
    ],
)
def test_text_that_is_no_plain_decimal_is_refused(text: str) -> None:
    """Spaces, separators, exponents and other scripts' digits are refused, not guessed at."""
    with pytest.raises(InvalidField, match="plain decimal"):
        to_minor(text, "USD", "amount")


@pytest.mark.parametrize("value", [1.5, 0.0, float("nan"), True, False, None, b"1", [1], Fraction(1, 2)])
def test_floats_and_other_kinds_are_programming_errors(value: object) -> None:
    """A float or a bool never becomes money: it is a TypeError, not a refusal of input."""
    with pytest.raises(TypeError):
        to_minor(value, "USD", "amount")


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1E+999999999"),
        Decimal("-1E+999999999"),
        Decimal("9.99E+425000"),
        Decimal("12345678901234567.89"),
        Decimal("10000000000000.01"),
        "-10000000000000.01",
        "9" * 5000,
        10**4000,
        -(10**4000),
        10**13 + 1,
    ],
)
def test_amounts_beyond_the_largest_are_refused(value: object) -> None:
    """An amount beyond the largest is refused before it is scaled, and the text says the bounds."""
    with pytest.raises(InvalidField, match=r"10000000000000\.00 USD"):
        to_minor(value, "USD", "amount")


@pytest.mark.parametrize("text", ["1E+999999999", "-1E+999999999", "1E-999999999", "-7E-999999999"])
def test_a_gigantic_exponent_is_refused_without_being_written_out(text: str) -> None:
    """A few bytes of input never become a gigabyte of digits."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidField):
            to_minor(Decimal(text), "USD", "amount")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("currency", "largest"), [("JPY", "1" + "0" * 15), ("USD", "1" + "0" * 13 + ".00")])
def test_the_largest_amount_itself_is_fine(currency: str, largest: str) -> None:
    """The bound is included, on both sides."""
    assert to_minor(largest, currency, "amount") == MAX_MINOR
    assert to_minor(f"-{largest}", currency, "amount") == -MAX_MINOR


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (1_000_000, "USD", "10000.00"),
        (0, "USD", "0.00"),
        (-5, "USD", "-0.05"),
        (100, "JPY", "100"),
        (0, "JPY", "0"),
        (1000, "KWD", "1.000"),
        (1, "CLF", "0.0001"),
        (0, "CLF", "0.0000"),
        (10**30 + 1, "USD", "1" + "0" * 27 + "0.01"),
    ],
)
def test_amounts_go_out_with_the_currencys_digits(minor: int, currency: str, text: str) -> None:
    """An amount is written with exactly its currency's decimals, and zero has no sign."""
    assert str(to_decimal(minor, currency)) == text


@given(stated, currencies)
def test_an_amount_survives_its_way_out_and_in(minor: int, currency: str) -> None:
    """Minor units written as a decimal, or as its text, are read back as the same minor units."""
    written = to_decimal(minor, currency)
    assert to_minor(written, currency, "amount") == minor
    assert to_minor(str(written), currency, "amount") == minor
    assert -int(written.as_tuple().exponent) == PLACES[currency]


@given(st.decimals(allow_nan=False, allow_infinity=False), currencies)
@example(Decimal("12345678901234567.89"), "USD")
@example(Decimal("1234567890123.4567890123456789012345678901"), "CLF")
def test_a_decimal_is_exact_or_refused(value: Decimal, currency: str) -> None:
    """Whatever decimal is stated, its minor units are exactly it, or it is refused."""
    exact = Fraction(value) * 10 ** PLACES[currency]
    if exact.denominator == 1 and abs(exact) <= MAX_MINOR:
        assert to_minor(value, currency, "amount") == exact
    else:
        with pytest.raises(InvalidField):
            to_minor(value, currency, "amount")


@given(stated, currencies, st.integers(1, 6))
def test_the_callers_decimal_context_changes_nothing(minor: int, currency: str, precision: int) -> None:
    """Reading and writing amounts is exact under any precision of the decimal context."""
    expected = to_decimal(minor, currency)
    with localcontext(Context(prec=precision, Emin=-2, Emax=2)):
        assert to_minor(expected, currency, "amount") == minor
        assert to_minor(str(expected), currency, "amount") == minor
        assert str(to_decimal(minor, currency)) == str(expected)


@pytest.mark.parametrize(
    ("minor", "ppm", "part"),
    [
        (100_000, 600_000, 60_000),
        (-25_000, 400_000, -10_000),
        (26, 600_000, 15),
        (-26, 600_000, -15),
        (1, 999_999, 0),
        (-1, 999_999, 0),
        (-7, 1_000_000, -7),
        (10_000, 333_333, 3_333),
    ],
)
def test_a_share_is_cut_towards_zero(minor: int, ppm: int, part: int) -> None:
    """A share drops what is less than a minor unit, on either side of zero."""
    assert share(minor, ppm) == part


worths = st.integers(-(10**30), 10**30)


@st.composite
def allocations(draw: st.DrawFn) -> list[int]:
    """Shares in ppm that sum to at most 100%: the gaps between cuts in a whole."""
    cuts = sorted(draw(st.sets(st.integers(1, 1_000_000), max_size=12)))
    return [upper - lower for lower, upper in zip([0, *cuts], cuts, strict=False)]


@given(worths, allocations())
def test_shares_of_one_worth_never_exceed_it(worth: int, ppms: list[int]) -> None:
    """Shares that sum to at most 100% give out at most the worth, and none has the other sign."""
    shares = [share(worth, ppm) for ppm in ppms]
    assert abs(sum(shares)) <= abs(worth)
    assert all(part * worth >= 0 for part in shares)


@given(worths, st.integers(1, 1_000_000))
def test_a_share_is_within_one_minor_unit_of_the_exact_one(worth: int, ppm: int) -> None:
    """What a share drops is less than one minor unit, and paying in and out are mirror images."""
    exact: Any = Fraction(worth) * ppm / 1_000_000
    assert 0 <= abs(exact) - abs(share(worth, ppm)) < 1
    assert share(-worth, ppm) == -share(worth, ppm)


@pytest.mark.parametrize(
    ("currency", "places"),
    [("HRK", 2), ("BGN", 2), ("ANG", 2), ("CUC", 2), ("SLL", 2), ("DEM", 2), ("ITL", 0), ("ESP", 0), ("BYR", 0)],
)
def test_withdrawn_currencies_keep_the_decimals_that_they_had(currency: str, places: int) -> None:
    """Accounts and goals have amounts in them, which stay readable, and facts still come in them."""
    assert digits(currency) == places
    minor = to_minor("1250", currency, "amount")
    assert (minor, to_decimal(minor, currency)) == (1250 * 10**places, Decimal(1250))


def test_no_currency_is_left_to_the_installed_library_alone() -> None:
    """Its next release drops what ISO withdraws: all that it knows is listed by us, with the same decimals."""
    listed = {
        code: places
        for table in (currencies_module._LISTED, currencies_module._WITHDRAWN)
        for places, codes in table.items()
        for code in codes.split()
    }
    known = {entry.code: entry.exponent for entry in Currency if entry.exponent is not None}
    assert {code: listed.get(code) for code in known} == known
    assert all(len(code) == 3 and code.isupper() for code in listed)
