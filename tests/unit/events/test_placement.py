"""Where rows with only a date are placed: in any order and parts, facts lead to what the rules say of all at once."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.banks.account import Account
from core.events.facts import Rank, Transaction
from tests.chaos.oracle.placement import Record, place_all

DAY_0 = datetime(2026, 3, 27, tzinfo=UTC)
ZONES = [ZoneInfo("UTC"), ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu")]
UTC_ZONE = ZONES[0]


def statement(record: Record) -> Transaction:
    rank = Rank(record.time, record.is_removal, "s", record.event_id)
    if record.is_removal:
        return Transaction(record.name, rank)
    return Transaction(record.name, rank, record.amount, "USD", record.instant, record.day, record.is_pending)


def moment(days: int, minutes: int) -> datetime:
    return DAY_0 + timedelta(days=days, minutes=minutes)


# Few moments, some of them within the 15 minutes of others, so that all rules meet.
MOMENTS = st.builds(
    moment, st.integers(0, 4), st.sampled_from([0, 1, 300, 600, 601, 609, 615, 616, 625, 840, 1200, 1425, 1439])
)
AMOUNTS = st.sampled_from([-3, -2, -1, 1, 2, 3])
DAYS = st.integers(-2, 5).map(lambda days: (DAY_0 + timedelta(days=days)).date())


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Record], dict[datetime, int]]:
    records = []
    for number in range(draw(st.integers(1, 7))):
        name, amount, day = f"r{number}", draw(AMOUNTS), draw(DAYS)
        for again in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
            kind = draw(st.sampled_from(["day", "day", "day", "day", "instant", "removed", "pending", "other"]))
            record = Record(name, draw(MOMENTS), f"{number}-{again}", amount, day)
            if kind == "instant":
                record = record._replace(day=None, instant=draw(MOMENTS))
            elif kind == "removed":
                record = record._replace(day=None, amount=0)
            elif kind == "pending":
                record = record._replace(is_pending=True)
            elif kind == "other":
                record = record._replace(amount=draw(AMOUNTS), day=draw(DAYS))
            records.append(record)
    reports = {at: draw(st.integers(-4, 6)) for at in draw(st.lists(MOMENTS, max_size=5, unique=True))}
    return records, reports


@settings(max_examples=400)
@given(history=histories(), zone=st.sampled_from(ZONES), data=st.data())
def test_any_order_and_any_parts_place_rows_as_all_facts_at_once(
    history: tuple[list[Record], dict[datetime, int]], zone: ZoneInfo, data: st.DataObject
) -> None:
    """What is kept of intervals is enough: it is never necessary to look at all facts again."""
    records, reports = history
    facts: list[Record | datetime] = data.draw(st.permutations([*records, *reports]))
    account = Account(zone)
    while facts:
        size = data.draw(st.integers(1, 4))
        batch, facts = facts[:size], facts[size:]
        account.apply(
            [statement(fact) for fact in batch if isinstance(fact, Record)],
            {fact: reports[fact] for fact in batch if isinstance(fact, datetime)},
        )
    assert account.places == place_all(records, reports, zone.key)
