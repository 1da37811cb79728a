"""A link counts by how much its account moved during its period, and a goal's shares stay within 100%."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AllocationExceeded
from core.goals.links import Link, allocate, measured

FROM = datetime(2025, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def a_link(
    *, base: int = 0, begin: datetime | None = FROM, until: datetime | None = None, end: int | None = None
) -> Link:
    return Link("savings_001", 600_000, FROM, until, begin, base, end)


def test_an_open_link_counts_what_came_since_its_begin() -> None:
    """An account that had 5,000.00 and now has 6,000.00 has moved by 1,000.00."""
    link = a_link(base=500_000)
    assert link.is_open
    assert measured(link, 600_000) == 100_000
    assert measured(link, 475_000) == -25_000


def test_an_ended_link_keeps_what_it_counted() -> None:
    """What the account does after the link's end changes nothing."""
    link = a_link(base=500_000, until=FROM + DAY, end=600_000)
    assert not link.is_open
    assert measured(link, 600_000) == measured(link, 0) == measured(link, 10**12) == 100_000


def test_a_link_that_ended_on_an_empty_account_counts_the_loss() -> None:
    """A measure of 0 at the end is an end like any other, not a missing one."""
    assert measured(a_link(base=500_000, until=FROM + DAY, end=0), 900_000) == -500_000


def test_a_link_that_ended_before_it_began_to_count_counts_nothing() -> None:
    """An amount set by hand after the unlinking already includes what the link had counted."""
    assert measured(a_link(base=700_000, begin=FROM + 2 * DAY, until=FROM + DAY, end=600_000), 900_000) == 0


def test_a_link_that_ended_at_its_begin_counts_what_came_at_that_instant() -> None:
    """Begin and end at one instant leave what is dated exactly there: the base is taken just before it."""
    assert measured(a_link(base=500_000, until=FROM, end=500_100), 900_000) == 100


def test_a_link_that_follows_the_balance_counts_all_of_it() -> None:
    """Without a begin the whole measure counts, and what it was at the end once ended."""
    assert measured(a_link(begin=None), 123_456) == 123_456
    assert measured(a_link(begin=None, until=FROM, end=50), 123_456) == 50


def test_the_documented_sixty_and_forty_fill_a_goal() -> None:
    """60% + 40% are accepted; any more is refused with the documented text."""
    allocate([("savings_001", 600_000)], "checking_001", 400_000)
    with pytest.raises(AllocationExceeded, match=r"^Total allocation would exceed 100%$"):
        allocate([("savings_001", 600_000), ("checking_001", 400_000)], "another_account", 1)


def test_the_documented_three_accounts_leave_no_room_for_a_fourth() -> None:
    """50% + 30% + 20% are 100%; another 10% is refused."""
    links: list[tuple[str, int]] = []
    for account, ppm in [("savings_001", 500_000), ("checking_001", 300_000), ("investment_001", 200_000)]:
        allocate(links, account, ppm)
        links.append((account, ppm))
    with pytest.raises(AllocationExceeded):
        allocate(links, "another_account", 100_000)


def test_a_single_share_over_the_whole_is_refused() -> None:
    """100% alone is accepted; a little more is refused."""
    allocate([], "savings_001", 1_000_000)
    with pytest.raises(AllocationExceeded):
        allocate([], "savings_001", 1_000_001)


def test_linking_an_account_again_replaces_its_share() -> None:
    """60% may become 100% when the account is the only one, and 70% when another has 30%."""
    allocate([("savings_001", 600_000)], "savings_001", 1_000_000)
    beside = [("savings_001", 600_000), ("checking_001", 300_000)]
    allocate(beside, "savings_001", 700_000)
    with pytest.raises(AllocationExceeded):
        allocate(beside, "savings_001", 700_001)


def test_one_account_may_fund_three_goals_with_130_percent() -> None:
    """60% + 30% + 40% of one account are accepted, since each goal is counted by itself."""
    for ppm in (600_000, 300_000, 400_000):
        allocate([], "savings_001", ppm)


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 1_200_000) | st.integers(1, 300_000)), max_size=30))
def test_accepted_shares_never_exceed_the_whole(wishes: list[tuple[str, int]]) -> None:
    """However accounts are linked and linked again, what was accepted sums to at most 100%."""
    accepted: dict[str, int] = {}
    for account, ppm in wishes:
        room = 1_000_000 - sum(accepted.values()) + accepted.get(account, 0)
        try:
            allocate(accepted.items(), account, ppm)
        except AllocationExceeded:
            assert ppm > room
        else:
            assert ppm <= room
            accepted[account] = ppm
    assert sum(accepted.values()) <= 1_000_000
