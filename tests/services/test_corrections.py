"""Correcting the past of a link: afterwards the goal is as one that was right from that day on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from core.errors import AllocationExceeded, GoalIsFinal, InvalidField, NotFound, TakesNoLinks
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, unlink_account
from core.services.goals import update_goal
from core.services.inputs import GoalChanges
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import DEFAULT, amount, balance, goal, link, paid
from tests.conftest import Apply
from tests.dumping import rows_by_table

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def change(
    sessions: Sessions, now: datetime, goal_id: str, percent: object, day: date | None = None, account: str = "a"
) -> None:
    """Change the share of an account, from a day on if one is given."""
    with sessions.begin() as session:
        change_allocation(session, DEFAULT, goal_id, account, percent, now, correct_from=day)  # type: ignore[arg-type]


def unlink(sessions: Sessions, now: datetime, goal_id: str, day: date | None = None, account: str = "a") -> None:
    """End the link of an account, from a day on if one is given."""
    with sessions.begin() as session:
        unlink_account(session, DEFAULT, goal_id, account, now, correct_from=day)


def set_amount(sessions: Sessions, now: datetime, goal_id: str, amount: object) -> None:
    """Set a goal's amount by hand."""
    with sessions.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=amount), now)  # type: ignore[arg-type]


def closes(sessions: Sessions, goal_id: str) -> list[tuple[Any, ...]]:
    """The rows of a goal's snapshots."""
    with sessions() as session:
        question = Sql("SELECT day, amount_minor FROM goal_snapshots WHERE goal_id = :g ORDER BY day")
        return question.rows(session, {"g": goal_id})


TWINS = [
    (Tracking.CHANGE, False),
    (Tracking.CHANGE, True),
    (Tracking.INFLOW, False),
    (Tracking.INFLOW, True),
    (Tracking.BALANCE, False),
]


