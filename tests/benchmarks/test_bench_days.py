"""The bench of days: its closes are those of the formula, and what they cost does not grow with age."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console
from sqlalchemy import Engine, text

from benchmarks.check import WrongResult
from benchmarks.days.__main__ import as_plain, as_tables
from benchmarks.days.cases import Case, DaysPlan, Measured, TakeStep, TooFewGoals, cases, measure_case
from benchmarks.days.check import check_closes
from benchmarks.days.measure import measure, take_step
from benchmarks.days.seed import seed_days
from benchmarks.servers import database, unlimited
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.ops.latency import StepProgress

LATE = 50
SEEDED = "seeded_days"
FACTS = ("transactions", "reports", "goal_snapshots", "links", "goals")


@pytest.fixture(scope="module")
def plan(postgres: EmbeddedPostgres) -> Iterator[DaysPlan]:
    """2,000 goals, of which 5% moved, in a database whose days are closed through the day before yesterday."""
    plan = DaysPlan.of(2_000, 5.0, LATE, 2_000)
    with database(postgres.url, SEEDED) as url:
        seed_days(url, plan.world)
        yield plan


@pytest.fixture
def copied(plan: DaysPlan, postgres: EmbeddedPostgres) -> Iterator[Engine]:  # noqa: ARG001  # seeds
    """An engine on a copy of the seeded world."""
    with database(postgres.url, "copied_days", template=SEEDED) as url, unlimited(url) as engine:
        yield engine


def measured(plan: DaysPlan, postgres: EmbeddedPostgres, case: Case, take: TakeStep = take_step) -> Measured:
    """A case, measured on a fresh copy; all its closes are held against the formula."""
    with (
        database(postgres.url, "measured_days", template=SEEDED) as url,
        StepProgress.on(Console(file=StringIO())) as progress,
    ):
        return measure_case(plan, case, url, progress, is_projected=case.age == 1, take=take)


def found(plan: DaysPlan, name: str, age: int) -> Case:
    """A case of the plan."""
    return next(case for case in cases(plan) if (case.name, case.age) == (name, age))


def test_a_night_writes_one_close_for_each_goal_that_moved(plan: DaysPlan, postgres: EmbeddedPostgres) -> None:
    """Closing yesterday adds a row for each goal that moved, reads nothing of the others, and is done only once."""
    nightly = measured(plan, postgres, found(plan, "nightly", 1))
    assert len(nightly.case.numbers) == 50
    closes = nightly.closed.of("goal_snapshots")
    assert (closes.inserted, closes.updated, closes.deleted) == (100, 0, 0)
    assert closes.read == 100
    assert nightly.closed.of("links").read == 200
    assert {table: rows.written for table, rows in nightly.again.rows.items() if rows.written} == {}
    assert nightly.projected is not None
    assert nightly.projected.of("forecasts").inserted == 2_000


def test_a_late_fact_before_a_report_costs_the_same_at_any_age(plan: DaysPlan, postgres: EmbeddedPostgres) -> None:
    """A fact of 3,000 days ago reads and writes the rows that one of 30 days ago does: those up to the next report."""
    recent = measured(plan, postgres, found(plan, "a report follows", 30)).closed
    ancient = measured(plan, postgres, found(plan, "a report follows", 3_000)).closed
    assert {table: ancient.of(table) for table in FACTS} == {table: recent.of(table) for table in FACTS}
    closes = ancient.of("goal_snapshots")
    # The late day, two days that moved, and the report's day, on which the goal is back where it was.
    assert (closes.inserted, closes.updated, closes.deleted) == (2 * 2 * LATE, 2 * 2 * LATE, 0)


def test_a_late_fact_without_a_report_rewrites_every_close_since(plan: DaysPlan, postgres: EmbeddedPostgres) -> None:
    """Where no report takes a late fact back, a row is added for its day, and all later ones of its goals change."""
    case = found(plan, "none follows", 300)
    late = measured(plan, postgres, case, measure)
    closes = late.closed.of("goal_snapshots")
    assert (closes.inserted, closes.updated, closes.deleted) == (2 * LATE, 2 * LATE * 30, 0)
    plain = as_plain(plan, late)
    assert plain["closes_written"] == late.closes == 2 * LATE * 31
    assert json.loads(json.dumps(plain))["steps"]["close"]["rows"]["goal_snapshots"]["updated"] == 2 * LATE * 30
    console = Console(file=StringIO(), width=140)
    console.print(*as_tables(plan, [late]))
    assert "300 days late, none follows" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_seeded_past_is_closed_by_the_formula(plan: DaysPlan, copied: Engine) -> None:
    """Every account of the seed has exactly the closes that its transactions and reports say."""
    assert check_closes(copied, range(plan.world.accounts), plan.today - timedelta(days=2)) == 1_000


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE goal_snapshots SET amount_minor = amount_minor + 1 WHERE (goal_id, day) IN"
        " (SELECT goal_id, day FROM goal_snapshots ORDER BY 1, 2 OFFSET 7 LIMIT 1)",
        "DELETE FROM goal_snapshots WHERE (goal_id, day) IN"
        " (SELECT goal_id, day FROM goal_snapshots ORDER BY 1, 2 OFFSET 7 LIMIT 1)",
        "INSERT INTO goal_snapshots SELECT tenant, goal_id, day + 1, amount_minor FROM goal_snapshots"
        " ORDER BY goal_id, day OFFSET 7 LIMIT 1",
        "UPDATE accounts SET dirty_from = now() WHERE account_id = 'account-n0000999'",
        "UPDATE tenants SET closed_through = closed_through + 1",
    ],
)
def test_one_wrong_row_is_reported(plan: DaysPlan, copied: Engine, fault: str) -> None:
    """A close that is altered, missing or needless, a mark that is left and a day that is not closed end a bench."""
    with copied.begin() as connection:
        connection.execute(text(fault))
    with pytest.raises(WrongResult, match="is wrong in 1 places"):
        check_closes(copied, range(plan.world.accounts), plan.today - timedelta(days=2))


def test_too_few_goals_are_refused() -> None:
    """Late facts need accounts of their own: a plan with too few says how many goals it takes."""
    with pytest.raises(TooFewGoals, match="need more than 400 goals, not 400"):
        DaysPlan.of(400, 5.0, 100, 2_000)
