"""The checks themselves: they must be able to fail, and the oracle must know its sums."""

from __future__ import annotations

import pytest

from tests.berka.oracle import Movement, goal_amounts, hellers, share, worths_by_reports, worths_by_sum
from tests.berka.oracle_days import DAYS, closes_by_reports, closes_by_sum, dense, goal_closes, sparse
from tests.berka.report import Differs, Report


def test_one_heller_is_seen_and_named() -> None:
    """A check over mappings fails for one heller, and names the row with both figures."""
    with pytest.raises(Differs, match=r"1 of 2 differ:\n  b: expected 200, found 201$"):
        Report().equal("worths", {"a": 100, "b": 200}, {"a": 100, "b": 201})


def test_a_row_too_many_or_too_few_is_seen() -> None:
    """A key on one side only is a difference, whichever the side."""
    for expected, found in (({}, {"a": 1}), ({"a": 1}, {})):
        with pytest.raises(Differs, match="1 of 1 differ"):
            Report().equal("worths", expected, found)


def test_differing_rows_of_a_dump_are_shown() -> None:
    """Of two dumps the rows that are in one only are shown, as expected and as found."""
    with pytest.raises(Differs, match=r"2 rows expected, 2 found\n    expected x\n    found    y$"):
        Report().equal("dump", {"accounts": ["a", "x"]}, {"accounts": ["a", "y"]})
    with pytest.raises(Differs, match=r"no dead letters, but there are 1:\nbad amount"):
        Report().none("no dead letters", ["bad amount"])


def test_the_oracle_cuts_shares_towards_zero() -> None:
    """60% of 0.99 is 0.59, and of -0.99 it is -0.59; no float is on the way."""
    assert (share(99, 60), share(-99, 60), share(10**18 + 1, 40)) == (59, -59, 4 * 10**17)
    assert (hellers("-12.30"), hellers("0.05")) == (-1230, 5)


def test_the_oracle_lets_the_last_report_speak() -> None:
    """Transactions sum up; with balances the last day's stated balance nearest to the sum is the worth."""
    movements = [
        Movement("a", "1", "930101", 1000_00, 1000_00),
        Movement("b", "1", "930202", -30_00, 970_01),
        Movement("c", "1", "930202", -10_00, 960_01),
    ]
    assert worths_by_sum(movements) == {"1": 960_00}
    assert worths_by_reports(movements) == {"1": 960_01}
    assert goal_amounts({"1": 960_01}, movements) == {("1", "balance"): 576_00, ("1", "change"): 384_00}


def test_the_oracle_knows_every_close() -> None:
    """A day without a row has the close of the one before; where days end with reports these tell, and nothing else."""
    movements = [
        Movement("a", "1", "930103", 1000_00, 1000_00),
        Movement("b", "1", "940331", -30_00, 970_01),
        Movement("c", "1", "940331", -10_00, 960_01),
    ]
    assert (DAYS[0], DAYS[-1], len(DAYS)) == ("1993-01-01", "1994-03-31", 455)
    by_sum, by_reports = closes_by_sum(movements)["1"], closes_by_reports(movements)["1"]
    assert [day for day, _ in by_sum] == list(DAYS)
    assert sparse(by_sum) == [("1993-01-01", 0), ("1993-01-03", 1000_00), ("1994-03-31", 960_00)]
    assert sparse(by_reports) == [("1993-01-01", 0), ("1993-01-03", 1000_00), ("1994-03-31", 960_01)]
    assert dense(sparse(by_sum)[1:], 0) == by_sum
    goals = goal_closes({"1": by_reports})
    assert [line[-1] for line in goals.values()] == [("1994-03-31", 576_00), ("1994-03-31", 384_00)]


def test_one_close_of_one_day_is_seen_and_named() -> None:
    """A check over lines of closes fails for one heller on one day, and shows the day with both figures."""
    expected, found = [("1993-01-01", 0), ("1993-01-02", 5)], [("1993-01-01", 0), ("1993-01-02", 6)]
    with pytest.raises(Differs, match=r"expected \('1993-01-02', 5\)\n    found    \('1993-01-02', 6\)$"):
        Report().equal("closes", {"a": expected}, {"a": found})
