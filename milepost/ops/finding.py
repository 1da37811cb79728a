"""The finding of a check: what it found, how bad it is, and what to do about it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

OFF_S = 2.0
FAR_OFF_S = 60.0


class State(StrEnum):
    """The result of a check. Only a problem keeps Milepost from working or breaks one of its promises."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `remedy` says what to do; None: nothing."""

    check: str
    state: State
    found: str
    remedy: str | None = None


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, State.OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """It works, but could be better."""
    return Finding(check, State.WARNING, found, remedy)


def problem(check: str, found: str, remedy: str) -> Finding:
    """It does not work, or a promise is broken."""
    return Finding(check, State.PROBLEM, found, remedy)


def compare_clocks(check: str, before: datetime, theirs: datetime, after: datetime) -> Finding:
    """Compare a clock that was read between two readings of ours: only a time outside of these two is a difference."""
    ahead_s = max(0.0, (theirs - after).total_seconds()) - max(0.0, (before - theirs).total_seconds())
    found = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    remedy = "have all machines keep time with NTP: ages, and which day is over, depend on these clocks"
    if abs(ahead_s) >= FAR_OFF_S:
        return problem(check, found, remedy)
    if abs(ahead_s) >= OFF_S:
        return warning(check, found, remedy)
    return ok(check, "agrees with this machine's")
