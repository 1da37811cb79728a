"""The baselines of the benchmark: they write the rows that the pipeline wrote; one that does not is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from benchmarks.check import WrongResult, check_baseline, count_entries
from benchmarks.pipeline.baseline_rows import ACCOUNT, ENTRY, GOAL, TRANSACTION, Shard, read_batches
from benchmarks.pipeline.baseline_writes import prepare_baseline_copy, prepare_baseline_writes
from benchmarks.seed import seed
from benchmarks.servers import database, unlimited, world
from benchmarks.workload import BenchEvent, Workload, make_events, sums
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.store.database import open_sessions
from core.store.tenants import DEFAULT
from milepost.embedded.postgres import EmbeddedPostgres

EVENTS, ACCOUNTS, BATCH = 90, 20, 40
# The moment at which something was written is another one.
WRITTEN_AT = {"recorded_at", "updated_at"}


@pytest.fixture(params=Workload)
def events(request: pytest.FixtureRequest, now: datetime) -> list[BenchEvent]:
    return make_events(request.param, EVENTS, ACCOUNTS, now + timedelta(hours=1))


@pytest.fixture
def drained(postgres: EmbeddedPostgres, now: datetime, events: list[BenchEvent]) -> Iterator[tuple[str, str]]:
    """The addresses of a seeded database and of its copy into which the pipeline has applied the events."""
    with database(postgres.url, "bench_test_seeded") as seeded_url:
        seed(seeded_url, ACCOUNTS, now)
        with database(postgres.url, "bench_test_drained", template="bench_test_seeded") as drained_url:
            apply_in_batches(drained_url, events, now + timedelta(days=31))
            yield seeded_url, drained_url


def with_engine(url: str, use: Any) -> Any:
    with unlimited(url) as engine:
        return use(engine)


def apply_in_batches(url: str, events: list[BenchEvent], now: datetime) -> None:
    entries = [StreamEntry(0, f"1-{n}", now, DEFAULT, event.to_json()) for n, event in enumerate(events)]
    with open_sessions(url, application_name="test", limits={}) as sessions:
        for start in range(0, len(entries), BATCH):
            with sessions.begin() as session:
                apply_events(session, entries[start : start + BATCH], now)


def rows_of(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    tables = {"transactions": TRANSACTION, "goal_entries": ENTRY, "accounts": ACCOUNT, "goals": GOAL}
    with engine.connect() as connection:
        return {
            table: [
                tuple(row)
                for row in connection.execute(
                    text(f"SELECT {', '.join(c for c in columns if c not in WRITTEN_AT)} FROM {table} ORDER BY 1, 2, 3")
                )
            ]
            for table, columns in tables.items()
        }


def test_bare_writes_leave_the_rows_that_the_pipeline_left(
    postgres: EmbeddedPostgres, drained: tuple[str, str]
) -> None:
    """Transactions, ledgers, accounts and goals are as the drain left them, row for row."""
    _, drained_url = drained
    with database(postgres.url, "bench_test_bare", template="bench_test_seeded") as baseline_url:
        assert prepare_baseline_writes(drained_url, baseline_url, Shard(0, 1, BATCH))() == EVENTS
        assert with_engine(baseline_url, rows_of) == with_engine(drained_url, rows_of)


def test_shards_share_the_events_between_them(drained: tuple[str, str]) -> None:
    """Each transaction is in one batch of one shard, no account in two shards, no batch larger than asked for."""
    _, drained_url = drained
    shards = [read_batches(drained_url, Shard(number, 3, 7)) for number in range(3)]
    ids = [row[2] for batches in shards for batch in batches for row in batch.transactions]
    assert sorted(map(str, ids)) == [f"transaction-{number:09d}" for number in range(EVENTS)]
    accounts = [{row[1] for batch in batches for row in batch.accounts} for batches in shards]
    assert sum(map(len, accounts)) == len(set().union(*accounts))
    assert max(len(batch.transactions) for batches in shards for batch in batches) == 7


def test_the_bare_copy_writes_transactions_alone(
    postgres: EmbeddedPostgres, drained: tuple[str, str], events: list[BenchEvent]
) -> None:
    """After a bare COPY the transactions are there, and no account, goal or ledger has changed."""
    seeded_url, drained_url = drained
    with database(postgres.url, "bench_test_bare", template="bench_test_seeded") as baseline_url:
        prepare_baseline_copy(drained_url, baseline_url, Shard(0, 1, BATCH))()
        wanted = with_engine(seeded_url, rows_of) | {"transactions": with_engine(drained_url, rows_of)["transactions"]}
        assert with_engine(baseline_url, rows_of) == wanted
        with_engine(baseline_url, lambda engine: check_baseline(engine, "bare COPY", sums(events), EVENTS, None))


def test_bare_writes_that_wrote_less_are_refused(drained: tuple[str, str], events: list[BenchEvent]) -> None:
    """A baseline whose transactions, ledger or amounts are not the pipeline's is refused."""
    seeded_url, drained_url = drained
    entries = with_engine(drained_url, count_entries)
    with_engine(drained_url, lambda engine: check_baseline(engine, "bare writes", sums(events), EVENTS, entries))
    with pytest.raises(WrongResult) as caught:
        with_engine(seeded_url, lambda engine: check_baseline(engine, "bare writes", sums(events), EVENTS, entries))
    faults = caught.value.faults
    assert faults[:2] == [
        f"there are 0 transactions, not {EVENTS}",
        f"there are {2 * ACCOUNTS} goal_entries, not {entries}",
    ]
    moved = len([total for total in sums(events).values() if total])
    assert sum("is worth 0, not" in fault for fault in faults) == moved


@pytest.mark.parametrize(("copy", "is_read"), [(database, True), (world, False)])
def test_a_world_is_in_memory(postgres: EmbeddedPostgres, now: datetime, copy: Any, is_read: bool) -> None:
    """Nothing of its goals has to come from the disk, as of a copy that nobody read yet."""
    explained = text("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT name FROM goals ORDER BY tenant, goal_id")
    with database(postgres.url, "bench_test_seeded") as seeded_url:
        seed(seeded_url, ACCOUNTS, now)
        with copy(postgres.url, "bench_test_world", template="bench_test_seeded") as url:
            plan = with_engine(url, lambda engine: engine.connect().scalar(explained))
    assert (plan[0]["Plan"]["Shared Read Blocks"] > 0) == is_read
