"""The oracle of the chaos run, against numbers worked out by hand from the definitions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.oracle.facts import FOR_EVER, TenantFacts, minor
from tests.chaos.oracle.goals import Goal, Link, Oracle, cut
from tests.chaos.oracle.placement import first_instant, within
from tests.chaos.oracle.worth import Measures

_numbers = itertools.count(1)


def at(day: int, hour: int = 0) -> datetime:
    """A moment of March 2026."""
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def event(type: str, event_time: datetime, *, source: str = "bank", id: str = "", **data: Any) -> bytes:
    """An event of a moment."""
    envelope = {"id": id or f"e{next(_numbers)}", "source": source, "type": f"milepost.{type}"}
    data = {"account_id": "a"} | data
    return json.dumps(envelope | {"specversion": "1.0", "time": event_time.isoformat(), "data": data}).encode()


def paid(name: str, amount: str, posted: datetime | str, event_time: datetime, **more: Any) -> bytes:
    """A transaction in dollars."""
    posted_at = posted if isinstance(posted, str) else posted.isoformat()
    fields: dict[str, Any] = {"transaction_id": name, "amount": amount, "currency": "USD", "posted_at": posted_at}
    return event("transaction.recorded", event_time, **(fields | more))


def reported(current: str, as_of: datetime, event_time: datetime, **more: Any) -> bytes:
    """A report in dollars."""
    fields: dict[str, Any] = {"current": current, "currency": "USD", "as_of": as_of.isoformat()}
    return event("balance.reported", event_time, **(fields | more))


def removed(name: str, event_time: datetime, **more: Any) -> bytes:
    """A removal."""
    return event("transaction.removed", event_time, transaction_id=name, **more)


def facts(events: Iterable[bytes], zone: str = "UTC", now: datetime = FOR_EVER) -> TenantFacts:
    """What the events leave standing at a moment."""
    found = TenantFacts(zone, now)
    for body in events:
        found.apply(body)
    return found


def worth(events: Iterable[bytes], before: datetime = FOR_EVER) -> int:
    """The worth of account `a` just before a moment, in cents."""
    return Measures(facts(events).accounts["a"]).worth_before(before)


def goal(**changes: Any) -> Goal:
    """A goal of 2,500.00 typed at creation, that counts changes."""
    fields: dict[str, Any] = {"goal_id": "g", "type": "savings", "tracking": "change", "currency": "USD"}
    fields |= {"user_id": "u", "target_minor": 1_000_000, "start_date": date(2026, 3, 1), "manual": [(None, 250_000)]}
    return Goal(**(fields | changes))


def test_worth_is_the_last_report_and_what_was_posted_after_it() -> None:
    """100.00 reported on the 5th; 10.00 on the 3rd are in it, 20.00 on the 7th are not; before it, it counts back."""
    events = [
        paid("t1", "10.00", at(3), at(3)),
        reported("100.00", at(5), at(5)),
        paid("t2", "20.00", at(7), at(7)),
        paid("t3", "-5.00", at(9), at(9)),
    ]
    assert worth(events) == 11_500
    assert worth(events, at(8)) == 12_000
    assert worth(events, at(4)) == 10_000
    assert worth(events, at(3)) == 9_000
    assert worth(events[2:]) == 1_500


def test_a_report_stands_behind_the_transactions_of_its_moment() -> None:
    """50.00 reported at the very moment of a transaction of 7.00 has it in it."""
    assert worth([paid("t1", "7.00", at(5), at(5)), reported("50.00", at(5), at(5))]) == 5_000


def test_of_a_liability_what_is_owed_is_taken_off() -> None:
    """300.00 owed and 40.00 paid in make -260.00, whenever it is said that the account is a liability."""
    events = [
        reported("300.00", at(5), at(5)),
        paid("t1", "40.00", at(6), at(6)),
        event("account.changed", at(1), kind="liability"),
    ]
    assert worth(events) == -26_000


def test_the_later_time_stands_whatever_comes_first() -> None:
    """Restated on the 4th at 12.00, t1 is worth that, though the statement of the 3rd arrives later."""
    assert worth([paid("t1", "12.00", at(3), at(4)), paid("t1", "10.00", at(3), at(3))]) == 1_200


def test_at_one_time_a_removal_beats_a_record_and_then_the_greater_source_and_id() -> None:
    """Of equal times the removal stands; of two records that of the greater source, then of the greater id."""
    one = [paid("t1", "1.00", at(3), at(3), source="b", id="1"), paid("t1", "2.00", at(3), at(3), source="a", id="9")]
    two = [paid("t1", "3.00", at(3), at(3), source="b", id="2")]
    assert worth(one) == 100
    assert worth(one + two) == 300
    assert worth([*one, *two, removed("t1", at(3), source="A", id="0")]) == 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_posted_transaction_takes_the_place_of_its_pending_one_in_any_order(order: tuple[int, ...]) -> None:
    """Pending 9.00 and the tip-less 8.00 that replaced it do not count, the 11.00 that replaced both in turn does."""
    events = [
        paid("p1", "9.00", at(3), at(3), pending=True),
        paid("t1", "8.00", at(4), at(4), replaces="p1"),
        paid("t2", "11.00", at(4), at(5), replaces="t1"),
        removed("t9", at(2)),
    ]
    assert worth([events[n] for n in order]) == 1_100


def test_what_is_removed_replaces_nothing_any_more() -> None:
    """With the replacing transaction gone, the replaced one counts again."""
    events = [paid("t1", "8.00", at(3), at(3)), paid("t2", "9.00", at(4), at(4), replaces="t1")]
    assert worth(events) == 900
    assert worth([*events, removed("t2", at(5))]) == 800


def test_what_is_dated_ahead_counts_from_its_day_or_a_day_before_its_instant() -> None:
    """Stated on the 3rd: a date of the 5th counts from its midnight, an instant of the 7th from the 6th on."""
    events = [
        paid("t1", "1.00", "2026-03-05", at(3)),
        paid("t2", "2.00", at(7, 9), at(3)),
        paid("t3", "4.00", at(3), at(3), replaces="t1"),
        paid("t4", "8.00", at(2), at(3)),
        paid("t5", "16.00", "2026-03-05", at(3), replaces="t4"),
        reported("64.00", at(9), at(3)),
    ]
    before = at(5) - timedelta(microseconds=1)
    moments = [(before, 1_200), (at(5), 2_000), (at(6, 8), 2_000), (at(6, 9), 2_200), (at(8), 6_400)]
    for moment, expected in moments:
        assert Measures(facts(events, now=moment).accounts["a"]).worth_before(FOR_EVER) == expected


def test_a_row_that_a_later_pull_of_its_day_does_not_have_is_removed() -> None:
    """Of the 3rd a pull has t2 alone, with the place of t1 of the same amount; other days and sources stay."""
    events = [
        paid("t1", "1.00", "2026-03-03", at(3, 8)),
        paid("t2", "1.00", "2026-03-03", at(3, 20)),
        paid("t3", "2.00", "2026-03-04", at(3, 8)),
        paid("t4", "4.00", "2026-03-03", at(3, 8), source="other"),
        event("window.reported", at(3, 20), **{"from": "2026-03-03", "through": "2026-03-03"}),
    ]
    account = facts(events).accounts["a"]
    assert account.missing() == {"t1"}
    assert account.places()["t2"] == at(3, 8)
    assert worth(events) == 700
    assert worth([*events, paid("t1", "1.00", "2026-03-03", at(3, 21))]) == 800


def test_a_date_is_the_local_day_of_the_tenant() -> None:
    """March 10 in Auckland, 13 hours ahead, begins on the 9th at 11:00 UTC and ends a day later."""
    assert within(at(9, 10), date(2026, 3, 10), "Pacific/Auckland") == at(9, 11)
    assert within(at(9, 12), date(2026, 3, 10), "Pacific/Auckland") == at(9, 12)
    last = datetime(2026, 3, 10, 10, 59, 59, 999_999, UTC)
    assert within(at(11), date(2026, 3, 10), "Pacific/Auckland") == last
    # Clocks go forward at two in the morning of March 29: the day before has 24 hours, this one 23.
    assert first_instant(date(2026, 3, 30), "Europe/Prague") == datetime(2026, 3, 29, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "currency", "expected"), [("12.50", "USD", 1250), ("125", "JPY", 125), ("1", "KWD", 1000)]
)
def test_amounts_are_counted_in_the_smallest_unit(text: str, currency: str, expected: int) -> None:
    """Dollars have two decimals, yen none, dinars three."""
    assert minor(text, currency) == expected


def test_a_change_is_the_share_of_what_came_since_the_link() -> None:
    """2,500.00 typed, 60% of +1,000.00 of one account and 40% of -250.00 of another make 3,000.00."""
    events = [
        reported("400.00", at(2), at(2)),
        reported("1400.00", at(9), at(9)),
        reported("600.00", at(2), at(2), account_id="b"),
        reported("350.00", at(9), at(9), account_id="b"),
    ]
    oracle = Oracle(facts(events))
    funded = goal(links=[Link("a", 600_000, at(5), None), Link("b", 400_000, at(5), None)])
    assert oracle.amount(funded) == 300_000
    assert oracle.close(funded, date(2026, 3, 4)) == 250_000
    assert oracle.closes(funded, date(2026, 3, 9))[date(2026, 3, 9)] == 300_000


def test_an_ended_link_keeps_what_it_counted_and_a_typed_amount_starts_anew() -> None:
    """10.00 in the link stay, 20.00 after it do not come; what is typed on the 8th holds all before it."""
    events = [paid("t1", "10.00", at(5), at(5)), paid("t2", "20.00", at(7), at(7)), paid("t3", "40.00", at(9), at(9))]
    oracle = Oracle(facts(events))
    ended = [Link("a", 1_000_000, at(4), at(6))]
    assert oracle.amount(goal(links=ended)) == 251_000
    again = [*ended, Link("a", 1_000_000, at(6, 1), None)]
    assert oracle.amount(goal(links=again)) == 257_000
    assert oracle.amount(goal(links=again, manual=[(None, 250_000), (at(8), 100)])) == 4_100
    assert oracle.close(goal(links=again, manual=[(None, 250_000), (at(8), 100)]), date(2026, 3, 7)) == 253_000


def test_inflow_counts_what_comes_in_and_no_report() -> None:
    """Of +30.00, -10.00 and a report, half of the 30.00 counts."""
    events = [paid("t1", "30.00", at(5), at(5)), paid("t2", "-10.00", at(6), at(6)), reported("99.00", at(7), at(7))]
    counted = goal(tracking="inflow", links=[Link("a", 500_000, at(4), None)])
    assert Oracle(facts(events)).amount(counted) == 251_500


def test_a_debt_falls_as_money_is_paid_in() -> None:
    """8,500.00 owed; the card goes from -8,500.00 to -7,750.00 since the link: 7,750.00 are left."""
    events = [
        event("account.changed", at(1), kind="liability"),
        reported("8500.00", at(2), at(2)),
        reported("7750.00", at(8), at(8)),
    ]
    owed = goal(type="debt", manual=[(None, 850_000)], links=[Link("a", 1_000_000, at(3), None)])
    assert Oracle(facts(events)).amount(owed) == 775_000
    followed = goal(type="debt", tracking="balance", links=[Link("a", 1_000_000, at(3), None)])
    assert Oracle(facts(events)).amount(followed) == 775_000
    assert Oracle(facts(events[1:])).amount(followed) == -775_000


def test_a_balance_shows_what_was_typed_until_one_account_has_a_report() -> None:
    """Without any report the typed 2,500.00; with one of two, its share, and the other is waited for."""
    links = [Link("a", 500_000, at(3), None), Link("b", 500_000, at(3), None)]
    followed = goal(tracking="balance", links=links)
    events = [paid("t1", "10.00", at(5), at(5))]
    waiting = Oracle(facts(events, now=at(11, 23)))
    assert (waiting.amount(followed), waiting.waits_for(followed)) == (250_000, ["a", "b"])
    # After seven days with a row the rows suffice.
    assert Oracle(facts(events, now=at(12))).closes(followed, date(2026, 3, 12))[date(2026, 3, 11)] == 500
    assert Oracle(facts(events, now=at(12))).amount(followed) == 500
    assert Oracle(facts(events, now=at(12))).waits_for(followed) == ["b"]
    events.append(reported("100.00", at(6), at(6)))
    assert (Oracle(facts(events)).amount(followed), Oracle(facts(events)).waits_for(followed)) == (5_000, ["b"])


def test_net_worth_sums_what_the_user_has_in_one_currency() -> None:
    """100.00 less 30.00 owed make 70.00; another user's account and one in yen are not in it."""
    events = [
        reported("100.00", at(5), at(5), user_id="u"),
        reported("30.00", at(5), at(5), account_id="b", user_id="u", kind="liability"),
        reported("500.00", at(5), at(5), account_id="c", user_id="v"),
        reported("500", at(5), at(5), account_id="d", user_id="u", currency="JPY"),
    ]
    oracle = Oracle(facts(events))
    assert oracle.amount(goal(tracking="net_worth")) == 7_000
    closes = oracle.closes(goal(tracking="net_worth"), date(2026, 3, 6))
    assert (closes[date(2026, 3, 4)], closes[date(2026, 3, 5)]) == (7_000, 7_000)


