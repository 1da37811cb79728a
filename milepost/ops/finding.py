"""What a check found, how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

OFF_S = 2.0
FAR_OFF_S = 60.0


class State(StrEnum):
    """How a check went. Only a problem keeps Milepost from working, or its promises from holding."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `remedy` says what to do, None where nothing is to be done."""

    check: str
    state: State
    found: str
    remedy: str | None = None


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, State.OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """It works, but not as it might."""
    return Finding(check, State.WARNING, found, remedy)


def problem(check: str, found: str, remedy: str) -> Finding:
    """It does not work, or a promise does not hold."""
    return Finding(check, State.PROBLEM, found, remedy)


def compare_clocks(check: str, before: datetime, theirs: datetime, after: datetime) -> Finding:
    """Judge a clock that was read between two looks at ours: only what is outside of them is a difference."""
    ahead_s = max(0.0, (theirs - after).total_seconds()) - max(0.0, (before - theirs).total_seconds())
    found = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    remedy = "have all machines keep time with NTP: ages, and which day is over, are told by these clocks"
    if abs(ahead_s) >= FAR_OFF_S:
        return problem(check, found, remedy)
    if abs(ahead_s) >= OFF_S:
        return warning(check, found, remedy)
    return ok(check, "agrees with this machine's")
