"""Each check of the chaos run can fail: a run's rows are altered by one, and the check names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.chaos.checks.events import applied_events, check_dead, check_facts, check_sent, fold
from tests.chaos.checks.evidence import Evidence
from tests.chaos.checks.goals import (
    check_accounts,
    check_amounts,
    check_closes,
    check_ledger,
    check_milestones,
    expect_goals,
    filled,
)
from tests.chaos.checks.requests import check_requests
from tests.chaos.checks.rest import check_rest
from tests.chaos.load.events import Event, Maker, spoil
from tests.chaos.load.sent_log import Answer, SentLog
from tests.chaos.load.world import AccountPlan, GoalPlan
from tests.chaos.operations.log import GoalLog, Operation
from tests.chaos.oracle.goals import Oracle
from tests.chaos.verdict import Verdict

BEGAN = datetime(2026, 3, 5, 12, tzinfo=UTC)
CLOSED = date(2026, 3, 7)
ACCOUNT = AccountPlan("a", "u", "USD", False)
PLAN = GoalPlan("goal 0", "u", "savings", "change", "USD", 100_000, 500, 2, (1_000, 9_000), ())
MAKER = Maker("test", "default")


def hours(number: float) -> datetime:
    """So many hours after the beginning."""
    return BEGAN + timedelta(hours=number)


def paid(name: str, minor: int, at: datetime) -> Event:
    """A transaction, recorded when it was posted."""
    return MAKER.transaction(name, at, ACCOUNT, name, minor, at.isoformat())


# When the rows are read.
READ_AT = hours(72)
GOOD, LATER, REFUSED = paid("e1", 700, hours(4)), paid("e2", 50, hours(30)), paid("e3", 9, hours(5))
WINDOW = MAKER.window("e6", hours(8), ACCOUNT, date(2026, 3, 1), date(2026, 3, 2))
AHEAD = MAKER.report("e7", hours(8), ACCOUNT, 100, hours(97).isoformat())
BAD = spoil(paid("e4", 1, hours(6)), "no such type", BEGAN)


def a_sent_log() -> SentLog:
    """Two good transactions, one of them twice; a window and a report ahead; one refused, one bad, one unknown."""
    sent_log = SentLog()
    sent_log.note([GOOD, LATER, LATER, WINDOW, AHEAD, BAD], Answer.ACKNOWLEDGED)
    sent_log.note([REFUSED], Answer.REFUSED)
    sent_log.note([paid("e5", 77, hours(7))], Answer.UNKNOWN)
    return sent_log


def a_goal() -> GoalLog:
    """Made, linked, typed and unlinked again."""
    operations = [
        Operation("create", hours(0), hours(0.1), since=date(2026, 3, 4)),
        Operation("link", hours(1), hours(1.1), "a", 1_000_000),
        Operation("type", hours(2), hours(2.1), amount_minor=600),
        Operation("unlink", hours(26), hours(26.1), "a"),
    ]
    return GoalLog("default", PLAN, "g", operations)


def transaction(event: Event, minor: int, at: datetime) -> dict[str, Any]:
    """The row that an event leaves."""
    name = event.event_id
    row = {"tenant": "default", "account_id": "a", "transaction_id": name, "amount_minor": minor, "posted_at": at}
    return row | {"pending": False, "removed": False, "replaces": None, "due_at": None, "event_id": name}


def rows() -> dict[str, list[dict[str, Any]]]:
    """What a run with that sent log and that goal leaves: 6.00 typed and 7.00 since make 13.00, past a milestone."""
    own = {"tenant": "default", "goal_id": "g"}
    ranks = (
        "user_id",
        "kind",
        "name",
        "closed",
        "replaced_by",
        "replaced_from",
        "opened",
        "connection",
        "connection_reason",
    )
    account = {"tenant": "default", "account_id": "a", "worth_minor": 750, "inflow_minor": 750}
    link = own | {"account_id": "a", "linked_at": hours(1.05), "from_at": hours(1.05), "until_at": hours(26.05)}
    goal = own | {"name": "goal 0", "amount_minor": 1_300, "waiting_for": [], "status": "active", "final_at": None}
    goal |= {"reached_at": None, "entries": 3, "target_minor": 100_000, "start_date": date(2026, 3, 4)}
    window = {"tenant": "default", "account_id": "a", "source": "test", "event_time": hours(8)}
    entries = [(1, None, 500), (2, 500, 600), (3, 600, 1_300)]
    return {
        "transactions": [transaction(GOOD, 700, hours(4)), transaction(LATER, 50, hours(30))],
        "reports": [],
        "waiting_reports": [
            {"tenant": "default", "account_id": "a", "as_of": hours(97), "current_minor": 100, "event_id": "e7"}
        ],
        "windows": [window | {"from_day": date(2026, 3, 1), "through_day": date(2026, 3, 2)}],
        "accounts": [account | {"joined_as": None} | dict.fromkeys([f"{rank}_rank" for rank in ranks] + list(ranks))],
        "dead_letters": [
            {"tenant": "default", "shard": 0, "entry_id": "1-0", "code": "unknown_type", "event": BAD.body}
        ],
        "goals": [goal],
        "links": [link | {"ppm": 1_000_000}],
        "manual_amounts": [own | {"manual_at": hours(2.05), "amount_minor": 600}],
        "milestones": [
            own | {"amount_minor": 1_000, "reached_at": hours(4)},
            own | {"amount_minor": 9_000, "reached_at": None},
        ],
        "goal_entries": [own | {"entry": n, "before_minor": b, "after_minor": a} for n, b, a in entries],
        "goal_snapshots": [
            own | {"day": date(2026, 3, 4), "amount_minor": 500},
            own | {"day": date(2026, 3, 5), "amount_minor": 1_300},
        ],
        "close_rewrites": [],
        "outbox": [{"tenant": "default", "message_id": "milestone_reached:g:1000:1", "type": "milestone.reached"}],
    }


def check(evidence: Evidence, sent_log: SentLog, goal: GoalLog) -> Verdict:
    """All checks that need no servers."""
    verdict = Verdict()
    facts = fold(applied_events(sent_log, evidence.standing()), 1, READ_AT)
    oracles = {tenant: Oracle(of) for tenant, of in facts.items()}
    check_sent(verdict, sent_log, evidence)
    check_facts(verdict, facts, evidence)
    check_dead(verdict, sent_log, evidence)
    check_requests(verdict, [goal], evidence)
    check_accounts(verdict, oracles, evidence)
    goals = expect_goals([goal], evidence, oracles, {"default": CLOSED})
    check_amounts(verdict, goals, oracles)
    check_closes(verdict, goals, evidence)
    check_ledger(verdict, goals, evidence)
    check_milestones(verdict, goals, oracles, evidence)
    return verdict


def test_a_run_in_which_all_is_well_is_good() -> None:
    """Nothing is wrong, and every check has looked at something."""
    verdict = check(Evidence(rows(), READ_AT), a_sent_log(), a_goal())
    assert verdict.wrong == []
    assert all(verdict.checks.values())


Rows = dict[str, list[dict[str, Any]]]
ALTERED: dict[str, tuple[str, Callable[[Rows], object]]] = {
    "an acknowledged event is not there": ("acknowledged is applied", lambda r: r["transactions"].pop()),
    "one has another amount": ("acknowledged is applied", lambda r: r["transactions"][0].update(amount_minor=1)),
    "one waits that is due": ("acknowledged is applied", lambda r: r["transactions"][0].update(due_at=hours(4))),
    "a report does not wait": ("acknowledged is applied", lambda r: r["reports"].append(r["waiting_reports"].pop())),
    "a window is not there": ("acknowledged is applied", lambda r: r["windows"].pop()),
    "a window has other days": (
        "acknowledged is applied",
        lambda r: r["windows"][0].update(through_day=date(2026, 3, 3)),
    ),
    "one stands that nobody sent": (
        "applied was attempted",
        lambda r: r["transactions"].append(transaction(paid("x", 1, BEGAN), 1, BEGAN)),
    ),
    "one stands that was refused": (
        "applied was attempted",
        lambda r: r["transactions"].append(transaction(REFUSED, 9, hours(5))),
    ),
    "a bad event is no letter": ("dead letters", lambda r: r["dead_letters"].pop()),
    "a bad event is two letters": ("dead letters", lambda r: r["dead_letters"].append(r["dead_letters"][0])),
    "a good event is a letter": ("dead letters", lambda r: r["dead_letters"][0].update(event=GOOD.body)),
    "a letter has another reason": ("dead letters", lambda r: r["dead_letters"][0].update(code="poison")),
    "an account is worth a cent more": ("worths", lambda r: r["accounts"][0].update(worth_minor=751)),
    "a goal has a cent more": ("amounts", lambda r: r["goals"][0].update(amount_minor=1_301)),
    "a goal waits for nothing it should": ("amounts", lambda r: r["goals"][0].update(waiting_for=["a"])),
    "a close is missing": ("closes", lambda r: r["goal_snapshots"].pop(0)),
    "a close is wrong": ("closes", lambda r: r["goal_snapshots"][1].update(amount_minor=1_299)),
    "a ledger has a hole": ("ledger", lambda r: r["goal_entries"].pop(1)),
    "a line begins elsewhere": ("ledger", lambda r: r["goal_entries"][2].update(before_minor=601)),
    "the last line is not the amount": ("ledger", lambda r: r["goal_entries"][2].update(after_minor=1_299)),
    "a milestone is not marked": ("milestones", lambda r: r["milestones"][0].update(reached_at=None)),
    "a milestone is marked and was never reached": (
        "milestones",
        lambda r: r["milestones"][1].update(reached_at=hours(5)),
    ),
    "a goal is reached and never was": ("milestones", lambda r: r["goals"][0].update(reached_at=hours(5))),
    "a mark has no message": ("one message when reached", lambda r: r["outbox"].pop()),
    "a message has no mark": (
        "one message when reached",
        lambda r: r["outbox"].append(r["outbox"][0] | {"message_id": "milestone_reached:g:9000:1"}),
    ),
    "a link is there twice": ("requests", lambda r: r["links"].append(r["links"][0])),
    "a link is not there": ("requests", lambda r: r["links"].pop()),
    "a link began before it was asked for": ("requests", lambda r: r["links"][0].update(from_at=hours(0.9))),
    "a link has not ended": ("requests", lambda r: r["links"][0].update(until_at=None)),
    "an amount was typed twice": ("requests", lambda r: r["manual_amounts"].append(r["manual_amounts"][0])),
    "a goal that was made is not there": ("requests", lambda r: r["goals"].pop()),
    "a goal is paused that nobody paused": ("requests", lambda r: r["goals"][0].update(status="paused")),
    "a goal starts on another day": ("requests", lambda r: r["goals"][0].update(start_date=date(2026, 3, 3))),
    "a goal has ended that nobody ended": ("requests", lambda r: r["goals"][0].update(final_at=hours(30))),
    "a goal is there that nobody made": ("requests", lambda r: r["goals"].append(r["goals"][0] | {"goal_id": "h"})),
}


@pytest.mark.parametrize("what", ALTERED)
def test_a_row_that_is_wrong_is_found(what: str) -> None:
    """The check that it is for says so."""
    check_name, alter = ALTERED[what]
    altered = rows()
    alter(altered)
    verdict = check(Evidence(altered, READ_AT), a_sent_log(), a_goal())
    assert not verdict.is_good
    assert check_name in {wrong.check for wrong in verdict.wrong}


def test_a_mark_by_a_close_that_was_corrected_stays() -> None:
    """The close of a day stood at 95.00 before a late fact took it back: the mark of 90.00 was right then."""
    corrected = rows()
    corrected["milestones"][1].update(reached_at=hours(12))
    corrected["outbox"].append(corrected["outbox"][0] | {"message_id": "milestone_reached:g:9000:1"})
    corrected["close_rewrites"].append({"tenant": "default", "goal_id": "g", "before_minor": 9_500})
    assert check(Evidence(corrected, READ_AT), a_sent_log(), a_goal()).wrong == []


SHOWN = [{"day": f"2026-03-0{day}", "amount": amount} for day, amount in ((4, 5), (5, 13), (6, 13), (7, 13))]


@pytest.mark.parametrize(
    ("amount", "days", "said"),
    [
        (13, SHOWN, []),
        (13.01, SHOWN, ["shows 1301, expected 1300"]),
        (13, SHOWN[:-1], ["2026-03-07: shows None, expected 1300"]),
        (13, [*SHOWN[:-1], SHOWN[-1] | {"amount": 12.99}], ["2026-03-07: shows 1299, expected 1300"]),
        (None, SHOWN, ["is not shown: Server error '500 Internal Server Error'"]),
    ],
    ids=["as it is", "a cent more", "a day less", "a cent less on a day", "no answer"],
)
def test_what_callers_see_is_compared_with_the_oracle(amount: float | None, days: object, said: list[str]) -> None:
    """The amount and each day's close, and an answer that is none is wrong too."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/goals/g/snapshots":
            return httpx2.Response(200, json=days)
        return httpx2.Response(500 if amount is None else 200, json={"current_amount": amount})

    evidence = Evidence(rows(), READ_AT)
    facts = fold(applied_events(a_sent_log(), evidence.standing()), 1, READ_AT)
    oracles = {tenant: Oracle(of) for tenant, of in facts.items()}
    verdict = Verdict()
    with httpx2.Client(base_url="http://api", transport=httpx2.MockTransport(answer)) as client:
        check_rest(verdict, expect_goals([a_goal()], evidence, oracles, {"default": CLOSED}), {"default": client})
    assert len(verdict.wrong) == len(said)
    assert all(text in wrong.row for text, wrong in zip(said, verdict.wrong, strict=True))


