"""Where rows with only a date stand: in any order and parts, facts lead to what the rules say of all at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from core.events.facts import Rank, Transaction
from core.events.placement import (
    BALANCES_AFTER,
    BALANCES_BEFORE,
    AccountBefore,
    Answer,
    Balance,
    BalancesAround,
    Question,
    Row,
    RowsBetween,
    place,
)
from core.events.worth import StoredTransaction, fold_transactions, with_lent_times
from core.ingestion.placing import row_change, with_places
from tests.chaos.oracle.placement import Record, place_all

DAY_0 = datetime(2026, 3, 27, tzinfo=UTC)
ZONES = [ZoneInfo("UTC"), ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu")]
UTC_ZONE = ZONES[0]


@dataclass
class Account:
    """One account in memory, which answers questions as the database does, and counts the rows that it gives."""

    zone: ZoneInfo
    rows: dict[str, StoredTransaction] = field(default_factory=dict)
    balances: dict[datetime, Balance] = field(default_factory=dict)
    read: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @property
    def places(self) -> dict[str, datetime]:
        return {name: row.placed_at for name, row in self.rows.items() if row.counts and row.placed_at is not None}

    def worth(self) -> int:
        """The worth after all rows."""
        if not self.balances:
            return sum(row.transaction.amount_minor for row in self.rows.values() if row.counts)
        latest = max(self.balances)
        after = [name for name, at in self.places.items() if at > latest]
        return self.balances[latest].worth_minor + sum(self.rows[name].transaction.amount_minor for name in after)

    def apply(self, records: Iterable[Record], reports: dict[datetime, int]) -> None:
        """Apply a batch."""
        changes = fold_transactions([statement(record) for record in records], self.rows)
        changes = with_lent_times(changes, self.rows)
        reported = [at for change in changes if (at := change.after.first_reported) is not None]
        first = min([*reported, *filter(None, [self.first])], default=None)
        before = AccountBefore(
            self.zone,
            self.worth(),
            max(self.balances, default=None),
            max(self.places.values(), default=None),
            self.first,
            self.last,
        )
        changed = {
            as_of: worth
            for as_of, worth in reports.items()
            if as_of not in self.balances or self.balances[as_of].worth_minor != worth
        }
        asking = place(before, [row_change(change) for change in changes], changed, first)
        answer: Answer | None = None
        while True:
            try:
                question = next(asking) if answer is None else asking.send(answer)
            except StopIteration as end:
                placed = end.value
                break
            answer = self.answer(question)
        for change in with_places(changes, placed, self.zone):
            self.rows[change.after.transaction.transaction_id] = change.after
        for left_at, row in placed.moved:
            assert self.rows[row.transaction_id].placed_at == left_at
            self.rows[row.transaction_id] = self.rows[row.transaction_id]._replace(placed_at=row.placed_at)
        for as_of, worth in changed.items():
            self.balances[as_of] = self.balances.get(as_of, Balance(as_of, 0))._replace(worth_minor=worth)
        for as_of, (gap, has_moved) in placed.intervals.items():
            self.balances[as_of] = self.balances[as_of]._replace(gap_minor=gap, has_moved=has_moved)
        self.first = first
        self.last = max([*reported, *filter(None, [self.last])], default=None)

    def answer(self, question: Question) -> Answer:
        if isinstance(question, BalancesAround):
            return [self._around(first, last) for first, last in question.spans]
        assert isinstance(question, RowsBetween)
        found = []
        for name, at in self.places.items():
            row = self.rows[name]
            dated, reported_at = row.transaction.dated, row.reported_at
            assert reported_at is not None
            if question.first <= at <= question.last and (question.with_instants or dated is not None):
                found.append(Row(name, dated, reported_at, row.transaction.amount_minor, at))
        self.read += len(found)
        return found

    def _around(self, first: datetime, last: datetime) -> list[Balance]:
        as_ofs = sorted(self.balances)
        low = [each for each in as_ofs if each < first][-BALANCES_BEFORE:]
        high = [each for each in as_ofs if each >= last][:BALANCES_AFTER]
        return [self.balances[each] for each in as_ofs if each in low or first <= each < last or each in high]


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
            [fact for fact in batch if isinstance(fact, Record)],
            {fact: reports[fact] for fact in batch if isinstance(fact, datetime)},
        )
    assert account.places == place_all(records, reports, zone.key)
