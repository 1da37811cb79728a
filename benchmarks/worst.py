"""`python -m benchmarks.worst`: what the least usual batches cost. `make bench-worst` runs it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.check import WrongResult
from benchmarks.command import measuring, run
from benchmarks.seed import seed
from benchmarks.servers import database
from benchmarks.workload import CURRENCY, BenchEvent, account_id, envelope
from core.goals.goal import GoalType, Tracking
from core.ingestion.apply import apply_decoded, zones_of
from core.ingestion.decode import StreamEntry, decode_batch
from core.ingestion.facts import DuplicateCheck
from core.services.funding import link_account
from core.services.goals import create_goal
from core.services.inputs import GoalDraft, LinkDraft
from core.settings import load_settings
from core.store.database import Sessions, open_sessions
from core.store.driver import plan_by_key
from core.store.tenants import DEFAULT, Tenant
from core.verify.verify import verify
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json
from milepost.ops.latency import StepProgress
from worker.context import spare_the_collector

_PAGE, _ROWS_A_DAY = 2_000, 20
_PULLS, _ROWS_A_PULL = 10, 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What so many events cost; the `compared_` ones: what such events cost where there is little history."""

    case: str
    events: int
    seconds: float
    compared_with: str
    compared_events: int
    compared_seconds: float

    @property
    def ms_an_event(self) -> float:
        """Milliseconds."""
        return 1_000 * self.seconds / self.events

    @property
    def ratio(self) -> float:
        """The time of an event, as a multiple of that of one that is compared with it."""
        return self.ms_an_event / (1_000 * self.compared_seconds / self.compared_events)


