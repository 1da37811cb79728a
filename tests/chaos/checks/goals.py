"""Compares accounts and goals with the oracle: worths, amounts, snapshots, milestones, messages, and the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tests.chaos.checks.evidence import Evidence, Row
from tests.chaos.operations.log import GoalLog
from tests.chaos.oracle.facts import FOR_EVER
from tests.chaos.oracle.goals import Goal, Link, Oracle
from tests.chaos.verdict import Verdict

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ExpectedGoal:
    """One goal: its row, the oracle's input, and the oracle's amounts now and at the end of each closed day.

    `finish_minor` is the amount at which the goal is reached.
    """

    row: Row
    goal: Goal
    finish_minor: int
    amount: int
    closes: Mapping[date, int]

    @property
    def key(self) -> str:
        """Its name in a list of wrong rows."""
        return f"{self.row['tenant']} {self.row['name']} ({self.goal.tracking})"


def expect_goals(
    goals: Sequence[GoalLog], evidence: Evidence, oracles: Mapping[str, Oracle], closed: Mapping[str, date]
) -> list[ExpectedGoal]:
    """The oracle's amounts of every stored goal (check_requests finds missing ones); `closed` is by tenant."""
    rows = {(row["tenant"], row["goal_id"]): row for row in evidence["goals"]}
    return [
        _expect_goal(goal, row, evidence, oracles[goal.tenant], closed[goal.tenant])
        for goal in goals
        if (row := rows.get((goal.tenant, goal.goal_id))) is not None
    ]


def _expect_goal(log: GoalLog, row: Row, evidence: Evidence, oracle: Oracle, closed_through: date) -> ExpectedGoal:
    """Ask the oracle about a goal, with the times that the server has initial_minor its links and manual amounts."""
    plan, own = log.plan, (log.tenant, log.goal_id)
    links = evidence.of_goal("links", *own) if plan.tracking != "net_worth" else []
    initial_minor = plan.target_minor if plan.type == "debt" else 0
    goal = Goal(
        goal_id=log.goal_id,
        type=plan.type,
        tracking=plan.tracking,
        currency=plan.currency,
        user_id=plan.user_id,
        target_minor=plan.target_minor,
        start_date=row["start_date"],
        manual=[
            (None, initial_minor if plan.current_minor is None else plan.current_minor),
            *((manual["manual_at"], manual["amount_minor"]) for manual in evidence.of_goal("manual_amounts", *own)),
        ],
        links=[Link(link["account_id"], link["ppm"], link["from_at"], link["until_at"]) for link in links],
        milestones=list(plan.milestones),
        final_at=row["final_at"],
    )
    return ExpectedGoal(row, goal, plan.finish_minor, oracle.amount(goal), oracle.closes(goal, closed_through))


def check_accounts(verdict: Verdict, oracles: Mapping[str, Oracle], evidence: Evidence) -> None:
    """Each account has the oracle's worth and the oracle's inflow."""
    expected = {
        f"{tenant} {name}": f"worth {measures.worth_before(FOR_EVER)}, inflow {measures.inflow_before(FOR_EVER)}"
        for tenant, oracle in oracles.items()
        for name, measures in oracle.measures.items()
        if name in oracle.facts.accounts
    }
    stored = {
        f"{row['tenant']} {row['account_id']}": f"worth {row['worth_minor']}, inflow {row['inflow_minor']}"
        for row in evidence["accounts"]
    }
    verdict.compare("worths", dict(expected), dict(stored))


def check_amounts(verdict: Verdict, goals: Sequence[ExpectedGoal], oracles: Mapping[str, Oracle]) -> None:
    """Each goal has the amount of the oracle, and waits for the same accounts."""
    expected = {each.key: f"{each.amount}, waits for {_waits(each, oracles)}" for each in goals}
    stored = {each.key: f"{each.row['amount_minor']}, waits for {sorted(each.row['waiting_for'])}" for each in goals}
    verdict.compare("amounts", dict(expected), dict(stored))


def check_closes(verdict: Verdict, goals: Sequence[ExpectedGoal], evidence: Evidence) -> None:
    """Each local day from the start on has a snapshot, without a gap, and each has the oracle's amount."""
    rows = []
    for each in goals:
        own = evidence.of_goal("goal_snapshots", each.row["tenant"], each.row["goal_id"])
        stored = filled({row["day"]: row["amount_minor"] for row in own}, each.closes)
        wrong = [day for day in each.closes if stored.get(day) != each.closes[day]]
        if wrong:
            first = wrong[0]
            rows.append(
                f"{each.key}: {len(wrong)} of {len(each.closes)} days, the first {first}: "
                f"stored {stored.get(first, 'nothing')}, expected {each.closes[first]}"
            )
    verdict.record("closes", sum(len(each.closes) for each in goals), rows)