@pytest.mark.parametrize("corrected", ["share", "unlinked", "begin", "unlinked too late"])
def test_a_corrected_goal_is_as_one_that_was_right(
    session_factory: Sessions, apply: Apply, now: datetime, corrected: str
) -> None:
    """Beside twins: a wrong share, a link that should have ended or begun earlier, with changes and typed amounts."""
    began, right = now - 8 * DAY, (now - 5 * DAY).replace(hour=0)
    pairs = []
    for tracking, is_typed in TWINS:
        wrong, twin = (
            goal(session_factory, began, tracking=tracking, current_amount="90", start_date=began.date())
            for _ in range(2)
        )
        pairs.append((wrong, twin))
        for goal_id in (wrong, twin):
            link(session_factory, began, goal_id, "b", "20")
        for goal_id in (wrong, twin) if corrected != "begin" else ():
            link(session_factory, began + HOUR, goal_id, "a", "50")
        if corrected in ("share", "begin"):
            link(session_factory, right, twin, "a", "40")
        else:
            unlink(session_factory, right, twin)
        for goal_id in (wrong, twin) if is_typed else ():
            set_amount(session_factory, now - 4 * DAY, goal_id, "500")
        if corrected in ("share", "unlinked"):
            change(session_factory, now - 3 * DAY, wrong, 70)
        elif corrected == "begin":
            link(session_factory, now - 2 * DAY, wrong, "a", "40")
        else:
            unlink(session_factory, now - 2 * DAY, wrong)

    def differing() -> list[tuple[Tracking, bool]]:
        """The kinds of goals whose closes are not those of their twins."""
        closed = [closes(session_factory, wrong) == closes(session_factory, twin) for wrong, twin in pairs]
        return [kind for kind, is_same in zip(TWINS, closed, strict=True) if not is_same]

    apply([balance(1_000, began - DAY, account) for account in "ab"])
    for days in range(8):
        apply([paid(f"{days}", 100 + days, began + days * DAY + 2 * HOUR, account) for account in "ab"])
    run_snapshot(session_factory, now)
    assert differing() == TWINS
    for wrong, twin in pairs:
        if corrected in ("share", "begin"):
            change(session_factory, now, wrong, 40, right.date())
        else:
            unlink(session_factory, now, wrong, right.date())
        assert amount(session_factory, wrong) == amount(session_factory, twin)
    run_snapshot(session_factory, now)
    assert differing() == []
    apply([paid("after", 900, now + HOUR, account) for account in "ab"], at=now + HOUR)
    apply([paid("late", 30, began + 4 * DAY, account) for account in "ab"], at=now + HOUR)
    run_snapshot(session_factory, now + DAY)
    for wrong, twin in pairs:
        assert amount(session_factory, wrong) == amount(session_factory, twin)
    assert differing() == []
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_a_day_is_that_of_the_tenant_and_the_audit_says_what_was_corrected(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """What came in on the day itself counts with the new share, what came in the day before with the old one."""
    goal_id = goal(session_factory, now - 3 * DAY)
    link(session_factory, now - 3 * DAY, goal_id, "a", "100")
    midnight = (now - DAY).replace(hour=0)
    apply([paid("1", 1_000, midnight - timedelta(microseconds=1)), paid("2", 100, midnight)])
    change(session_factory, now, goal_id, "12.5", midnight.date())
    assert amount(session_factory, goal_id) == 1_012
    unlink(session_factory, now, goal_id, midnight.date())
    assert amount(session_factory, goal_id) == 1_000
    with session_factory() as session:
        acts = Sql("SELECT subject, detail FROM audit WHERE action = 'funding.corrected' ORDER BY at").rows(session, {})
        assert acts == [
            (f"{goal_id} a", f"12.5% from {midnight.date()} on"),
            (f"{goal_id} a", f"nothing from {midnight.date()} on"),
        ]


Refused = Callable[[Sessions, datetime, str], object]


@pytest.mark.parametrize(
    ("error", "act"),
    [
        (InvalidField, lambda s, now, goal_id: change(s, now, goal_id, 40, (now - 4 * DAY).date())),
        (InvalidField, lambda s, now, goal_id: unlink(s, now, goal_id, (now - 4 * DAY).date())),
        (InvalidField, lambda s, now, goal_id: change(s, now, goal_id, 40, (now + DAY).date())),
        (InvalidField, lambda s, now, goal_id: unlink(s, now, goal_id, date.max)),
        (InvalidField, lambda s, now, goal_id: unlink(s, now, goal_id, date.min)),
        (InvalidField, lambda s, now, goal_id: change(s, now, goal_id, 0, now.date())),
        (AllocationExceeded, lambda s, now, goal_id: change(s, now, goal_id, 81, now.date())),
        (NotFound, lambda s, now, goal_id: change(s, now, goal_id, 40, now.date(), "none")),
        (NotFound, lambda s, now, goal_id: change(s, now, goal_id, 40, now.date(), "ended")),
        (NotFound, lambda s, now, goal_id: unlink(s, now, goal_id, now.date(), "ended")),
        (NotFound, lambda s, now, goal_id: unlink(s, now, goal_id, now.date(), "none")),
    ],
)
def test_a_refused_correction_changes_nothing(
    session_factory: Sessions, now: datetime, error: type[Exception], act: Refused
) -> None:
    """Before the goal began, after today, over 100%, of an account that has no link then."""
    goal_id = goal(session_factory, now - 3 * DAY)
    link(session_factory, now - 3 * DAY, goal_id, "a", "60")
    link(session_factory, now - 3 * DAY, goal_id, "b", "20")
    link(session_factory, now - 3 * DAY, goal_id, "ended", "20")
    unlink(session_factory, now - DAY, goal_id, account="ended")
    with session_factory() as session:
        before = rows_by_table(session)
    with pytest.raises(error):
        act(session_factory, now, goal_id)
    with session_factory() as session:
        assert rows_by_table(session) == before


def test_final_goals_and_net_worths_are_not_corrected(session_factory: Sessions, now: datetime) -> None:
    """The one has to be reopened first, the other takes no links."""
    goal_id, net_worth = goal(session_factory, now), goal(session_factory, now, GoalType.NET_WORTH)
    link(session_factory, now, goal_id, "a", "60")
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.ABANDONED), now)
    for each, error in ((goal_id, GoalIsFinal), (net_worth, TakesNoLinks)):
        with pytest.raises(error):
            change(session_factory, now, each, 40, now.date())
        with pytest.raises(error):
            unlink(session_factory, now, each, now.date())
