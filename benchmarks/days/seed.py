"""Seeds accounts with past transactions and closed days: three kinds of accounts, each funding two goals.

One account of each kind is made and its past applied and closed by the product. The others are copies of its rows, in
the order in which nightly runs would have written them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from benchmarks.seed import Copies, make_account, multiply, vacuum
from benchmarks.workload import CURRENCY, BenchEvent, account_id, envelope
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.jobs.snapshot import run_snapshot
from core.services.keys import bootstrap
from core.store import tables
from core.store.database import open_sessions
from core.store.driver import Session
from core.store.migrate import migrate
from core.store.tenants import DEFAULT

DAY: Final = timedelta(days=1)
NOON: Final = timedelta(hours=12)
_STEP_MINOR, _SLOPE = 300, 15
# For every table the column that says when its rows would have been written.
_WRITTEN: Final = {
    tables.accounts: None,
    tables.transactions: "posted_at",
    tables.reports: "as_of",
    tables.goals: None,
    tables.milestones: None,
    tables.links: None,
    tables.goal_entries: None,
    tables.goal_snapshots: "day",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of account: made `age` days ago; `moved` and `reported`: how many days ago that happened."""

    age: int
    moved: Sequence[int]
    reported: Sequence[int]


_LATELY: Final = range(325, 0, -10)
# The same around 30, 300 and 3,000 days ago: a move every tenth day, and a report twenty days after.
FOLLOWED: Final = Kind(
    age=3_040,
    moved=(*range(3_035, 2_960, -10), *range(2_905, 325, -100), *_LATELY),
    reported=(3_010, 2_980, *range(2_890, 340, -300), *range(310, 0, -30)),
)
UNREPORTED: Final = Kind(age=330, moved=_LATELY, reported=())
QUIET: Final = Kind(age=330, moved=(195, 95), reported=())


@dataclass(frozen=True, slots=True)
class World:
    """The number of accounts of each kind, numbered in this order; `today` is the day that is not over yet."""

    followed: int
    unreported: int
    quiet: int
    today: date

    @property
    def accounts(self) -> int:
        """The number of all accounts."""
        return self.followed + self.unreported + self.quiet

    @property
    def now(self) -> datetime:
        """The moment at which everything is measured."""
        return self.at(0)

    def at(self, age: int) -> datetime:
        """Noon of the day so many days ago."""
        return datetime.combine(self.today, time(), UTC) + NOON - age * DAY

    @property
    def kinds(self) -> Iterator[tuple[Kind, range]]:
        """Yield each kind that has accounts, with the numbers of these."""
        first = 0
        for kind, count in ((FOLLOWED, self.followed), (UNREPORTED, self.unreported), (QUIET, self.quiet)):
            if count:
                yield kind, range(first, first + count)
            first += count


def seed_days(url: str, world: World) -> None:
    """Migrate an empty database and seed it, with its days closed through the day before yesterday."""
    migrate(url)
    with open_sessions(url, application_name="milepost bench-days", limits={}) as sessions:
        with sessions.begin() as session:
            bootstrap(session, key=None, now=world.at(FOLLOWED.age + 1))
        for kind, numbers in world.kinds:
            with sessions.begin() as session:
                make_account(session, numbers[0], world.at(kind.age))
                apply_events(session, list(_past(kind, numbers[0], world)), world.at(1))
        run_snapshot(sessions, world.at(1))
        for kind, numbers in world.kinds:
            with sessions.begin() as session:
                _multiply_all(session, Copies(numbers[0], numbers[0] + 1, numbers[-1], world.at(kind.age)))
    vacuum(url)


def entries(world: World, bodies: Iterable[bytes], start: int = 0) -> Iterator[StreamEntry]:
    """Events as they come from the stream today, numbered from `start` on."""
    for number, body in enumerate(bodies, start):
        yield StreamEntry(0, f"{int(world.now.timestamp() * 1000)}-{number}", world.now, DEFAULT, body)


def _past(kind: Kind, number: int, world: World) -> Iterator[StreamEntry]:
    """The past transactions and reports of an account; each report has the account's worth of that moment."""
    moves = {age: _STEP_MINOR if n // _SLOPE % 2 == 0 else -_STEP_MINOR for n, age in enumerate(kind.moved)}
    bodies = [BenchEvent(number, f"past-{age:04d}", minor, world.at(age)).to_json() for age, minor in moves.items()]
    for age in kind.reported:
        worth_minor = sum(minor for moved, minor in moves.items() if moved > age)
        data = {
            "account_id": account_id(number),
            "current": Decimal(worth_minor).scaleb(-2),
            "currency": CURRENCY,
            "as_of": world.at(age).isoformat(),
        }
        bodies.append(envelope("balance.reported", f"report-{age:04d}", world.at(age), data))
    return entries(world, bodies)


def _multiply_all(session: Session, copies: Copies) -> None:
    for table, written in _WRITTEN.items():
        # Ordered by day, then account: that is the order in which nightly runs write them to disk.
        multiply(session, table, copies, order="n" if written is None else f"m.{written}, n")
