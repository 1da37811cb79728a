"""A database with data of every kind has no violation, and one row that is altered by hand is found and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from core.store.driver import Sql
from core.verify.checks import Violation
from core.verify.verify import verify
from tests.verify.conftest import Filled
from tests.verify.world import LATEST

Alter = Callable[..., list[Violation]]


@pytest.fixture
def alter(filled: Filled) -> Alter:
    """A function that changes one row of the default tenant by hand and returns what is wrong then."""

    def alter(statement: str, goal: str = "trip", rows: int = 1) -> list[Violation]:
        with filled.sessions.begin() as session:
            done = Sql(f"{statement} AND tenant = 'default'").run(session, {"g": filled.goals[goal]})
            assert done == rows
        return list(verify(filled.sessions, LATEST, tenant="default").first)

    return alter


def checks(violations: list[Violation]) -> set[str]:
    """The checks that found something."""
    return {violation.check for violation in violations}


def named_accounts(violations: list[Violation]) -> list[tuple[str, Mapping[str, str]]]:
    """(check, key) of the violations of accounts; those of goals and links are left out."""
    found = [(violation.check, violation.key) for violation in violations]
    return [(check, key) for check, key in found if "account_id" in key and "goal_id" not in key]


def test_all_that_operations_and_events_leave_holds(filled: Filled) -> None:
    """After operations and facts of every kind in several zones and currencies, all checks ran and nothing is wrong."""
    found = verify(filled.sessions, LATEST)
    assert found.first == ()
    assert found.is_ok
    assert found.tenants == ("cuba", "default", "york")
    assert [name for name, checked in found.checked.items() if checked == 0] == []


def test_an_altered_amount_is_found(alter: Alter, filled: Filled) -> None:
    """An altered amount: the goal is named with the stored and the expected value, and its ledger ends at another."""
    wrong = alter("UPDATE goals SET amount_minor = amount_minor + 1 WHERE goal_id = :g")
    assert checks(wrong) == {"goals", "goal_entries"}
    named = next(violation for violation in wrong if violation.check == "goals")
    assert (named.tenant, named.key, named.what) == ("default", {"goal_id": filled.goals["trip"]}, "amount_minor")
    assert int(named.stored or 0) == int(named.expected or 0) + 1


@pytest.mark.parametrize("goal", ["trip", "debt", "wages", "house", "card", "all", "soon", "unlinked"])
def test_an_altered_close_is_found(alter: Alter, filled: Filled, goal: str) -> None:
    """One snapshot of a goal of any tracking is altered: that snapshot, and nothing else, is wrong."""
    last = "(SELECT max(day) FROM goal_snapshots WHERE goal_id = :g)"
    wrong = alter(
        f"UPDATE goal_snapshots SET amount_minor = amount_minor - 1 WHERE goal_id = :g AND day = {last}", goal
    )
    assert [(violation.check, violation.key["goal_id"]) for violation in wrong] == [
        ("goal_snapshots", filled.goals[goal])
    ]
    assert int(wrong[0].stored or 0) == int(wrong[0].expected or 0) - 1


def test_a_missing_close_is_found(alter: Alter) -> None:
    """A row that was deleted is named once, by its day, and the later days are right."""
    wrong = alter("DELETE FROM goal_snapshots WHERE goal_id = :g AND day = '2026-03-06'")
    assert [(v.check, v.key["day"], v.stored) for v in wrong] == [("goal_snapshots", "2026-03-06", None)]


def test_a_close_too_many_is_found(filled: Filled) -> None:
    """A row on a day on which nothing changed is too many, even if its amount is right."""
    with filled.sessions.begin() as session:
        Sql("INSERT INTO goal_snapshots (tenant, goal_id, day, amount_minor) VALUES ('default', :g, :d, 1200)").run(
            session, {"g": filled.goals["unlinked"], "d": "2026-03-09"}
        )
    found = verify(filled.sessions, LATEST).first
    assert [(v.check, v.key["day"], v.expected) for v in found] == [("goal_snapshots", "2026-03-09", None)]


def test_dirty_snapshots_are_not_compared(alter: Alter, filled: Filled) -> None:
    """A snapshot in a dirty range may be wrong; one of a day before the range may not."""
    with filled.sessions.begin() as session:
        Sql("UPDATE accounts SET dirty_from = '2026-03-08' WHERE account_id = 'savings'").run(session, {})
    assert alter("UPDATE goal_snapshots SET amount_minor = 1 WHERE goal_id = :g AND day = '2026-03-09'") == []
    wrong = alter("UPDATE goal_snapshots SET amount_minor = 1 WHERE goal_id = :g AND day = '2026-03-07'")
    assert [violation.key["day"] for violation in wrong] == ["2026-03-07"]


def test_an_altered_worth_is_found(alter: Alter) -> None:
    """An altered worth: the account is named, and no goal, since goals are computed from the facts."""
    wrong = alter("UPDATE accounts SET worth_minor = worth_minor + 1 WHERE account_id = 'visa'")
    assert [(v.check, v.key, v.what) for v in wrong] == [("accounts", {"account_id": "visa"}, "worth_minor")]


@pytest.mark.parametrize("column", ["opening_minor", "inflow_minor"])
def test_altered_sums_of_an_account_are_found(alter: Alter, column: str) -> None:
    """An altered opening, on which all end-of-day worths depend, and an altered inflow are found too."""
    wrong = alter(f"UPDATE accounts SET {column} = {column} + 1 WHERE account_id = 'savings'")
    assert ("accounts", column) in {(violation.check, violation.what) for violation in wrong}
    assert checks(wrong) <= {"accounts", "account_closes"}


@pytest.mark.parametrize(
    ("account", "change", "what"),
    [
        ("was", "chain_id = 'was'", "chain_id"),
        ("was", "joined_as = NULL", "joined_as"),
        ("was", "counts_from = counts_from + interval '1 day'", "counts_from"),
        ("was", "counts_until = counts_until + interval '1 day'", "counts_until"),
        ("is", "counts_from = NULL", "counts_from"),
        ("was", "replaced_from = '2026-03-08'", "counts_until"),
        ("was", "opened = NULL", "counts_from"),
    ],
)
def test_what_says_when_accounts_count_is_found(alter: Alter, account: str, change: str, what: str) -> None:
    """When joined accounts count, altered by hand, or what is stated of it: the account is named."""
    wrong = alter(f"UPDATE accounts SET {change} WHERE account_id = '{account}'")
    assert (account, what) in {(v.key["account_id"], v.what) for v in wrong if v.check == "spans"}


def test_an_altered_ledger_line_is_found(alter: Alter, filled: Filled) -> None:
    """A line of the ledger whose amount is not the begin of the next line is named."""
    wrong = alter("UPDATE goal_entries SET after_minor = after_minor + 1 WHERE goal_id = :g AND entry = 3")
    assert [(violation.check, violation.key) for violation in wrong] == [
        ("goal_entries", {"goal_id": filled.goals["trip"], "entry": "3"})
    ]


def test_a_missing_ledger_line_is_found(alter: Alter) -> None:
    """A gap in the numbers is found, and also that the goal counts one line more than there are."""
    wrong = alter("DELETE FROM goal_entries WHERE goal_id = :g AND entry = 3")
    assert checks(wrong) == {"goal_entries"}
    assert {violation.what for violation in wrong} >= {"entry", "entries"}


def test_an_altered_transaction_is_found(alter: Alter) -> None:
    """An altered amount makes the account's inflow wrong, the next report's gap and residual, and that day's worth."""
    wrong = alter("UPDATE transactions SET amount_minor = amount_minor + 1 WHERE transaction_id = 's8'")
    assert named_accounts(wrong) == [
        ("places", {"account_id": "savings", "as_of": "2026-03-12 12:00:00+00"}),
        ("accounts", {"account_id": "savings"}),
        ("reports", {"account_id": "savings", "as_of": "2026-03-12 12:00:00+00"}),
        ("account_closes", {"account_id": "savings", "day": "2026-03-12"}),
    ]


