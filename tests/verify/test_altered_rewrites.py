"""The record of a rewrite that was altered by hand is found if it can no longer be undone."""

from __future__ import annotations

import pytest

from core.store.driver import Sql
from core.verify.checks import Violation
from core.verify.verify import verify
from tests.verify.conftest import Filled
from tests.verify.world import LATEST


def altered(filled: Filled, statement: str, goal: str) -> list[Violation]:
    """Change one row by hand and return what is wrong then."""
    with filled.sessions.begin() as session:
        done = Sql(statement).run(session, {"g": filled.goals[goal]})
        assert done == 1
    return list(verify(filled.sessions, LATEST, tenant="default").first)


def found(violations: list[Violation]) -> list[tuple[str, str | None, str, str | None]]:
    """(check, day, what, expected) of each."""
    return [(each.check, each.key.get("day"), each.what, each.expected) for each in violations]


def test_a_rewriting_that_changed_nothing_is_found(filled: Filled) -> None:
    """A record whose amount equals the present snapshot is wrong: its run must have written another amount."""
    wrong = altered(
        filled,
        """UPDATE close_rewrites r SET before_minor = s.amount_minor FROM goal_snapshots s
        WHERE (s.tenant, s.goal_id, s.day) = (r.tenant, r.goal_id, r.day)
          AND r.goal_id = :g AND r.day = '2026-03-09'""",
        "trip",
    )
    assert found(wrong) == [("close_rewrites", "2026-03-09", "close after it", "another")]


def test_a_rewriting_that_is_missing_is_found(filled: Filled) -> None:
    """Without it, undoing leads to two consecutive days that have a row with the same amount."""
    wrong = altered(filled, "DELETE FROM close_rewrites WHERE goal_id = :g AND day = '2026-03-04'", "house")
    assert found(wrong) == [("close_rewrites", "2026-03-05", "row before it", None)]


def test_a_second_rewriting_is_compared_with_the_first(filled: Filled) -> None:
    """Two runs that replaced the same amount are wrong: the earlier one would have changed nothing."""
    wrong = altered(
        filled,
        """INSERT INTO close_rewrites (tenant, goal_id, rewritten_at, day, before_minor)
        SELECT tenant, goal_id, rewritten_at - interval '1 second', day, before_minor FROM close_rewrites
        WHERE goal_id = :g AND day = '2026-03-09'""",
        "trip",
    )
    assert found(wrong) == [("close_rewrites", "2026-03-09", "close after it", "another")]


@pytest.mark.parametrize("day", ["2026-03-01", "2026-03-20"])
def test_a_rewriting_of_a_day_that_was_not_closed_is_found(filled: Filled, day: str) -> None:
    """Neither a day before the goal's first day nor a day that is not over can have been rewritten."""
    wrong = altered(
        filled,
        f"""INSERT INTO close_rewrites (tenant, goal_id, rewritten_at, day, before_minor)
        VALUES ('default', :g, '2026-03-20', '{day}', 7)""",
        "unlinked",
    )
    assert found(wrong) == [("close_rewrites", day, "day", "a closed day of a goal")]


def test_a_goal_that_was_not_closed_yet_has_no_past(filled: Filled) -> None:
    """Before a goal's first day had a row, none of its snapshots can have been rewritten."""
    wrong = altered(
        filled,
        """INSERT INTO close_rewrites (tenant, goal_id, rewritten_at, day, before_minor)
        VALUES ('default', :g, '2026-03-20 18:00Z', '2026-03-02', NULL)""",
        "trip",
    )
    assert found(wrong) == [("close_rewrites", "2026-03-02", "what came before it", "closes")]


def test_rewritings_of_no_goal_are_found(filled: Filled) -> None:
    """The records are deleted with their goal: one that is left over is named."""
    wrong = altered(
        filled,
        """INSERT INTO close_rewrites (tenant, goal_id, rewritten_at, day, before_minor)
        VALUES ('default', 'not ' || :g, '2026-03-20', '2026-03-10', 7)""",
        "trip",
    )
    assert ("close_rewrites", "2026-03-10", "day", "a closed day of a goal") in found(wrong)
