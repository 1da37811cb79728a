"""The drain of one shard as a worker runs it, to be timed in a process of its own."""

from __future__ import annotations

from sqlalchemy import text

from benchmarks.workers import Work
from core.settings import Settings


def prepare_drain(settings: Settings, shard: int) -> Work[int]:
    """Connect to both servers, as a worker that has been at work is; draining the shard until it is empty is timed."""
    from worker.context import WorkerContext, share_the_interpreter, spare_the_collector
    from worker.run import log_as_json

    log_as_json("WARNING")
    context = WorkerContext(settings)
    drain = context.shard_drain(shard)
    with context.sessions.begin() as session:
        session.execute(text("SELECT 1"))
    context.stream.ensure_group(shard)
    spare_the_collector()
    share_the_interpreter()

    def work() -> int:
        events, is_cut_short = 0, True
        while is_cut_short:
            drained = drain.drain()
            events, is_cut_short = events + drained.events, drained.is_cut_short
        return events

    return work