def test_a_missing_transaction_is_found(alter: Alter) -> None:
    """A deleted transaction makes the next report's residual wrong, that day's worth, and the first report."""
    wrong = alter("DELETE FROM transactions WHERE account_id = 'visa'")
    assert named_accounts(wrong) == [
        ("accounts", {"account_id": "visa"}),
        ("accounts", {"account_id": "visa"}),
        ("reports", {"account_id": "visa", "as_of": "2026-03-14 12:00:00+00"}),
        ("account_closes", {"account_id": "visa", "day": "2026-03-14"}),
    ]


@pytest.mark.parametrize(
    ("statement", "wrong_rows"),
    [
        ("UPDATE windows SET through_day = '2026-03-04' WHERE account_id = 'shown'", {("old id", "missing")}),
        (
            "UPDATE windows SET through_day = '2026-03-12' WHERE account_id = 'shown'",
            {("kept", "missing"), ("kept", "removed")},
        ),
        ("UPDATE windows SET event_time = '2026-03-05T08:00Z' WHERE account_id = 'shown'", {("old id", "missing")}),
        ("UPDATE windows SET source = 'another' WHERE account_id = 'shown'", {("old id", "missing")}),
        ("UPDATE transactions SET removed = false WHERE transaction_id = 'old id'", {("old id", "removed")}),
        (
            "UPDATE transactions SET missing = NULL, removed = false WHERE transaction_id = 'old id'",
            {("old id", "missing"), ("old id", "removed")},
        ),
        ("UPDATE transactions SET missing = true WHERE transaction_id = 'kept'", {("kept", "missing")}),
        ("UPDATE transactions SET source = 'another' WHERE transaction_id = 'old id'", {("old id", "missing")}),
    ],
)
def test_an_altered_window_or_row_of_its_days_is_found(
    alter: Alter, statement: str, wrong_rows: set[tuple[str, str]]
) -> None:
    """The row is named that should count as removed, or should not."""
    wrong = alter(statement)
    assert {(v.key["transaction_id"], v.what) for v in wrong if v.check == "windows"} == wrong_rows


