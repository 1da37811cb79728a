"""A goal's type decides its direction, its span and which amounts and texts it takes."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.errors import InvalidField
from core.goals.goal import (
    DebtForm,
    GoalType,
    Span,
    Tracking,
    check_current,
    check_target,
    check_text,
    default_tracking,
    direction,
    retarget,
    span_of,
)

DEBT = GoalType.DEBT
UPWARD = [type for type in GoalType if type is not DEBT]
SIGNED = {GoalType.NET_WORTH, GoalType.INCOME}
amounts = st.integers(0, 10**15)


def test_types_have_their_documented_spelling() -> None:
    """The six types are spelt in lower case, as callers send them."""
    assert [str(type) for type in GoalType] == ["savings", "debt", "investment", "net_worth", "income", "custom"]


def test_only_debt_goes_down() -> None:
    """The direction is -1 for debt and +1 for all others."""
    assert direction(DEBT) == -1
    assert {direction(type) for type in UPWARD} == {1}


def test_income_counts_inflow_net_worth_all_accounts_and_all_others_change() -> None:
    """A goal created without a tracking counts changes, an income goal its inflow, a net worth its user's accounts."""
    own = {GoalType.INCOME: Tracking.INFLOW, GoalType.NET_WORTH: Tracking.NET_WORTH}
    assert {type: default_tracking(type) for type in GoalType} == {
        type: own.get(type, Tracking.CHANGE) for type in GoalType
    }


@pytest.mark.parametrize("type", UPWARD)
@pytest.mark.parametrize(("target", "current"), [(1_000_000, 250_000), (100, 100), (100, 900), (0, 0)])
def test_an_upward_span_runs_from_current_to_target(type: GoalType, target: int, current: int) -> None:
    """An upward goal may be created anywhere, also at or past its target."""
    assert span_of(type, target, current) == Span(current, target, None)


@pytest.mark.parametrize(
    ("target", "current", "span"),
    [
        (0, 850_000, Span(850_000, 0, DebtForm.TO_TARGET)),
        (200_000, 850_000, Span(850_000, 200_000, DebtForm.TO_TARGET)),
        (850_000, 850_000, Span(850_000, 0, DebtForm.TOTAL)),
        (850_000, 775_000, Span(850_000, 0, DebtForm.TOTAL)),
        (850_000, 0, Span(850_000, 0, DebtForm.TOTAL)),
    ],
)
def test_a_debt_takes_either_documented_form(target: int, current: int, span: Span) -> None:
    """A target below the amount is paid down to; one at or above it is the total, paid down to 0."""
    assert span_of(DEBT, target, current) == span


def test_a_debt_of_nothing_is_refused() -> None:
    """A debt that starts where it should end is refused at its target."""
    with pytest.raises(InvalidField) as refusal:
        span_of(DEBT, 0, 0)
    assert refusal.value.field == "target_amount"


def test_a_new_target_moves_the_finish_of_a_debt_paid_down_to_it() -> None:
    """8,500 to 0 with a new target of 1,000 is 8,500 to 1,000."""
    span = span_of(DEBT, 0, 850_000)
    assert retarget(DEBT, span, 100_000) == Span(850_000, 100_000, DebtForm.TO_TARGET)


def test_a_new_target_moves_the_start_of_a_total_debt() -> None:
    """A total of 8,500 with a new target of 9,000 is 9,000 to 0."""
    span = span_of(DEBT, 850_000, 850_000)
    assert retarget(DEBT, span, 900_000) == Span(900_000, 0, DebtForm.TOTAL)


@pytest.mark.parametrize("target", [850_000, 900_000])
def test_a_target_at_or_above_the_start_of_a_debt_is_refused(target: int) -> None:
    """A debt paid down to its target cannot be given a target that it starts at or below."""
    with pytest.raises(InvalidField) as refusal:
        retarget(DEBT, span_of(DEBT, 0, 850_000), target)
    assert refusal.value.field == "target_amount"


@pytest.mark.parametrize("target", [0, -1])
def test_a_total_debt_cannot_become_nothing(target: int) -> None:
    """A total debt keeps a total above 0."""
    with pytest.raises(InvalidField):
        retarget(DEBT, span_of(DEBT, 850_000, 850_000), target)


@pytest.mark.parametrize("type", UPWARD)
@pytest.mark.parametrize("target", [900, 100, 50])
def test_a_new_target_moves_the_finish_of_an_upward_goal(type: GoalType, target: int) -> None:
    """An upward goal's target may go anywhere, also to where it started."""
    assert retarget(type, span_of(type, 500, 100), target) == Span(100, target, None)


@given(amounts, amounts, amounts)
def test_a_debt_always_has_a_way_down(target: int, current: int, later: int) -> None:
    """However a debt is made and retargeted, it starts above its finish and keeps its form."""
    assume(target != 0 or current != 0)
    span = span_of(DEBT, target, current)
    assert span.start_minor > span.finish_minor
    try:
        moved = retarget(DEBT, span, later)
    except InvalidField:
        return
    assert moved.start_minor > moved.finish_minor
    assert moved.form is span.form


@pytest.mark.parametrize("type", GoalType)
def test_which_types_take_targets_and_amounts_of_0_and_below(type: GoalType) -> None:
    """A target below 0 is for net worth, one of 0 for debt too; an amount below 0 for net worth and income."""
    check_target(type, 1)
    check_current(type, 0)
    for check, field, minor, takers in (
        (check_target, "target_amount", 0, {GoalType.NET_WORTH, GoalType.DEBT}),
        (check_target, "target_amount", -1, {GoalType.NET_WORTH}),
        (check_current, "current_amount", -1, SIGNED),
    ):
        if type in takers:
            check(type, minor)
            continue
        with pytest.raises(InvalidField, match=str(type)) as refusal:
            check(type, minor)
        assert refusal.value.field == field


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  Emergency Fund \n", "Emergency Fund"),
        ("Ausflug nach Zürich 🎉", "Ausflug nach Zürich 🎉"),
        ("x" * 200, "x" * 200),
    ],
)
def test_text_is_kept_without_outer_white_space(value: str, text: str) -> None:
    """A text comes back whole, without the white space around it."""
    assert check_text("name", value, longest=200) == text


@pytest.mark.parametrize(
    "value", ["", "   ", "\t\n", "x" * 201, "a\x00b", "a\x1bb", "a\nb", "a\x85b", "a\ud800b", "\udfff"]
)
def test_unfit_text_is_refused(value: str) -> None:
    """Blank, over-long and control-character text and lone surrogates are refused, naming the field."""
    with pytest.raises(InvalidField) as refusal:
        check_text("name", value, longest=200)
    assert refusal.value.field == "name"


def test_a_blank_text_passes_where_it_may() -> None:
    """A description may be blank; it comes back empty."""
    assert check_text("description", "  ", longest=10, blank_allowed=True) == ""


def test_lines_pass_where_they_may_but_nul_never() -> None:
    """A description may have line breaks and tabs; a NUL is refused there too."""
    text = "first\r\n\tsecond"
    assert check_text("description", text, longest=100, lines_allowed=True) == text
    with pytest.raises(InvalidField):
        check_text("description", "a\x00\nb", longest=100, lines_allowed=True)


@given(st.text(st.characters(), max_size=30))
def test_text_that_passes_can_be_stored(value: str) -> None:
    """What passes is valid UTF-8 without NUL, and passes a second time unchanged."""
    try:
        text = check_text("name", value, longest=20)
    except InvalidField:
        return
    assert b"\x00" not in text.encode("utf-8")
    assert 0 < len(text) <= 20
    assert check_text("name", text, longest=20) == text
