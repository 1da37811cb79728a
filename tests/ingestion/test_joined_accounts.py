"""Accounts that go on under a new id, and accounts that were opened on a day: each counts once, in its own time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from core.errors import InvalidField
from core.goals.goal import GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import run_snapshot
from core.services.history import read_snapshots
from core.store.database import Sessions
from core.verify.verify import verify
from tests.acts import DEFAULT, amount, balance, event, goal, goal_progress, link, paid
from tests.conftest import NOW, Apply

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TODAY = NOW.date()


def changed(account: str, at: datetime = NOW, **data: Any) -> bytes:
    """A statement about an account."""
    return event("account.changed", at, f"{account} {at} {data}", {"account_id": account} | data)


def day(back: int) -> date:
    """So many days ago."""
    return TODAY - back * DAY


def test_a_new_login_counts_once_in_the_present_and_in_all_closes(session_factory: Sessions, apply: Apply) -> None:
    """The old account counts up to the first balance of the new one, whatever it says later; then the new one does."""
    changes = {"type": GoalType.NET_WORTH, "tracking": Tracking.NET_WORTH, "start_date": day(5)}
    goal_id = goal(session_factory, NOW, **changes)  # type: ignore[arg-type]
    joined_at = NOW - 30 * HOUR
    apply([balance(3800_00, NOW - 100 * HOUR, account="old", user_id="u")])
    apply([balance(3900_00, joined_at, account="new", user_id="u")])
    assert amount(session_factory, goal_id) == 7700_00
    apply([changed("old", replaced_by="new", closed=True)])
    assert amount(session_factory, goal_id) == 3900_00
    apply([balance(0, joined_at, account="old"), paid("late", 5_00, NOW - HOUR, account="old")])
    assert amount(session_factory, goal_id) == 3900_00
    run_snapshot(session_factory, NOW)
    with session_factory() as session:
        closes = read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=NOW).snapshots
        assert goal_progress(session, DEFAULT, goal_id, NOW).as_of == joined_at
    assert {close.amount_minor for close in closes if close.day < joined_at.date()} == {3800_00}
    assert {close.amount_minor for close in closes if close.day >= joined_at.date()} == {3900_00}


# The old account has 100.00 twenty days ago and gets 20.00 ten days ago; the new one has 150.00 five days ago and gets
# 7.00 three days ago. Later facts of the old one and earlier ones of the new one are another 1.00 each.
FACTS = [
    balance(100_00, NOW - 20 * DAY, account="old", user_id="u", kind="asset"),
    paid("t1", 20_00, NOW - 10 * DAY, account="old"),
    paid("t2", 1_00, NOW - 2 * DAY, account="old"),
    paid("t3", 1_00, NOW - 8 * DAY, account="new"),
    balance(150_00, NOW - 5 * DAY, account="new", user_id="u", kind="asset"),
    paid("t4", 7_00, NOW - 3 * DAY, account="new"),
]
JOINED, APART = (157_00, 57_00, 57_00, 27_00), (278_00, 21_00, 8_00, 21_00)


VARIANTS = [
    ([], APART),
    ([changed("old", replaced_by="new")], JOINED),
    # On the day seven days ago the new account had 150.00, and the old one had had 120.00 before.
    ([changed("old", replaced_by="new", **{"from": str(day(7))})], JOINED),
    # The new one had 149.00 on that day, carried back, and got 1.00 and 7.00 since.
    ([changed("old", replaced_by="new", **{"from": str(day(9))})], (157_00, 57_00, 57_00, 28_00)),
    ([changed("old", NOW - DAY, replaced_by="new"), changed("old", replaced_by=None)], APART),
    ([changed("old", replaced_by="new"), changed("old", NOW - DAY, replaced_by=None)], JOINED),
    # The one in the middle has no facts.
    ([changed("old", replaced_by="other"), changed("other", replaced_by="new")], APART),
    ([changed("old", replaced_by="new"), changed("new", NOW - DAY, replaced_by="old")], (121_00, 21_00, 21_00, 21_00)),
    ([changed("old", NOW - DAY, replaced_by="new"), changed("new", replaced_by="old")], JOINED),
    ([changed("old", replaced_by="new"), changed("new", user_id="someone else")], (121_00, 21_00, 8_00, 21_00)),
    ([changed("old", replaced_by="new"), changed("new", kind="liability")], (-22_00, 21_00, 8_00, 21_00)),
    # Worth nothing before it was opened, so all of its money came since.
    ([changed("new", opened=str(day(6)))], (278_00, 21_00, 157_00, 21_00)),
    ([changed("new", NOW - DAY, opened=str(day(6))), changed("new", opened=None)], APART),
]


def test_statements_join_accounts_whatever_came_first(session_factory: Sessions, apply: Apply) -> None:
    """A link to either account means both, and the order of statements, facts, links and closes does not matter."""
    cases = []
    for variant, (statements, _) in enumerate(VARIANTS):
        for n, order in enumerate(([*statements, *FACTS], [*FACTS, *statements], [*FACTS[::-1], *statements[::-1]])):
            names = {name: f"{name}-{variant}-{n}" for name in ("old", "new", "other")}
            cases.append((names, [_renamed(body, names, f"u-{variant}-{n}") for body in order], variant))
    apply([body for _, events, _ in cases for body in events[: len(events) // 2]])
    run_snapshot(session_factory, NOW)
    goals = [_goals(session_factory, names, f"u{names['old'][3:]}") for names, _, _ in cases]
    for number in range(max(len(events) for _, events, _ in cases)):
        apply([body for _, events, _ in cases for body in events[len(events) // 2 :][number : number + 1]])
    run_snapshot(session_factory, NOW)
    for own, (_, _, variant) in zip(goals, cases, strict=True):
        assert tuple(amount(session_factory, goal_id) for goal_id in own) == VARIANTS[variant][1], variant
    assert verify(session_factory, NOW).first == ()


def _goals(sessions: Sessions, names: dict[str, str], user: str) -> list[str]:
    """The net worth, the change of the old account and of the new one, and the inflow of the old one."""
    draft: dict[str, Any] = {"user_id": user, "start_date": day(12)}
    worth = goal(sessions, NOW, GoalType.NET_WORTH, tracking=Tracking.NET_WORTH, **draft)
    rest = [goal(sessions, NOW, GoalType.INCOME if n == 2 else GoalType.SAVINGS, **draft) for n in range(3)]
    for goal_id, name in zip(rest, ("old", "new", "old"), strict=True):
        link(sessions, NOW, goal_id, names[name], "100", day(12))
    return [worth, *rest]


def _renamed(body: bytes, names: dict[str, str], user: str) -> bytes:
    for name, new in names.items():
        body = body.replace(f'"{name}"'.encode(), f'"{new}"'.encode())
    return body.replace(b'"user_id": "u"', f'"user_id": "{user}"'.encode())


def test_the_old_account_goes_on_until_the_new_one_has_a_balance(session_factory: Sessions, apply: Apply) -> None:
    """Transactions of the new account alone do not end the old one, and are in its first balance when that comes."""
    goal_id = goal(session_factory, NOW)
    link(session_factory, NOW, goal_id, "old", "100", day(9))
    apply([balance(100_00, NOW - 8 * DAY, account="old"), paid("n1", 9_00, NOW - 2 * DAY, account="new")])
    apply([changed("old", replaced_by="new"), paid("o1", 5_00, NOW - DAY, account="old")])
    assert amount(session_factory, goal_id) == 5_00
    apply([balance(120_00, NOW - HOUR, account="new")])
    assert amount(session_factory, goal_id) == 20_00
    assert verify(session_factory, NOW).first == ()


def test_several_accounts_become_one(session_factory: Sessions, apply: Apply) -> None:
    """Each of the old accounts counts up to its own end, and an account that goes on twice counts once throughout."""
    goal_id = goal(session_factory, NOW, type=GoalType.NET_WORTH, tracking=Tracking.NET_WORTH, start_date=day(9))
    amounts = {"x": 1_00, "y": 10_00, "z": 100_00, "end": 1000_00}
    days = {"x": 9, "y": 9, "z": 5, "end": 2}
    apply([balance(amounts[name], NOW - days[name] * DAY, account=name, user_id="u") for name in amounts])
    apply([changed("z", replaced_by="end"), changed("x", replaced_by="z")])
    apply([changed("y", replaced_by="z", **{"from": str(day(4))})])
    run_snapshot(session_factory, NOW)
    with session_factory() as session:
        closes = read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=NOW).snapshots
    expected = [11_00] * 4 + [110_00] + [100_00] * 2 + [1000_00] * 2
    assert [close.amount_minor for close in closes] == expected
    assert amount(session_factory, goal_id) == 1000_00


def test_a_goal_has_joined_accounts_once(session_factory: Sessions, apply: Apply) -> None:
    """An account that is joined with a linked one can't be linked too."""
    goal_id = goal(session_factory, NOW)
    link(session_factory, NOW, goal_id, "old", "40")
    apply([*FACTS, changed("old", replaced_by="new")])
    with pytest.raises(InvalidField, match="joined with old, which is linked"):
        link(session_factory, NOW, goal_id, "new", "40")


