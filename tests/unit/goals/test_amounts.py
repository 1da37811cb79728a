"""A goal's amount follows from its manual amount and what its links measured, in any order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.goals.amounts import FundedLink, amount, follows_accounts, waiting_for
from core.goals.goal import Tracking
from core.goals.links import Link

FROM = datetime(2025, 3, 1, tzinfo=UTC)
FINAL = FROM + timedelta(days=30)
CHANGE, BALANCE = Tracking.CHANGE, Tracking.BALANCE


def funded(
    account: str = "savings_001",
    ppm: int = 1_000_000,
    measure: int = 0,
    *,
    base: int = 0,
    until: datetime | None = None,
    end: int | None = None,
    counts: bool = True,
    known_at: datetime | None = FROM,
) -> FundedLink:
    link = Link(account, ppm, FROM, until, FROM, base, end)
    return FundedLink(link, measure, counts, known_at)


def following(source: FundedLink) -> FundedLink:
    """The same link for tracking `balance`: the whole balance counts."""
    return source._replace(link=source.link._replace(begin_at=None, base_minor=0))


def test_the_documented_goal_has_three_thousand() -> None:
    """2,500.00 set by hand, 60% of +1,000.00 and 40% of -250.00 make 3,000.00."""
    links = [
        funded("savings_001", 600_000, 900_000, base=800_000),
        funded("checking_001", 400_000, 75_000, base=100_000),
    ]
    assert amount(CHANGE, 1, 250_000, links, final_at=None) == 300_000


@pytest.mark.parametrize("tracking", Tracking)
def test_without_links_the_amount_is_the_manual_one(tracking: Tracking) -> None:
    """A goal without linked accounts shows its manual amount."""
    assert amount(tracking, 1, 250_000, [], final_at=None) == 250_000


def test_a_debt_falls_as_its_card_is_paid() -> None:
    """8,500.00 owed and 750.00 paid onto the linked card leave 7,750.00."""
    card = funded("visa", measure=-775_000, base=-850_000)
    assert amount(CHANGE, -1, 850_000, [card], final_at=None) == 775_000


def test_linking_does_not_make_the_amount_jump() -> None:
    """A link whose account has not moved since its begin adds nothing."""
    assert amount(CHANGE, 1, 250_000, [funded(measure=999_999, base=999_999)], final_at=None) == 250_000


def test_ended_links_keep_what_they_counted() -> None:
    """A changed allocation ends one link and begins the next: 60% of the first 100.00, 70% of the second."""
    links = [
        funded(ppm=600_000, measure=20_000, until=FINAL, end=10_000),
        funded(ppm=700_000, measure=20_000, base=10_000),
    ]
    assert amount(CHANGE, 1, 0, links, final_at=None) == 6_000 + 7_000


def test_inflow_counts_with_the_direction() -> None:
    """40% of 3,000.00 that came in raises an income goal and lowers a debt goal by 1,200.00."""
    salary = funded(ppm=400_000, measure=500_000, base=200_000)
    assert amount(Tracking.INFLOW, 1, 100_000, [salary], final_at=None) == 220_000
    assert amount(Tracking.INFLOW, -1, 850_000, [salary], final_at=None) == 730_000


def test_links_that_do_not_count_add_nothing() -> None:
    """An account in another currency leaves the amount alone, is not waited for and is not followed."""
    other = funded(measure=10**9, counts=False)
    assert amount(CHANGE, 1, 5, [other], final_at=None) == 5
    assert amount(BALANCE, 1, 5, [following(other)], final_at=None) == 5
    assert not follows_accounts(BALANCE, [following(other)])
    silent = following(funded(counts=False, known_at=None))
    assert waiting_for(BALANCE, [silent]) == ()


def test_a_balance_goal_is_the_share_of_its_accounts() -> None:
    """60% of 10,000.00 and 40% of -250.00 are 5,900.00, whatever the manual amount was."""
    links = [following(funded("a", 600_000, 1_000_000)), following(funded("b", 400_000, -25_000))]
    assert amount(BALANCE, 1, 777, links, final_at=None) == 590_000
    assert follows_accounts(BALANCE, links)


def test_a_debt_that_follows_its_card_owes_what_the_card_owes() -> None:
    """A card with 7,750.00 owed has a worth of -7,750.00, and the debt is 7,750.00."""
    assert amount(BALANCE, -1, 850_000, [following(funded("visa", measure=-775_000))], final_at=None) == 775_000


def test_a_balance_goal_shows_the_manual_amount_until_a_report() -> None:
    """Before any report the goal shows its manual amount, which may be set; it waits for its accounts, sorted."""
    links = [following(funded(name, measure=500, known_at=None)) for name in ("b", "a")]
    assert amount(BALANCE, 1, 250_000, links, final_at=None) == 250_000
    assert waiting_for(BALANCE, links) == ("a", "b")
    assert not follows_accounts(BALANCE, links)


def test_one_report_makes_a_balance_goal_follow_all_its_accounts() -> None:
    """With one of two accounts reported, both count, and only the other is waited for."""
    links = [following(funded("a", 500_000, 10_000)), following(funded("b", 500_000, 600, known_at=None))]
    assert amount(BALANCE, 1, 250_000, links, final_at=None) == 5_300
    assert waiting_for(BALANCE, links) == ("b",)
    assert follows_accounts(BALANCE, links)


@pytest.mark.parametrize("tracking", [CHANGE, Tracking.INFLOW])
def test_only_goals_that_follow_balances_wait_for_reports(tracking: Tracking) -> None:
    """A goal that counts changes needs no report, and its amount can always be set by hand."""
    links = [funded(known_at=None), funded(known_at=FROM)]
    assert waiting_for(tracking, links) == ()
    assert not follows_accounts(tracking, links)


def test_an_unlinked_account_no_longer_counts_for_a_balance() -> None:
    """Once the only link of a balance goal has ended, it shows its manual amount again."""
    gone = following(funded(measure=500, until=FROM + timedelta(days=1), end=400))
    assert amount(BALANCE, 1, 250_000, [gone], final_at=None) == 250_000
    assert not follows_accounts(BALANCE, [gone])


def test_a_final_balance_goal_keeps_the_balance_of_its_final_moment() -> None:
    """The links that the final moment ended count with their end; those ended before do not."""
    links = [
        following(funded("a", 500_000, 999, until=FINAL, end=80_000)),
        following(funded("b", 500_000, 999, until=FINAL - timedelta(days=1), end=40_000)),
    ]
    assert amount(BALANCE, 1, 250_000, links, final_at=FINAL) == 40_000
    silent = following(funded("c", until=FINAL, end=0, known_at=None))
    assert waiting_for(BALANCE, [*links, silent], final_at=FINAL) == ("c",)
    assert waiting_for(BALANCE, [*links, silent]) == ()


minors = st.integers(-(10**15), 10**15)


@st.composite
def funded_links(draw: st.DrawFn) -> FundedLink:
    """Any link: open or ended, counting from a moment on or the whole balance, reported or not."""
    until = draw(st.none() | st.sampled_from([FROM - timedelta(days=1), FROM, FINAL]))
    end = None if until is None else draw(minors)
    source = funded(
        draw(st.sampled_from("abc")),
        draw(st.integers(1, 1_000_000)),
        draw(minors),
        base=draw(minors),
        until=until,
        end=end,
        counts=draw(st.booleans()),
        known_at=draw(st.sampled_from([None, FROM, FINAL])),
    )
    return following(source) if draw(st.booleans()) else source


@given(st.data(), st.lists(funded_links(), max_size=6), st.sampled_from(Tracking), st.sampled_from([1, -1]), minors)
def test_the_order_of_the_links_changes_nothing(
    data: st.DataObject, links: list[FundedLink], tracking: Tracking, sign: int, manual: int
) -> None:
    """Amount, waiting and following are the same for any order of the same links."""
    shuffled = data.draw(st.permutations(links))
    for final_at in (None, FINAL):
        assert amount(tracking, sign, manual, links, final_at=final_at) == amount(
            tracking, sign, manual, shuffled, final_at=final_at
        )
        assert waiting_for(tracking, links, final_at=final_at) == waiting_for(tracking, shuffled, final_at=final_at)
    assert follows_accounts(tracking, links) == follows_accounts(tracking, shuffled)


@given(minors, minors, st.integers(1, 1_000_000), minors, minors)
def test_a_debt_mirrors_a_saving(base: int, measure: int, ppm: int, manual: int, later_manual: int) -> None:
    """The same movement takes from a debt what it adds to a saving, and a manual amount shifts it whole."""
    link = funded(ppm=ppm, measure=measure, base=base)
    up = amount(CHANGE, 1, manual, [link], final_at=None) - manual
    assert amount(CHANGE, -1, manual, [link], final_at=None) == manual - up
    assert amount(CHANGE, 1, later_manual, [link], final_at=None) == later_manual + up
