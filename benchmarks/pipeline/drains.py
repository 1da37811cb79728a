"""The drains that are measured, each in a process that imports little else, since its memory is measured too."""

from __future__ import annotations

from benchmarks.workers import Work
from core.settings import Settings
from core.store.driver import Sql
from worker.app import log_as_json
from worker.context import WorkerContext, share_the_interpreter, spare_the_collector


def prepare_drain(settings: Settings, shard: int) -> Work[int]:
    """Connect to both servers, as a running worker is. The work, which is timed, drains the shard until it is empty."""
    log_as_json("WARNING")
    context = WorkerContext(settings)
    drain = context.shard_drain(shard)
    with context.sessions.begin() as session:
        Sql("SELECT 1").run(session, {})
    spare_the_collector()
    share_the_interpreter()

    def work() -> int:
        events, is_cut_short = 0, True
        while is_cut_short:
            drained = drain.drain()
            events, is_cut_short = events + drained.events, drained.is_cut_short
        return events

    return work