def check_ledger(verdict: Verdict, goals: Sequence[ExpectedGoal], evidence: Evidence) -> None:
    """Each ledger is numbered without a gap, each entry begins where the last ended, the last one is the amount."""
    rows, checked = [], 0
    for each in goals:
        entries = evidence.of_goal("goal_entries", each.row["tenant"], each.row["goal_id"])
        checked += len(entries)
        rows += [f"{each.key}: {trouble}" for trouble in _gaps(entries, each.row)]
    verdict.record("ledger", checked, rows)


def check_milestones(
    verdict: Verdict, goals: Sequence[ExpectedGoal], oracles: Mapping[str, Oracle], evidence: Evidence
) -> None:
    """A milestone is reached exactly if the goal's amount ever reached it; each reached one has one message."""
    rows, checked = [], 0
    expected: dict[str, object] = {}
    for each in goals:
        own = evidence.of_goal("milestones", each.row["tenant"], each.row["goal_id"])
        checked += len(own)
        stored_as_reached = {row["amount_minor"] for row in own if row["reached_at"] is not None}
        if {row["amount_minor"] for row in own} != set(each.goal.milestones):
            rows.append(f"{each.key}: milestones {own}, expected {each.goal.milestones}")
        if each.row["status"] == "active" and not each.row["waiting_for"]:
            due = set(oracles[each.row["tenant"]].must_be_reached(each.goal, each.closes))
            rows += [
                f"{each.key}: {amount} is reached and not stored as reached"
                for amount in sorted(due - stored_as_reached)
            ]
        reached = stored_as_reached | ({each.finish_minor} if each.row["reached_at"] is not None else set())
        never = never_reached(reached, each, evidence)
        rows += [f"{each.key}: {amount} is stored as reached and never was" for amount in never]
        name = f"{each.row['tenant']} {{}}_reached:{each.row['goal_id']}:{{}}"
        expected |= {name.format("milestone", amount): 1 for amount in stored_as_reached}
        if each.row["reached_at"] is not None:
            expected[f"{each.row['tenant']} goal_reached:{each.row['goal_id']}"] = 1
    verdict.record("milestones", checked, rows)
    stored: dict[str, object] = _not_withdrawn(evidence["outbox"])
    verdict.compare("one message when reached", expected, stored)


def _not_withdrawn(messages: Iterable[Mapping[str, Any]]) -> dict[str, object]:
    """What was reached by the messages that were not withdrawn, each with how many of these there are."""
    ids = {(row["tenant"], row["message_id"]) for row in messages}
    left: dict[str, int] = {}
    for tenant, message_id in ids:
        type_, _, rest = message_id.partition(":")
        if type_ in ("milestone_reached", "goal_reached") and (tenant, f"{type_}_withdrawn:{rest}") not in ids:
            what = f"{tenant} {message_id.rpartition(':')[0]}"
            left[what] = left.get(what, 0) + 1
    return dict(left)


def never_reached(stored_as_reached: Iterable[int], each: ExpectedGoal, evidence: Evidence) -> list[int]:
    """The amounts stored as reached that no ledger entry and no snapshot, current or earlier, has reached."""
    own = each.row["tenant"], each.row["goal_id"]
    amounts = [entry["after_minor"] for entry in evidence.of_goal("goal_entries", *own)]
    amounts += [close["amount_minor"] for close in evidence.of_goal("goal_snapshots", *own)]
    amounts += [close["before_minor"] for close in evidence.of_goal("close_rewrites", *own)]
    best = max((each.goal.direction * amount for amount in amounts), default=None)
    return sorted(amount for amount in stored_as_reached if best is None or best < each.goal.direction * amount)


def filled(rows: Mapping[date, int], days: Iterable[date]) -> dict[date, int]:
    """The snapshot of each day; only the first day and those that differ from the day before have a row."""
    found: dict[date, int] = {}
    for day in sorted(days):
        if day in rows or day - _DAY in found:
            found[day] = rows[day] if day in rows else found[day - _DAY]
    return found


def _waits(each: ExpectedGoal, oracles: Mapping[str, Oracle]) -> list[str]:
    return oracles[each.row["tenant"]].waits_for(each.goal)


def _gaps(entries: Sequence[Row], goal: Row) -> Iterable[str]:
    before: Any = None
    for number, entry in enumerate(entries, start=1):
        if entry["entry"] != number:
            yield f"entry {entry['entry']} where {number} should be"
        if entry["before_minor"] != before:
            yield f"entry {number} begins at {entry['before_minor']}, not at {before}"
        before = entry["after_minor"]
    if before != goal["amount_minor"] or len(entries) != goal["entries"]:
        stored = f"the goal has {goal['entries']} and the amount {goal['amount_minor']}"
        yield f"{len(entries)} entries end at {before}; {stored}"