@dataclass(frozen=True, slots=True)
class Bench:
    """One database; account 0 gets rows one by one, 1 and 2 a page, and all others a report after a day of rows."""

    sessions: Sessions
    progress: StepProgress
    accounts: int
    began: datetime
    batch_events: int

    def apply(self, bodies: Sequence[bytes], size: int, name: str, check: DuplicateCheck | None = None) -> list[float]:
        """Apply events in batches of `size`, each in a transaction of its own; returns the seconds of each."""
        took = []
        check = check or DuplicateCheck()
        with self.progress.step(name, len(bodies)) as advance:
            for start in range(0, len(bodies), size):
                part = bodies[start : start + size]
                now = datetime.now(UTC)
                entries = [StreamEntry(0, f"{start}-{n}", now, DEFAULT, body) for n, body in enumerate(part)]
                began_s = time.monotonic()
                with self.sessions.begin() as session:
                    plan_by_key(session)
                    apply_decoded(session, decode_batch(entries, zones_of(session, entries)), now, check)
                took.append(time.monotonic() - began_s)
                advance(start + len(part))
        return took

    def rows(self, account: int, name: str, count: int) -> list[bytes]:
        """Transactions of one account, in order of time, within a day."""
        step = timedelta(days=1) / (count + 1)
        return [
            BenchEvent(account, f"{name}-{n}", 100 + n % 7, self.began + step * (n + 1)).to_json() for n in range(count)
        ]

    def measure(self, rows: int, history: int, pulled: int) -> Iterator[Cost]:
        """All cases."""
        yield self._one_by_one(rows)
        yield self._page_again()
        yield self._reports()
        yield self._late_row(history)
        yield from self._pulls(pulled)

    def _one_by_one(self, rows: int) -> Cost:
        took = self.apply(self.rows(0, "single", rows), 1, "rows one by one")
        part = max(1, rows // 10)
        last, first = sum(took[-part:]), sum(took[:part])
        return Cost("a row of one account, each a batch: the last tenth", part, last, "the first tenth", part, first)

    def _page_again(self) -> Cost:
        page = self.rows(1, "page", _PAGE)
        first = sum(self.apply(page, _PAGE, "a page", DuplicateCheck.left_out()))
        # The worst moment for it: after many batches without duplicates, when none looks for any.
        again = sum(self.apply(page, _PAGE, "the page again", DuplicateCheck.left_out()))
        return Cost("a page of one account again", _PAGE, again, "the page", _PAGE, first)

    def _reports(self) -> Cost:
        numbers = range(2, self.accounts)
        few, many = numbers[: len(numbers) // 10], numbers[len(numbers) // 10 :]
        bodies = [body for number in many for body in self.rows(number, f"day{number}", _ROWS_A_DAY)]
        self.apply(bodies, self.batch_events, "a day of rows")
        as_of = self.began + timedelta(days=1, hours=1)
        of_many, of_few = (
            sum(self.apply([self._report(n, 77_00, as_of) for n in each], self.batch_events, "reports"))
            for each in (many, few)
        )
        return Cost("a report of each account after a day of rows", len(many), of_many, "no rows", len(few), of_few)

    def _late_row(self, history: int) -> Cost:
        with self.sessions.begin() as session:
            for number in (self.accounts, self.accounts + 1):
                draft = GoalDraft(
                    "u", "Worst", GoalType.SAVINGS, "1000000.00", currency=CURRENCY, tracking=Tracking.CHANGE
                )
                goal = create_goal(session, Tenant(DEFAULT, "UTC"), draft, self.began)
                link_account(
                    session, Tenant(DEFAULT, "UTC"), goal.goal_id, LinkDraft(account_id(number), None, 50), self.began
                )
        self.apply(self.rows(self.accounts, "long", history), self.batch_events, "an account without a report")
        self.apply(self.rows(self.accounts + 1, "short", 10), self.batch_events, "a short one")
        moments = [self.began + timedelta(seconds=second) for second in range(20)]
        late = [[BenchEvent(self.accounts + n, f"late{n}-{at}", 100, at).to_json() for at in moments] for n in (0, 1)]
        of_long, of_short = (sum(self.apply(each, 1, "late rows")) for each in late)
        name = f"a late row of an account of {history:,} rows, no report"
        return Cost(name, len(late[0]), of_long, "of 10 rows", len(late[1]), of_short)

    def _pulls(self, accounts: int) -> Iterator[Cost]:
        """Daily pulls of so many other accounts, each with a balance and the rows of the day before."""
        first = self.accounts + 10
        for what, is_balance_first in (("after its balance", True), ("before its balance", False)):
            took = []
            for is_dated in (True, False):
                numbers = range(first, first := first + accounts)
                took.append(sum(self._pull(numbers, n, is_dated, is_balance_first) for n in range(_PULLS)))
            events = accounts * _PULLS * (_ROWS_A_PULL + 1)
            yield Cost(f"a page of rows with dates only, {what}", events, took[0], "of instants", events, took[1])

    def _pull(self, numbers: range, pull: int, is_dated: bool, is_balance_first: bool) -> float:
        at = self.began - timedelta(days=_PULLS - pull) + timedelta(hours=7)
        at_page = at + timedelta(seconds=1 if is_balance_first else -1)
        worth = 500 * (pull + 1) * _ROWS_A_PULL
        balances = [self._report(number, worth, at) for number in numbers]
        rows = [
            self._row(number, pull, n, at_page, is_dated=is_dated) for number in numbers for n in range(_ROWS_A_PULL)
        ]
        parts = [balances, rows] if is_balance_first else [rows, balances]
        return sum(sum(self.apply(part, self.batch_events, "daily pulls")) for part in parts)

    def _row(self, number: int, pull: int, n: int, at: datetime, *, is_dated: bool) -> bytes:
        posted = (at - timedelta(days=1)).replace(hour=12 + n)
        data = {
            "account_id": account_id(number),
            "transaction_id": f"{pull}-{n}",
            "amount": Decimal("5.00"),
            "currency": CURRENCY,
            "posted_at": posted.date().isoformat() if is_dated else posted.isoformat(),
        }
        return envelope("transaction.recorded", f"{number}-{pull}-{n}", at, data)

    def _report(self, number: int, minor: int, as_of: datetime) -> bytes:
        current = Decimal(minor).scaleb(-2)
        data = {"account_id": account_id(number), "current": current, "currency": CURRENCY, "as_of": as_of.isoformat()}
        return envelope("balance.reported", f"report-{number}-{as_of}", as_of, data)


def bench_worst(
    rows: Annotated[int, typer.Option(help="Rows that come one by one.", min=10)] = 50_000,
    accounts: Annotated[int, typer.Option(help="Accounts with a report after a day of rows.", min=100)] = 10_000,
    history: Annotated[int, typer.Option(help="Rows of the account that gets late ones.", min=100)] = 200_000,
    pulled: Annotated[int, typer.Option(help="Accounts with a pull each day.", min=1)] = 2_000,
    as_json: JsonOption = False,
) -> None:
    """Measure the batches that are least like the usual ones, and how much history adds to them.

    Starts a durable Postgres of its own in the temporary folder (TMPDIR) and removes it afterwards. Exit status 1 if
    an amount is not what the facts give.
    """
    spare_the_collector()  # as the drains do
    began = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    with (
        measuring() as (servers, progress),
        database(servers.postgres_url, "bench_worst") as url,
        open_sessions(url, application_name="milepost bench", limits={}) as sessions,
    ):
        with progress.step("seed"):
            seed(url, accounts + 2, began - timedelta(days=1))
        bench = Bench(sessions, progress, accounts + 2, began, load_settings().batch_events)
        costs = list(bench.measure(rows, history, pulled))
        with progress.step("verify"):
            found = verify(bench.sessions, datetime.now(UTC))
        if not found.is_ok:
            raise WrongResult("bench-worst", [str(each) for each in found.first])
    if as_json:
        print_json([as_plain(cost) for cost in costs])
    else:
        Console(highlight=False).print(as_table(costs))


def as_plain(cost: Cost) -> dict[str, object]:
    """All figures of one case by name."""
    return {
        "case": cost.case,
        "events": cost.events,
        "seconds": round(cost.seconds, 3),
        "ms_an_event": round(cost.ms_an_event, 3),
        "compared_with": cost.compared_with,
        "ratio": round(cost.ratio, 2),
    }


def as_table(costs: Sequence[Cost]) -> Table:
    """The printed table."""
    table = Table("case", "events", "seconds", "ms an event", "compared with", "ratio", box=None, header_style="bold")
    for cost in costs:
        figures = f"{cost.events:,}", f"{cost.seconds:,.2f}", f"{cost.ms_an_event:,.3f}"
        table.add_row(cost.case, *figures, cost.compared_with, f"{cost.ratio:,.2f}")
    return table


if __name__ == "__main__":
    run(bench_worst)