def test_an_event_of_which_nobody_knows_may_be_applied_or_not() -> None:
    """Where the rows say that it was, worths have to have it in them."""
    applied = rows()
    applied["transactions"].append(transaction(paid("e5", 77, hours(7)), 77, hours(7)))
    verdict = check(Evidence(applied, READ_AT), a_sent_log(), a_goal())
    assert {wrong.check for wrong in verdict.wrong} == {"worths", "amounts", "closes"}


def test_a_day_without_a_row_has_the_close_of_the_day_before() -> None:
    """But for days before the first row, which have none."""
    days = [date(2026, 3, day) for day in range(1, 6)]
    assert filled({days[1]: 5, days[3]: 7}, days) == {days[1]: 5, days[2]: 5, days[3]: 7, days[4]: 7}


def test_of_many_wrong_rows_the_first_of_each_check_are_shown() -> None:
    """A check with many does not hide another."""
    verdict = Verdict()
    verdict.record("one", 9, [f"row {n}" for n in range(9)])
    verdict.compare("other", {"a": 1, "b": 2}, {"a": 1, "b": 3})
    assert [(each.check, each.row) for each in verdict.first(2)] == [
        ("one", "row 0"),
        ("one", "row 1"),
        ("other", "b: stored 3, expected 2"),
    ]


def test_a_request_that_ended_a_share_begins_the_next_one() -> None:
    """An allocation ends one period and begins another; giving the goal up ends all."""
    goal = a_goal()
    goal.operations[-1] = replace(goal.operations[-1], verb="allocate", ppm=300_000)
    assert goal.shares == {"a": 300_000}
    goal.operations.append(Operation("abandon", hours(40), hours(41)))
    assert goal.shares == {}
    assert goal.is_over
