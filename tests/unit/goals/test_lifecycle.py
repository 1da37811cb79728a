"""A goal moves between its statuses as documented, and never out of a final one."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, StatusMoveRefused
from core.goals.goal import GoalStatus, can_start_as, is_final, move

ACTIVE, PAUSED = GoalStatus.ACTIVE, GoalStatus.PAUSED
COMPLETED, ABANDONED = GoalStatus.COMPLETED, GoalStatus.ABANDONED

ALLOWED = {(ACTIVE, PAUSED), (ACTIVE, COMPLETED), (ACTIVE, ABANDONED), (PAUSED, ACTIVE), (PAUSED, ABANDONED)}
REFUSED = set(itertools.permutations(GoalStatus, 2)) - ALLOWED


@pytest.mark.parametrize(("status", "wanted"), sorted(ALLOWED))
def test_a_documented_move_changes_the_status(status: GoalStatus, wanted: GoalStatus) -> None:
    """Active may pause, complete or be abandoned; paused may resume or be abandoned."""
    assert move(status, wanted) is True


@pytest.mark.parametrize(("status", "wanted"), sorted(REFUSED))
def test_any_other_move_is_refused(status: GoalStatus, wanted: GoalStatus) -> None:
    """A move that is not documented is a conflict whose text names both statuses."""
    with pytest.raises(StatusMoveRefused, match=f"{status} cannot become {wanted}") as refusal:
        move(status, wanted)
    assert isinstance(refusal.value, Conflict)
    assert (refusal.value.status, refusal.value.wanted) == (status.value, wanted.value)


@pytest.mark.parametrize("status", GoalStatus)
def test_a_status_set_to_itself_is_no_change(status: GoalStatus) -> None:
    """Setting the present status again changes nothing, also for final ones."""
    assert move(status, status) is False


def test_completed_and_abandoned_are_final() -> None:
    """Only completed and abandoned are final, and only the others can be begun with."""
    assert {status for status in GoalStatus if is_final(status)} == {COMPLETED, ABANDONED}
    assert {status for status in GoalStatus if can_start_as(status)} == {ACTIVE, PAUSED}


@given(st.sampled_from([ACTIVE, PAUSED]), st.lists(st.sampled_from(GoalStatus), max_size=30))
def test_no_walk_leaves_a_final_status(start: GoalStatus, wishes: list[GoalStatus]) -> None:
    """Whatever is asked for, in whatever order, a goal that was final once stays as it was."""
    walk = [start]
    for wanted in wishes:
        try:
            changed = move(walk[-1], wanted)
        except StatusMoveRefused:
            changed = False
        walk.append(wanted if changed else walk[-1])
    finals = list(itertools.dropwhile(lambda status: not is_final(status), walk))
    assert len(set(finals)) <= 1
    assert all(before == after or (before, after) in ALLOWED for before, after in itertools.pairwise(walk))
