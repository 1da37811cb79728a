"""`python -m benchmarks.usual_way`: measure the usual way, by itself or for `python -m benchmarks`, which uses --json.

With MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL it uses the seeded database there, else servers of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from rich.console import Console

from benchmarks.check import check_result
from benchmarks.seed import seed
from benchmarks.servers import bench_servers, database, unlimited
from benchmarks.usual_way.measure import run_all, send_all
from benchmarks.usual_way.tasks import PROCESSES, make_app
from benchmarks.workload import SPAN, Workload, make_events, sums
from core.errors import MilepostError
from core.settings import Settings, load_settings
from core.store.database import database_url
from milepost.embedded.child import StopAsked, stop_requests
from milepost.ops.latency import StepProgress


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = _parser().parse_args(given)
    if arguments.worker:
        _work(load_settings())
        return 0
    try:
        with (
            stop_requests(),
            StepProgress.on(Console(stderr=True)) as progress,
            _world(arguments, progress) as settings,
        ):
            seconds = measure(settings, arguments, progress)
    except StopAsked:
        return 130
    except MilepostError as error:
        print(error, file=sys.stderr)
        return 1
    stats = {
        "events": arguments.events,
        "accounts": arguments.accounts,
        "processes": PROCESSES,
        "seconds": round(seconds, 3),
        "usual_way_events_per_s": round(arguments.events / seconds, 1),
    }
    print(json.dumps(stats) if arguments.json else f"the usual way: {stats['usual_way_events_per_s']:,} events/s")
    return 0


def measure(settings: Settings, arguments: argparse.Namespace, progress: StepProgress) -> float:
    """Seconds of the tasks; raises WrongResult if their result does not fit the events."""
    events = make_events(Workload.SCATTERED, arguments.events, arguments.accounts, arguments.since)
    with progress.step("usual way: send", len(events)):
        send_all(settings, [event.to_json() for event in events])
    with progress.step("usual way: run", len(events)) as reached:
        seconds = run_all(settings, len(events), reached)
    with progress.step("usual way: check"), unlimited(database_url(settings)) as engine:
        check_result(engine, "the usual way", sums(events), arguments.events, arguments.accounts)
    return seconds


@contextmanager
def _world(arguments: argparse.Namespace, progress: StepProgress) -> Iterator[Settings]:
    """The servers that the settings name, which are seeded; else servers of our own."""
    settings = load_settings()
    if settings.database_url is not None:
        yield settings
        return
    with bench_servers() as servers, database(servers.postgres_url, "usual_way") as url:
        own = load_settings(database_url=url, redis_url=servers.redis_url)
        with progress.step("seed"):
            seed(url, arguments.accounts, arguments.since - timedelta(hours=1))
        yield own


def _work(settings: Settings) -> None:
    assert settings.redis_url is not None, "the process that starts the worker names both servers"
    app = make_app(database_url(settings), settings.redis_url.get_secret_value())
    options = ["--pool=prefork", f"--concurrency={PROCESSES}", "--loglevel=WARNING"]
    app.worker_main(["worker", *options, "--without-gossip", "--without-mingle", "--without-heartbeat"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.usual_way", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000, help="transactions to apply (5,000)")
    parser.add_argument("--accounts", type=int, default=100_000, help="accounts, each funding two goals (100,000)")
    parser.add_argument("--since", type=datetime.fromisoformat, default=datetime.now(UTC) - SPAN - timedelta(hours=1))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
