"""Plaid's pages: pending rows that post under a new id, corrections, removals, signs and times."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.errors import EventRejected, ProviderBodyRefused
from core.events.envelope import check_envelope, parse_json
from core.providers.contracts import Adapted, AdaptedEvent, KnownAccount
from core.providers.registry import Format, adapt
from tests.unit.providers.adapted import UTC_ZONE, context, counted, facts, later, only, values


def row(name: str = "t1", amount: Any = 12, **more: Any) -> dict[str, Any]:
    """A posted row of a page."""
    posted = {"account_id": "a", "transaction_id": name, "amount": amount, "iso_currency_code": "USD"}
    return posted | {"date": "2026-03-09", "pending": False, "pending_transaction_id": None} | more


def page(hours: float = 0, **sections: Any) -> tuple[AdaptedEvent, ...]:
    """The events of a page that was pulled so many hours after noon."""
    whole = {"added": [], "modified": [], "removed": [], "accounts": []} | sections
    return adapt(Format.PLAID_SYNC, whole, later(hours)).events


def account(type: str, current: Any, **more: Any) -> dict[str, Any]:
    """An account as every body has it."""
    balances = {"current": current, "available": None, "iso_currency_code": "USD", "unofficial_currency_code": None}
    return {"account_id": "a", "type": type, "name": "Main", "balances": balances | more}


def counts_in_any_order(*pages: tuple[AdaptedEvent, ...]) -> dict[str, int]:
    """What counts, the same for every order of the pages."""
    results = [counted(itertools.chain(*order)) for order in itertools.permutations(pages)]
    assert all(result == results[0] for result in results)
    return results[0]


@pytest.mark.parametrize("pointer", ["p1", None])
def test_a_pending_row_that_posts_with_a_new_id_counts_once(pointer: str | None) -> None:
    """The pending row, the posted row and the removal are on three pages, the pointer may be null: one row counts."""
    pending = page(0, added=[row("p1", 12, pending=True)])
    posted = page(24, added=[row("t1", 15, pending_transaction_id=pointer)])
    removed = page(25, removed=[{"account_id": "a", "transaction_id": "p1"}])
    assert counts_in_any_order(pending, posted, removed) == {"t1": -1500}


def test_a_posted_row_whose_pending_one_is_never_removed_counts_once() -> None:
    """A pending row counts nothing, whether its removal was pulled or not."""
    assert counts_in_any_order(page(0, added=[row("p1", pending=True)]), page(24, added=[row("t1")])) == {"t1": -1200}


def test_a_row_edited_and_edited_back_counts_as_it_was_last() -> None:
    """12, then 13, then 12 again: the page that was pulled last wins, in whatever order the pages are applied."""
    pages = [page(0, added=[row(amount=12)]), page(24, modified=[row(amount=13)]), page(48, modified=[row(amount=12)])]
    assert counts_in_any_order(*pages) == {"t1": -1200}


def test_a_removed_row_stays_removed_whatever_is_applied_later() -> None:
    """Also when the removal is applied before the row that it removes and before its correction."""
    pages = [
        page(0, added=[row()]),
        page(24, modified=[row(amount=13)]),
        page(48, removed=[{"transaction_id": "t1"} | {"account_id": "a"}]),
    ]
    assert counts_in_any_order(*pages) == {}


def test_a_row_that_comes_back_after_its_removal_counts_again() -> None:
    """A later page wins over an earlier removal."""
    gone = page(24, removed=[{"account_id": "a", "transaction_id": "t1"}])
    assert counts_in_any_order(page(0, added=[row()]), gone, page(48, added=[row(amount=14)])) == {"t1": -1400}


def test_in_one_page_a_removal_beats_a_correction_and_a_correction_an_addition() -> None:
    """All sections of a page have one time; what Plaid did last wins."""
    both = page(0, added=[row(amount=99)], modified=[row(amount=1), row(amount=2)])
    assert counted(both) == counted(both[::-1]) == {"t1": -200}
    gone = {"account_id": "a", "transaction_id": "t1"}
    assert counted(page(0, added=[row()], modified=[row()], removed=[gone])) == {}


def test_a_page_pulled_again_at_the_same_moment_is_the_same_events() -> None:
    """Equal statements become events that are equal byte for byte."""
    assert page(0, added=[row()], accounts=[account("credit", 5)]) == page(
        0, added=[row()], accounts=[account("credit", 5)]
    )


@pytest.mark.parametrize(
    ("type", "kind", "worth"),
    [
        ("depository", "asset", 41010),
        ("credit", "liability", -41010),
        ("loan", "liability", -41010),
        ("investment", "asset", 41010),
    ],
)
def test_a_balance_is_owned_or_owed_by_the_type_of_the_account(type: str, kind: str, worth: int) -> None:
    """`current` of a credit or loan account is positive when owed, so it lowers worth."""
    (reported,) = [each for each in facts(page(accounts=[account(type, "410.10")])) if each.report]
    assert reported.report is not None
    stated = {attribute.name: attribute.value for attribute in reported.attributes}
    assert stated["kind"] == kind
    assert reported.report.current_minor * (1 if kind == "asset" else -1) == worth


def test_money_that_leaves_lowers_worth_on_every_type_of_account() -> None:
    """Plaid writes a purchase by card and a transfer out as positive, a payment to the card as negative."""
    assert counted(page(added=[row("purchase", 20), row("payment", -50)])) == {"purchase": -2000, "payment": 5000}


def test_an_account_of_another_type_leaves_its_kind_open() -> None:
    """What Plaid calls `other` is neither an asset nor a liability until someone says so."""
    reported = only(adapt(Format.PLAID_BALANCES, {"accounts": [account("other", 1)]}, context()), "balance.reported")
    assert "kind" not in reported


def test_a_null_balance_is_no_event() -> None:
    """An account whose balance the bank does not give is named, and its worth stays as it was."""
    adapted = adapt(Format.PLAID_BALANCES, {"accounts": [account("credit", None)]}, context())
    assert [type for type, _ in values(adapted)] == ["account.changed"]


def test_a_balance_counts_from_when_the_bank_reported_it() -> None:
    """If Plaid says when the balance was fetched, it is true as of then; else as of the pull."""
    fetched = account("depository", 5, last_updated_datetime="2026-03-10T06:00:00-05:00")
    adapted = adapt(Format.PLAID_BALANCES, {"accounts": [fetched]}, context())
    assert only(adapted, "balance.reported")["as_of"] == "2026-03-10T11:00:00+00:00"


@pytest.mark.parametrize(
    ("written", "posted_at"),
    [
        (None, "2026-03-09"),
        ("2026-03-09T23:30:00-05:00", "2026-03-10T04:30:00+00:00"),
        ("2026-03-09T00:00:00Z", "2026-03-09"),
        ("2026-03-09T00:00:00-05:00", "2026-03-09"),
        ("2026-03-09T10:00:00", "2026-03-09"),
        ("2026-03-01T10:00:00Z", "2026-03-09"),
        ("soon", "2026-03-09"),
    ],
)
def test_a_time_that_only_fills_a_field_leaves_the_day_a_day(written: str | None, posted_at: str) -> None:
    """Midnight, a time without offset and a time of another day say no more than the date does."""
    assert only(Adapted(page(added=[row(datetime=written)])), "transaction.recorded")["posted_at"] == posted_at


@pytest.mark.parametrize("zone", [ZoneInfo("Pacific/Auckland"), UTC_ZONE])
def test_a_day_is_the_day_of_the_tenants_zone(zone: ZoneInfo) -> None:
    """A date is not converted between zones."""
    (stated,) = facts(page(added=[row()]), zone)
    assert stated.transaction is not None
    assert (stated.transaction.posted_at, stated.transaction.dated) == (None, date.fromisoformat(row()["date"]))


def test_a_page_without_pulled_at_is_refused() -> None:
    """Plaid's rows have no event times, so nobody could say which of two reports is the later."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapt(Format.PLAID_SYNC, {"added": [row()]}, context(None))
    assert (refused.value.code, refused.value.where) == ("untold", "added[0].pulled_at")


