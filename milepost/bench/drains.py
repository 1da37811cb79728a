"""Drains in processes of their own, as a worker runs them, started together and timed from within."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from sqlalchemy import text

from core.errors import MilepostError
from core.settings import Settings
from milepost.bench.memory import peak_rss_bytes

_LOOK_S = 0.5
_END_S = 5.0


class DrainFailed(MilepostError):
    """A drain process ended before its shard was empty."""

    def __init__(self, shard: int) -> None:
        super().__init__(f"the drain of shard {shard} ended before its time; what it said is above")


@dataclass(frozen=True, slots=True)
class ShardDrained:
    """What one process did. `began_s` and `ended_s` are of the machine's monotonic clock, which processes share."""

    events: int
    began_s: float
    ended_s: float
    peak_rss_bytes: int


def drain_all(settings: Settings, on_look: Callable[[], object]) -> list[ShardDrained]:
    """Drain every shard until it is empty, a process each; `on_look` is called now and then while they work."""
    with _processes(settings) as pipes:
        for shard, pipe in enumerate(pipes):
            _receive(pipe, shard)
        for pipe in pipes:
            pipe.send("go")
        waiting = dict(zip(pipes, range(len(pipes)), strict=True))
        drained = []
        while waiting:
            told = wait(list(waiting), timeout=_LOOK_S)
            for pipe in [pipe for pipe in waiting if pipe in told]:
                drained.append(_receive(pipe, waiting.pop(pipe)))
            on_look()
        return drained


@contextmanager
def _processes(settings: Settings) -> Iterator[list[Connection]]:
    """One process a shard; the ends of their pipes. Whatever still runs at the end is ended."""
    spawning = get_context("spawn")
    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    try:
        for shard in range(settings.shards):
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=drain_shard, args=(theirs, settings, shard), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        yield pipes
    finally:
        _end(processes)


def _end(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.join(0.5)
        process.terminate()
    for process in processes:
        process.join(_END_S)
        process.kill()


def _receive(pipe: Connection, shard: int) -> ShardDrained:
    try:
        message: ShardDrained = pipe.recv()
    except EOFError:
        raise DrainFailed(shard) from None
    return message


def drain_shard(pipe: Connection, settings: Settings, shard: int) -> None:
    """The work of one process: get ready, say so, wait for the word, drain, tell."""
    from worker.context import WorkerContext, spare_the_collector
    from worker.logs import log_as_json

    # Ctrl-C goes to the whole group of the terminal; the bench itself ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_as_json("WARNING")
    context = WorkerContext(settings)
    drain = context.shard_drain(shard)
    with context.sessions.begin() as session:
        session.execute(text("SELECT 1"))
    context.stream.ensure_group(shard)
    spare_the_collector()
    ready_s = time.monotonic()
    pipe.send(ShardDrained(0, ready_s, ready_s, 0))
    with suppress(EOFError):  # the bench is gone
        pipe.recv()
        began_s, events, is_cut_short = time.monotonic(), 0, True
        while is_cut_short:
            drained = drain.drain()
            events, is_cut_short = events + drained.events, drained.is_cut_short
        pipe.send(ShardDrained(events, began_s, time.monotonic(), peak_rss_bytes()))