def test_an_altered_time_of_the_last_window_is_found(alter: Alter) -> None:
    """By it a batch knows which rows it has to look at."""
    wrong = alter("UPDATE accounts SET last_window_at = NULL WHERE account_id = 'shown'")
    assert [(v.check, v.what) for v in wrong] == [("accounts", "last_window_at")]


def test_an_altered_residual_is_found(alter: Alter) -> None:
    """An altered residual is named, and so is the worth of its day, the first day that becomes wrong by it."""
    wrong = alter("UPDATE reports SET residual_minor = residual_minor - 1 WHERE as_of = '2026-03-12T12:00Z'")
    assert [(violation.check, violation.key["account_id"]) for violation in wrong] == [
        ("reports", "savings"),
        ("account_closes", "savings"),
    ]
    assert (wrong[1].key["day"], int(wrong[1].stored or 0)) == ("2026-03-12", int(wrong[1].expected or 0) - 1)


@pytest.mark.parametrize("column", ["base_minor", "end_minor"])
def test_an_altered_link_is_found(alter: Alter, column: str) -> None:
    """An altered base or end of a link is named, and nothing else."""
    one = "(SELECT min(linked_at) FROM links WHERE goal_id = :g AND account_id = 'savings')"
    wrong = alter(
        f"UPDATE links SET {column} = {column} + 1 WHERE goal_id = :g AND account_id = 'savings' AND linked_at = {one}"
    )
    assert [(violation.check, violation.what) for violation in wrong] == [("links", column)]


def test_an_altered_flag_is_found(alter: Alter) -> None:
    """A transaction that no longer counts is named, and all that was computed from it is wrong too."""
    wrong = alter("UPDATE transactions SET counts = false WHERE account_id = 'savings' AND transaction_id = 's10'")
    named = next(violation for violation in wrong if violation.check == "transactions")
    assert named.key == {"account_id": "savings", "transaction_id": "s10"}
    assert (named.what, named.stored, named.expected) == ("counts", "false", "true")


def test_a_milestone_that_is_unmarked_by_hand_is_found(alter: Alter) -> None:
    """A milestone that the goal has passed and that is not marked is named; its message exists already."""
    wrong = alter("UPDATE milestones SET reached_at = NULL WHERE goal_id = :g AND amount_minor = 30000")
    assert checks(wrong) == {"marks", "milestones", "outbox"}
    assert {violation.key.get("amount_minor") for violation in wrong} == {"30000", None}
    assert not any("30000" in violation.row for violation in wrong)


@pytest.mark.parametrize("by", ["1 day", "1 second"])
def test_an_altered_date_of_a_milestone_is_found(alter: Alter, by: str) -> None:
    """A milestone that was reached on another day, or at a moment at which nothing happened, is named."""
    wrong = alter(
        f"UPDATE milestones SET reached_at = reached_at + interval '{by}' WHERE goal_id = :g AND amount_minor = 30000"
    )
    assert checks(wrong) == {"marks"}
    assert {violation.key["amount_minor"] for violation in wrong} == {"30000"}


def test_a_milestone_that_is_marked_by_hand_is_found(alter: Alter) -> None:
    """A milestone that was marked by hand has no message, and the goal still names it as the next one."""
    wrong = alter("UPDATE milestones SET reached_at = now(), marked_at = now() WHERE amount_minor = 350000")
    assert {(violation.check, violation.what) for violation in wrong} == {
        ("milestones", "next_milestone_minor"),
        ("outbox", "message of the milestone"),
    }


def test_a_check_of_a_milestone_that_is_not_reached_is_found(alter: Alter) -> None:
    """An unreached milestone that was returned as new is named; a reached one may have been returned or not."""
    wrong = alter(
        "UPDATE milestones SET checked_at = now() WHERE goal_id = :g AND amount_minor IN (30000, 350000)", rows=2
    )
    assert [(v.check, v.key["amount_minor"], v.what, v.expected) for v in wrong] == [
        ("milestones", "350000", "checked_at", "none")
    ]


