"""Percentages of progress are exact, cut to four decimals, and show 100 only for what is reached."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.goals.goal import DebtForm, GoalType, Span, span_of
from core.goals.progress import is_goal_reached, milestones_percent, percent_complete

SAVINGS, DEBT, NET_WORTH = GoalType.SAVINGS, GoalType.DEBT, GoalType.NET_WORTH

PAYMENTS_OF_750 = [
    "0.0", "8.8235", "17.647", "26.4705", "35.2941", "44.1176", "52.9411",
    "61.7647", "70.5882", "79.4117", "88.2352", "97.0588", "100.0",
]  # fmt: skip


def saved(amount: int, target: int, start: int = 0) -> str:
    return str(percent_complete(SAVINGS, Span(start, target, None), target, amount))


@pytest.mark.parametrize(
    ("amount", "target", "percent"),
    [
        (650_000, 1_000_000, "65.0"),
        (0, 1_000_000, "0.0"),
        (1_000_000, 1_000_000, "100.0"),
        (1_300_000, 1_000_000, "130.0"),
        (999_999_999, 1_000_000_000, "99.9999"),
        (333_333, 1_000_000, "33.3333"),
        (1, 3, "33.3333"),
        (2, 3, "66.6666"),
        (-1, 1_000_000, "0.0"),
        (1, 10**15, "0.0"),
    ],
)
def test_upward_progress_is_the_part_of_the_target(amount: int, target: int, percent: str) -> None:
    """6,500 of 10,000 is 65.0; never below 0, not capped above, cut so that 100 means reached."""
    assert saved(amount, target) == percent


def test_where_an_upward_goal_started_does_not_matter() -> None:
    """The documented percentage is current / target, also for a goal that began with 2,500.00."""
    assert saved(250_000, 1_000_000, start=250_000) == "25.0"


@pytest.mark.parametrize(
    ("target", "amount", "percent"),
    [(0, -1, "0.0"), (0, 0, "100.0"), (0, 5, "100.0"), (-500, -501, "0.0"), (-500, -500, "100.0"), (-500, 9, "100.0")],
)
def test_a_target_of_nothing_or_less_is_all_or_nothing(target: int, amount: int, percent: str) -> None:
    """A target of 0 or of -500 gives 100 once reached and 0 before."""
    span = Span(-1_000, target, None)
    assert str(percent_complete(NET_WORTH, span, target, amount)) == percent


@pytest.mark.parametrize(("target", "form"), [(0, DebtForm.TO_TARGET), (850_000, DebtForm.TOTAL)])
def test_the_documented_debt_progresses_with_each_payment(target: int, form: DebtForm) -> None:
    """8,500.00 paid off by 750.00 a month: from 0.0 on the first day to 100.0 in month 12, in both forms."""
    span = span_of(DEBT, target, 850_000)
    assert span.form is form
    owed = [max(0, 850_000 - 75_000 * month) for month in range(13)]
    assert [str(percent_complete(DEBT, span, target, amount)) for amount in owed] == PAYMENTS_OF_750
    assert [is_goal_reached(DEBT, span, target, amount) for amount in owed] == [False] * 12 + [True]


def test_a_debt_that_grew_is_at_nothing_and_an_overpaid_one_above_all() -> None:
    """A debt above its start shows 0.0; one paid beyond its finish is not capped."""
    span = span_of(DEBT, 200_000, 850_000)
    assert str(percent_complete(DEBT, span, 200_000, 900_000)) == "0.0"
    assert str(percent_complete(DEBT, span, 200_000, 525_000)) == "50.0"
    assert str(percent_complete(DEBT, span, 200_000, 135_000)) == "110.0"


def test_a_total_debt_begun_below_its_total_has_progress_already() -> None:
    """Of a total of 8,500.00 with 7,750.00 left, 8.8235 percent are done."""
    span = span_of(DEBT, 850_000, 775_000)
    assert str(percent_complete(DEBT, span, 850_000, 775_000)) == "8.8235"


@pytest.mark.parametrize(
    ("reached", "total", "percent"), [(0, 0, "0.0"), (0, 4, "0.0"), (2, 4, "50.0"), (1, 3, "33.3333"), (4, 4, "100.0")]
)
def test_milestones_progress_is_the_part_reached(reached: int, total: int, percent: str) -> None:
    """Two of four milestones are 50.0; none at all are 0.0."""
    assert str(milestones_percent(reached, total)) == percent


def test_an_upward_goal_is_reached_at_its_target() -> None:
    """One cent below the target is not reached, the target is."""
    span = Span(0, 1_000_000, None)
    assert not is_goal_reached(SAVINGS, span, 1_000_000, 999_999)
    assert is_goal_reached(SAVINGS, span, 1_000_000, 1_000_000)


stated = st.integers(0, 10**15)
computed = st.integers(-(10**18), 10**18)


@st.composite
def goals(draw: st.DrawFn) -> tuple[GoalType, Span, int, int]:
    """A goal that can be reached, and any amount, often near its target or finish."""
    type = draw(st.sampled_from(GoalType))
    target = draw(stated)
    current = draw(stated)
    if (target == 0 and type is not DEBT) or (type is DEBT and target == current == 0):
        target = 1
    span = span_of(type, target, current)
    amount = draw(computed | st.integers(-2, 2).map(lambda near: span.finish_minor + near))
    return type, span, target, amount


@given(goals())
def test_a_hundred_percent_means_reached(goal: tuple[GoalType, Span, int, int]) -> None:
    """A goal shows 100 or more if, and only if, it is reached, and never less than 0."""
    percent = percent_complete(*goal)
    assert (percent >= 100) == is_goal_reached(*goal)
    assert percent >= 0


@given(goals())
def test_progress_is_the_exact_one_cut_to_four_decimals(goal: tuple[GoalType, Span, int, int]) -> None:
    """What is shown is at most the exact percentage and less than 0.0001 below it."""
    type, span, target, amount = goal
    done = Fraction(span.start_minor - amount, span.start_minor - span.finish_minor) if type is DEBT else None
    exact = 100 * (done if done is not None else Fraction(amount, target))
    shown = percent_complete(*goal)
    assert 0 <= max(exact, Fraction(0)) - Fraction(shown) < Fraction(1, 10_000)
    assert shown.as_tuple().exponent in {-1, -2, -3, -4}
    assert shown.as_tuple().exponent == -1 or shown.as_tuple().digits[-1] != 0


@given(goals(), st.integers(0, 10**12))
def test_progress_never_falls_as_money_comes_in(goal: tuple[GoalType, Span, int, int], more: int) -> None:
    """Paying in never lowers the percentage, whichever way the goal goes."""
    type, span, target, amount = goal
    paid = amount - more if type is DEBT else amount + more
    assert percent_complete(type, span, target, paid) >= percent_complete(*goal)


@given(st.integers(1, 10**6), st.data())
def test_all_milestones_are_a_hundred_percent_and_fewer_are_less(total: int, data: st.DataObject) -> None:
    """Only the last milestone brings 100."""
    reached = data.draw(st.integers(0, total))
    assert (milestones_percent(reached, total) == Decimal(100)) == (reached == total)
