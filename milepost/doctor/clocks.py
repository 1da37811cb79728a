"""How far a server's clock is from this machine's."""

from __future__ import annotations

from datetime import datetime

from milepost.doctor.finding import Finding, ok, problem, warning

OFF_S = 2.0
FAR_OFF_S = 60.0


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