def test_links_that_must_not_be_are_found(alter: Alter) -> None:
    """A final goal's open link, an open link that was unlinked, a net worth's account of another user, over 100%."""
    wrong = alter("UPDATE links SET until_at = NULL, end_minor = NULL WHERE goal_id = :g", "debt")
    assert "final_goals" in checks(wrong)
    wrong = alter("UPDATE links SET unlinked_at = from_at WHERE goal_id = :g AND account_id = 'silent'", "house")
    assert "final_goals" in checks(wrong)
    wrong = alter("UPDATE accounts SET user_id = 'v' WHERE account_id = 'visa'")
    assert "net_worths" in checks(wrong)
    wrong = alter("UPDATE links SET ppm = 1000000 WHERE goal_id = :g AND account_id = 'silent'", "house")
    assert "allocations" in checks(wrong)


def test_only_the_first_are_shown_and_all_are_counted(filled: Filled) -> None:
    """Of many wrong rows the first are shown, in order, and the rest is counted; one tenant can be asked for alone."""
    with filled.sessions.begin() as session:
        Sql("UPDATE transactions SET counts = NOT counts").run(session, {})
    found = verify(filled.sessions, LATEST, first=2, keys_at_once=1)
    flags = next(finding for finding in found.findings if finding.check == "transactions")
    assert flags.wrong == flags.checked > 60
    assert [violation.tenant for violation in flags.first] == ["cuba", "cuba"]
    alone = verify(filled.sessions, LATEST, tenant="york", first=500)
    assert {violation.tenant for violation in alone.first} == {"york"}


@pytest.mark.parametrize("due_at", ["due_at + interval '1 second'", "posted_at - interval '2 days'"])
def test_an_altered_time_from_which_a_transaction_counts_is_found(alter: Alter, due_at: str) -> None:
    """A transaction that waits and is due at another time than its date says is named, and nothing else."""
    wrong = alter(f"UPDATE transactions SET due_at = {due_at} WHERE transaction_id = 'not due'")
    assert [(violation.check, violation.key) for violation in wrong] == [
        ("waiting", {"account_id": "savings", "fact": "transaction not due"})
    ]


@pytest.mark.parametrize(("name", "due_at"), [("not due", "NULL"), ("s10", "posted_at")])
def test_a_transaction_made_to_wait_or_not_to_wait_is_found(alter: Alter, name: str, due_at: str) -> None:
    """Without the time it ought to count, and with one it ought not to."""
    wrong = alter(f"UPDATE transactions SET due_at = {due_at} WHERE transaction_id = '{name}'")
    assert [(violation.check, violation.key["transaction_id"], violation.what) for violation in wrong] == [
        ("transactions", name, "counts")
    ]


def test_a_report_made_to_wait_otherwise_is_found(alter: Alter) -> None:
    """A waiting report that is due at another time is named."""
    wrong = alter("UPDATE waiting_reports SET due_at = as_of WHERE account_id = 'flat'")
    assert [(violation.check, violation.key["fact"]) for violation in wrong] == [
        ("waiting", "report 2026-03-29 12:00:00+00 USD")
    ]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("currency = 'EUR'", {"currency"}),
        ("currency_from = 'transaction'", {"currency_from"}),
        ("currency_time = currency_time - interval '1 s'", {"currency_time"}),
        ("currency_source = 'nobody'", {"currency_source"}),
        ("currency_event_id = 'nothing'", {"currency_event_id"}),
        ("stated_currency = 'USD'", {"currency_from", "currency_time", "currency_source", "currency_event_id"}),
    ],
)
def test_a_currency_that_the_facts_do_not_say_is_found(alter: Alter, change: str, found: set[str]) -> None:
    """The currency itself, and each part of what is known of the fact that decides it."""
    wrong = alter(f"UPDATE accounts SET {change} WHERE account_id = 'flat'")
    assert {violation.what for violation in wrong if violation.check == "currencies"} == found


@pytest.mark.parametrize(
    ("change", "rows", "found"),
    [
        ("UPDATE reports SET currency = 'EUR' WHERE account_id = 'flat'", 2, ("reports", "currency")),
        ("UPDATE waiting_reports SET due_at = NULL WHERE account_id = 'flat'", 1, ("waiting", "due_at")),
    ],
)
def test_a_report_that_counts_or_waits_in_the_wrong_currency_is_found(
    alter: Alter, change: str, rows: int, found: tuple[str, str]
) -> None:
    """One that counts is in another currency; one that is due waits although it is in the account's own."""
    assert found in {(violation.check, violation.what) for violation in alter(change, rows=rows)}