def test_rows_that_the_former_account_reported_are_left_out() -> None:
    """An account with a new id counts from the first day that was not reported under its former id."""
    known = {"a": KnownAccount("checking", since=date(2026, 3, 9))}
    rows = [row("old", date="2026-03-08"), row("new", date="2026-03-09")]
    adapted = adapt(Format.PLAID_SYNC, {"added": rows}, context(accounts=known))
    assert counted(adapted.events) == {"new": -1200}
    assert only(adapted, "transaction.recorded")["account_id"] == "checking"


def test_what_the_integrator_registered_for_an_account_is_stated_as_its_fact() -> None:
    """Transactions alone do not say whose they are, so an event of its own states the account's user."""
    known = {"a": KnownAccount("checking", user_id="u1", kind="liability")}
    adapted = adapt(Format.PLAID_SYNC, {"added": [row()]}, context(accounts=known))
    assert only(adapted, "account.changed") == {"account_id": "checking", "user_id": "u1", "kind": "liability"}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"amount": None}, "missing_field"),
        ({"amount": "12.345"}, "bad_amount"),
        ({"amount": True}, "bad_amount"),
        ({"amount": "1e400"}, "bad_amount"),
        ({"date": "2026-02-30"}, "bad_value"),
        ({"date": None}, "missing_field"),
        ({"iso_currency_code": "usd"}, "bad_currency"),
        ({"iso_currency_code": None, "unofficial_currency_code": "BTC"}, "bad_currency"),
        ({"transaction_id": "  "}, "missing_field"),
        ({"pending": "false"}, "bad_value"),
        ({"pending_transaction_id": "t1"}, "self_contradicting"),
        ({"account_id": ""}, "missing_field"),
    ],
)
def test_a_row_that_cannot_be_understood_is_kept_whole_and_holds_up_no_other(broken: dict[str, Any], code: str) -> None:
    """It goes to the stream unchanged; the parser says why it is still not understood."""
    events = page(added=[row() | broken, row("t2")])
    assert counted(events[1:]) == {"t2": -1200}
    kept = check_envelope(parse_json(events[0].event))
    assert kept.type == "milepost.provider.row"
    assert kept.data["row"] == row() | broken
    with pytest.raises(EventRejected) as rejected:
        facts(events[:1])
    assert rejected.value.code == code
