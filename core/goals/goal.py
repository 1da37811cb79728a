"""What a goal is: its type, tracking, span, texts and status, and which changes are allowed."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from core.errors import InvalidField, StatusMoveRefused

NAME_LONGEST = 200
DESCRIPTION_LONGEST = 2000
ID_LONGEST = 200

# Postgres takes neither NUL nor a lone surrogate in text; other control characters forge lines in logs.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNFIT_IN_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class GoalStatus(StrEnum):
    """The status of a goal; completed and abandoned are final."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


class GoalType(StrEnum):
    """What the money is for; only `debt` goes down."""

    SAVINGS = "savings"
    DEBT = "debt"
    INVESTMENT = "investment"
    NET_WORTH = "net_worth"
    INCOME = "income"
    CUSTOM = "custom"


class Tracking(StrEnum):
    """How the amount follows from the linked accounts; `core.goals.amounts` has the formulas."""

    CHANGE = "change"
    INFLOW = "inflow"
    BALANCE = "balance"
    NET_WORTH = "net_worth"


class DebtForm(StrEnum):
    """Which of the two documented forms a debt goal was created in; it never changes."""

    TO_TARGET = "to_target"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Span:
    """The amounts at which a goal starts and should end, in minor units; a debt starts above its finish.

    A debt that `starts_at_balance` has None for its start while its accounts have no balance.
    """

    start_minor: int | None
    finish_minor: int
    form: DebtForm | None
    starts_at_balance: bool = False


_DEFAULT_TRACKINGS = {GoalType.INCOME: Tracking.INFLOW, GoalType.NET_WORTH: Tracking.NET_WORTH}
_MOVES: dict[GoalStatus, frozenset[GoalStatus]] = {
    GoalStatus.ACTIVE: frozenset({GoalStatus.PAUSED, GoalStatus.COMPLETED, GoalStatus.ABANDONED}),
    GoalStatus.PAUSED: frozenset({GoalStatus.ACTIVE, GoalStatus.ABANDONED}),
    GoalStatus.COMPLETED: frozenset(),
    GoalStatus.ABANDONED: frozenset(),
}


def is_final(status: GoalStatus) -> bool:
    """Whether a goal never leaves the status again."""
    return not _MOVES[status]


def can_start_as(status: GoalStatus) -> bool:
    """Whether a goal may be created in the status."""
    return not is_final(status)


def move(status: GoalStatus, wanted: GoalStatus) -> bool:
    """Check a change of status; False if the goal has the wanted one already. Raises StatusMoveRefused."""
    if wanted is status:
        return False
    if wanted not in _MOVES[status]:
        raise StatusMoveRefused(status.value, wanted.value)
    return True


def measure_of(tracking: Tracking) -> str:
    """What a link of a goal measures of its account: its worth, or the money that came in."""
    return "inflow" if tracking is Tracking.INFLOW else "worth"


def follows_balances(tracking: Tracking) -> bool:
    """Whether the amount is the balance of the accounts, not their change since some moment."""
    return tracking in {Tracking.BALANCE, Tracking.NET_WORTH}


def direction(type: GoalType) -> int:
    """-1 for debt, whose amount falls as money is paid in; +1 for all others."""
    return -1 if type is GoalType.DEBT else 1


def default_tracking(type: GoalType) -> Tracking:
    """The tracking of a goal that was created without one."""
    return _DEFAULT_TRACKINGS.get(type, Tracking.CHANGE)


def span_of(type: GoalType, target_minor: int, current_minor: int) -> Span:
    """The span of a new goal; for a debt goal without a current amount, pass the target as `current_minor`.

    A debt whose target is below the current amount is paid down to the target (8,500 to 0). If the target is at or
    above the current amount, it is the total debt, which is paid down to 0. Raises InvalidField for a debt that has
    nothing to pay off.
    """
    if type is not GoalType.DEBT:
        return Span(current_minor, target_minor, None)
    if target_minor < current_minor:
        return Span(current_minor, target_minor, DebtForm.TO_TARGET)
    return _check_goes_down(Span(target_minor, 0, DebtForm.TOTAL))


def span_from_balance(target_minor: int) -> Span:
    """The span of a debt that starts at the first balance of its accounts; above 0 the target is the total debt.

    In both forms it is paid down to 0.
    """
    return Span(None, 0, DebtForm.TOTAL if target_minor else DebtForm.TO_TARGET, starts_at_balance=True)


def retarget(type: GoalType, span: Span, target_minor: int) -> Span:
    """The span after a change of target, which moves the finish; of a debt given as a total, it moves the start.

    A debt that starts at its first balance keeps that start. Raises InvalidField for a debt that then has nothing to
    pay off.
    """
    if type is GoalType.DEBT and span.form is DebtForm.TOTAL:
        return span if span.starts_at_balance else _check_goes_down(replace(span, start_minor=target_minor))
    moved = replace(span, finish_minor=target_minor)
    return _check_goes_down(moved) if type is GoalType.DEBT else moved


def check_target(type: GoalType, target_minor: int) -> None:
    """Refuse a target of 0, except for debts and net worths, and one below 0, except for net worths.

    Raises InvalidField.
    """
    if target_minor < 0 and type is not GoalType.NET_WORTH:
        raise InvalidField("target_amount", f"must not be negative for a goal of type {type}")
    if target_minor == 0 and type not in {GoalType.DEBT, GoalType.NET_WORTH}:
        raise InvalidField("target_amount", f"must be greater than 0 for a goal of type {type}")


def check_current(type: GoalType, current_minor: int) -> None:
    """Refuse a negative manual amount, except for net worth and income; raises InvalidField."""
    if current_minor < 0 and not may_be_negative(type):
        raise InvalidField("current_amount", f"must not be negative for a goal of type {type}")


def may_be_negative(type: GoalType) -> bool:
    """Whether the amount of a goal may be below zero: a net worth and the income of a business can be."""
    return type in {GoalType.NET_WORTH, GoalType.INCOME}


def check_text(
    field: str, value: str, *, longest: int, blank_allowed: bool = False, lines_allowed: bool = False
) -> str:
    """Return the text without white space around it. `longest` counts code points.

    Raises InvalidField for text that is blank, too long, or has control characters or lone surrogates. With
    `lines_allowed` it may have line breaks and tabs.
    """
    text = value.strip()
    if not text and not blank_allowed:
        raise InvalidField(field, "must not be blank")
    if len(text) > longest:
        raise InvalidField(field, f"must have at most {longest} characters")
    if (_UNFIT_IN_LINES if lines_allowed else _UNFIT).search(text):
        raise InvalidField(field, "must not contain control characters or broken Unicode")
    return text


def _check_goes_down(span: Span) -> Span:
    """Return the span of a debt; raises InvalidField unless it ends below its start."""
    if span.start_minor is None:
        return span
    if span.start_minor == span.finish_minor:
        raise InvalidField("target_amount", "leaves nothing to pay off: the debt starts where it should end")
    if span.start_minor < span.finish_minor:
        raise InvalidField("target_amount", "must be below the amount that the debt started at")
    return span
