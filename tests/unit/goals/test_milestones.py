"""Which milestones a goal may have, when one is reached, and in which order they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidField
from core.goals.goal import DebtForm, GoalType, Span
from core.goals.progress import check_milestone, in_order, is_reached, nearest

FUND = Span(0, 1_000_000, None)
CARD = Span(850_000, 0, DebtForm.TO_TARGET)
PART = Span(850_000, 200_000, DebtForm.TO_TARGET)
DOCUMENTED = [600_000, 400_000, 200_000, 0]


@pytest.mark.parametrize("amount", [1, 250_000, 500_000, 750_000, 1_000_000])
def test_milestones_up_to_the_target_are_fine(amount: int) -> None:
    """An upward milestone may be anything above 0 and up to the target."""
    check_milestone(GoalType.SAVINGS, FUND, 1_000_000, amount)


@pytest.mark.parametrize("amount", [1_000_001, 0, -1])
def test_upward_milestones_out_of_range_are_refused(amount: int) -> None:
    """A milestone above the target, at zero or below it is refused, naming the amount."""
    with pytest.raises(InvalidField) as refusal:
        check_milestone(GoalType.SAVINGS, FUND, 1_000_000, amount)
    assert refusal.value.field == "amount"


def test_net_worth_alone_may_have_milestones_below_zero() -> None:
    """A net worth that rises from below zero may have one at -5,000.00, but none at 0 and none above the target."""
    for target in (-100, 0, 100):
        check_milestone(GoalType.NET_WORTH, Span(-2_000_000, target, None), target, -500_000)
        for amount in (0, target + 1):
            with pytest.raises(InvalidField):
                check_milestone(GoalType.NET_WORTH, Span(-2_000_000, target, None), target, amount)
    with pytest.raises(InvalidField):
        check_milestone(GoalType.INCOME, Span(-2_000_000, 100, None), 100, -500_000)


@pytest.mark.parametrize("amount", [*DOCUMENTED, 850_000])
def test_debt_milestones_between_start_and_finish_are_fine(amount: int) -> None:
    """The documented 6,000, 4,000, 2,000 and 0 of an 8,500 debt are accepted, in both forms."""
    check_milestone(GoalType.DEBT, CARD, 0, amount)
    check_milestone(GoalType.DEBT, Span(850_000, 0, DebtForm.TOTAL), 850_000, amount)


@pytest.mark.parametrize("amount", [850_001, 199_999, 0, -1])
def test_debt_milestones_outside_the_span_are_refused(amount: int) -> None:
    """A debt from 8,500 to 2,000 takes no milestone above the one or below the other."""
    with pytest.raises(InvalidField) as refusal:
        check_milestone(GoalType.DEBT, PART, 200_000, amount)
    assert refusal.value.field == "amount"


def test_a_milestone_is_reached_at_its_amount() -> None:
    """Upward it is reached at or above the amount, downward at or below it."""
    assert [is_reached(1, amount, 500_000) for amount in (499_999, 500_000, 600_000)] == [False, True, True]
    assert [is_reached(-1, amount, 600_000) for amount in (600_001, 600_000, 0)] == [False, True, True]


def test_the_documented_update_reaches_two_of_three() -> None:
    """5,500.00 of 10,000.00 has reached 2,500.00 and 5,000.00; 7,500.00 comes next."""
    milestones = [750_000, 250_000, 500_000]
    reached = [milestone for milestone in in_order(1, milestones) if is_reached(1, 550_000, milestone)]
    assert reached == [250_000, 500_000]
    assert nearest(1, set(milestones) - set(reached)) == 750_000


def test_the_documented_debt_passes_its_milestones_downwards() -> None:
    """750.00 a month takes 8,500.00 past 6,000, 4,000, 2,000 and 0 in the months 4, 6, 9 and 12."""
    owed = [max(0, 850_000 - 75_000 * month) for month in range(13)]
    months = {m: next(i for i, amount in enumerate(owed) if is_reached(-1, amount, m)) for m in DOCUMENTED}
    assert months == {600_000: 4, 400_000: 6, 200_000: 9, 0: 12}
    assert in_order(-1, [0, 400_000, 600_000, 200_000]) == DOCUMENTED
    assert nearest(-1, [0, 400_000, 200_000]) == 400_000


def test_nothing_is_nearest_when_all_are_reached() -> None:
    """With no milestone left there is no next one."""
    assert nearest(1, []) is None
    assert nearest(-1, iter(())) is None


minors = st.integers(-(10**15), 10**15)


@given(st.sampled_from([1, -1]), st.sets(minors, max_size=10), minors)
def test_the_reached_come_before_the_unreached(direction: int, milestones: set[int], amount: int) -> None:
    """In order, the reached ones are a prefix, and the nearest is the first after it."""
    way = in_order(direction, milestones)
    reached = [is_reached(direction, amount, milestone) for milestone in way]
    assert reached == sorted(reached, reverse=True)
    left = way[sum(reached) :]
    assert nearest(direction, milestones - set(way[: sum(reached)])) == (left[0] if left else None)
