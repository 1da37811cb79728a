"""How much of an account its goals get, and what is left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.goals.links import Allotment, allot
from core.goals.money import MAX_MINOR, WHOLE_PPM, share

worths = st.integers(-MAX_MINOR, MAX_MINOR)


@st.composite
def fitting_shares(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Shares that sum to at most 100%: (ppm, how many have it)."""
    left, shares = WHOLE_PPM, []
    for _ in range(draw(st.integers(0, 6))):
        ppm = draw(st.integers(1, max(1, left)))
        number = draw(st.integers(0, min(left // ppm, 1000)))
        shares.append((ppm, number))
        left -= ppm * number
    return shares


@given(worths, fitting_shares())
def test_no_more_than_the_worth_is_allocated(worth: int, shares: list[tuple[int, int]]) -> None:
    """Shares of at most 100% and the rest sum to the worth, and none has the other sign."""
    allotment = allot(worth, shares)
    given_away = sum(share(worth, ppm) for ppm, number in shares for _ in range(number))
    assert given_away + allotment.unallocated_minor == worth
    assert abs(given_away) <= abs(worth)
    assert given_away * worth >= 0
    assert allotment.unallocated_minor * worth >= 0
    assert allotment.allocated_ppm + allotment.unallocated_ppm == WHOLE_PPM
    assert not allotment.is_over


@given(worths, fitting_shares(), st.integers(1, WHOLE_PPM))
def test_beyond_a_hundred_percent_nothing_is_left(worth: int, shares: list[tuple[int, int]], more: int) -> None:
    """The percentages are reported as they are, and what is left is 0."""
    allotment = allot(worth, [*shares, (WHOLE_PPM, 1), (more, 1)])
    allocated = sum(ppm * number for ppm, number in shares) + WHOLE_PPM + more
    assert allotment == Allotment(allocated, 0, 0)
    assert allotment.is_over


def test_what_cutting_leaves_stays_unallocated() -> None:
    """Three times 33.3333% of 1.00 are 0.99, so that 0.0001% and 0.01 are left."""
    assert allot(100, [(333_333, 3)]) == Allotment(999_999, 1, 1)


def test_all_of_an_account_may_be_allocated() -> None:
    """100% is not too much."""
    assert allot(-12_345, [(600_000, 1), (400_000, 1)]) == Allotment(WHOLE_PPM, 0, 0)
    assert not allot(-12_345, [(WHOLE_PPM, 1)]).is_over