@pytest.mark.parametrize(
    "data",
    [
        {"replaced_by": "b", "from": str(TODAY + DAY)},
        {"replaced_by": "b", "from": NOW.isoformat()},
        {"opened": str(TODAY + DAY)},
        {"opened": "soon"},
        {"opened": False},
        {},
    ],
)
def test_days_that_are_ahead_or_none_are_refused(apply: Apply, data: dict[str, Any]) -> None:
    """A day that has not begun, and what is no day, is a dead letter and changes nothing."""
    assert apply([changed("a", **data)]).dead_letters == 1


def test_batches_of_joined_accounts_wait_for_each_other(
    session_factory: Sessions, apply: Apply, until_waiting: Callable[[int], None]
) -> None:
    """While one batch has a fact of the old account, one of the new account waits, and then sees what the first did."""
    goal_id = goal(session_factory, NOW)
    link(session_factory, NOW, goal_id, "old", "100", day(30))
    apply([*FACTS, changed("old", replaced_by="new")])

    def batch(body: bytes) -> None:
        with session_factory.begin() as session:
            apply_events(session, [StreamEntry(0, "1-1", NOW, "default", body)], NOW)

    second = threading.Thread(target=batch, args=[balance(90_00, NOW - 20 * DAY, account="old", available=1)])
    with session_factory.begin() as session:
        first = balance(140_00, NOW - 6 * DAY, account="new")
        apply_events(session, [StreamEntry(0, "1-2", NOW, "default", first)], NOW)
        second.start()
        until_waiting(1)
    second.join()
    assert verify(session_factory, NOW).first == ()


def test_facts_and_statements_at_once_leave_what_follows_from_all(session_factory: Sessions) -> None:
    """Batches on three connections that join, part and move the accounts of one goal neither deadlock nor lose any."""
    goal_id = goal(session_factory, NOW)
    names = ["a", "b", "c"]
    link(session_factory, NOW, goal_id, "b", "100", day(9))
    errors: list[BaseException] = []

    def drain(number: int) -> None:
        own, other = names[number], names[(number + 1) % 3]
        try:
            for n in range(12):
                at = NOW - timedelta(hours=40 - n)
                bodies = [
                    paid(f"{own}{n}", 2_00, at, own),
                    balance(50_00 + n, at, own),
                    changed(own, at, replaced_by=other if n % 3 else None),
                ]
                with session_factory.begin() as session:
                    entries = [StreamEntry(number, f"{n}-{i}", NOW, "default", body) for i, body in enumerate(bodies)]
                    apply_events(session, entries[n % 2 :: 2] + entries[1 - n % 2 :: 2], NOW)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=drain, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert verify(session_factory, NOW).first == ()
    run_snapshot(session_factory, NOW)
    assert verify(session_factory, NOW).first == ()
