"""What was known at every moment of a random life can be asked for at its end."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.goals.goal import Tracking
from core.store.database import Sessions
from core.store.goals import read_goal
from core.store.snapshots import DayRange, read_snapshots_as_known
from core.verify.verify import verify
from tests.budget import examples
from tests.snapshots.knowing import BEGINNING, Known, Life

_zones = st.sampled_from(["UTC", "America/Havana", "Asia/Kathmandu", "Pacific/Auckland"])
_number, _account, _back = st.integers(0, 3), st.integers(0, 1), st.integers(0, 9)
_minor = st.integers(-4_000, 4_000)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 60)),
        st.tuples(st.just("close")),
        st.tuples(st.just("close")),
        st.tuples(st.just("close_part"), st.integers(0, 3)),
        st.tuples(st.just("create"), st.sampled_from(Tracking), _back, st.booleans()),
        st.tuples(st.just("delete"), _number),
        st.tuples(st.just("link"), _number, _account, _back),
        st.tuples(st.just("type"), _number, st.integers(10, 90)),
        st.tuples(st.just("pay"), _account, st.integers(0, 4), _back, _minor),
        st.tuples(st.just("pay"), _account, st.integers(0, 4), _back, _minor),
        st.tuples(st.just("remove"), _account, st.integers(0, 4)),
        st.tuples(st.just("report"), _account, _back, st.integers(-9_000, 9_000)),
        st.tuples(st.just("turn"), _account, st.sampled_from(["asset", "liability"])),
    ),
    min_size=6,
    max_size=30,
)


# An example takes half a second, so making a failing one smaller would take minutes.
@settings(max_examples=examples(12), phases=[Phase.explicit, Phase.generate])
@given(_zones, _steps)
def test_every_moment_is_answered_as_it_was(session_factory: Sessions, zone: str, steps: list[tuple[Any, ...]]) -> None:
    """The test keeps the stored snapshots after each step; at the end each of those moments is answered with them.

    After each closing these are also the closes that a request was answered with at that moment.
    """
    life = Life.begin(session_factory, zone, BEGINNING)
    for tracking in (Tracking.CHANGE, Tracking.INFLOW, Tracking.BALANCE):
        life.step("create", tracking, 4)
        life.step("link", len(life.goals) - 1, 0, 4)
    life.step("wait", 24)
    for step in [*steps, ("close",)]:
        life.step(*step)
        if step == ("close",):
            _assert_answered_as_written(life.known[-1])
    assert verify(session_factory, life.now, tenant=life.tenant.name).is_ok
    for known, goal_id in itertools.product(life.known, [goal_id for goal_id, _ in life.goals]):
        if goal_id not in life.deleted:
            assert life.ask(goal_id, life.now, known.at) == known.written.get(goal_id, {})
            _assert_sparse(life, goal_id, known)


def _assert_answered_as_written(known: Known) -> None:
    """Once all is closed, what is written is what a request that knows no other moment is answered with."""
    through = known.closed_through
    assert through is not None
    # Another day may have ended since.
    answered = {goal_id: {day: it[day] for day in it if day <= through} for goal_id, it in known.answered.items()}
    assert answered == known.written


def _assert_sparse(life: Life, goal_id: str, known: Known) -> None:
    """What is read back is a row only where the close is another than the one before, as it was then."""
    if known.closed_through is None:
        return
    with life.sessions() as session:
        goal = read_goal(session, (life.tenant.name, goal_id))
        assert goal is not None
        closes = read_snapshots_as_known(session, goal, DayRange(goal.start_date, known.closed_through), known.at)
    assert all(one[1] != other[1] for one, other in itertools.pairwise(closes))