def test_another_currency_counts_nothing_and_a_final_goal_hears_of_nothing_later() -> None:
    """A link to an account in yen counts nothing; after its final moment a goal's amount stays."""
    assert (
        Oracle(facts([paid("t1", "5", at(5), at(5), currency="JPY")])).amount(
            goal(links=[Link("a", 1_000_000, at(4), None)])
        )
        == 250_000
    )
    events = [paid("t1", "10.00", at(5), at(5)), paid("t2", "20.00", at(7), at(7))]
    final = goal(links=[Link("a", 1_000_000, at(4), at(6))], final_at=at(6))
    assert Oracle(facts(events)).amount(final) == 251_000


def test_a_milestone_must_be_reached_if_any_close_stood_past_it() -> None:
    """Up to 60.00 at one close and down to 10.00 now: 50.00 must be marked, 70.00 need not be."""
    events = [paid("t1", "60.00", at(5), at(5)), paid("t2", "-50.00", at(7), at(7))]
    oracle = Oracle(facts(events))
    saved = goal(manual=[(None, 0)], links=[Link("a", 1_000_000, at(4), None)], milestones=[5_000, 7_000])
    assert list(oracle.must_be_reached(saved, oracle.closes(saved, date(2026, 3, 9)))) == [5_000]
    assert list(oracle.must_be_reached(saved, {})) == []


@pytest.mark.parametrize(("amount", "ppm", "expected"), [(-25, 600_000, -15), (-26, 600_000, -15), (26, 600_000, 15)])
def test_shares_are_cut_towards_zero(amount: int, ppm: int, expected: int) -> None:
    """60% of -25 is -15, and of -26 it is -15 too."""
    assert cut(amount, ppm) == expected
