"""Processes that work at the same time, as workers do: started together, each measuring its own time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from benchmarks.memory import peak_rss_bytes
from core.errors import MilepostError

_POLL_S = 0.5
_END_S = 5.0

Result = TypeVar("Result")
# The work that is timed.
Work = Callable[[], Result]
# The preparation, which is not timed. It is sent to the process, so it must be a module's function or a partial of one.
Prepare = Callable[[], Work[Result]]


class WorkerFailed(MilepostError):
    """A process of a benchmark ended before its work was done."""

    def __init__(self, worker: int) -> None:
        super().__init__(f"process {worker} of the benchmark ended before its work was done; its output is above")


@dataclass(frozen=True, slots=True)
class Run(Generic[Result]):
    """The run of one process. `began_s` and `ended_s` are of the machine's monotonic clock, which processes share."""

    result: Result
    began_s: float
    ended_s: float
    peak_rss_bytes: int


def seconds(runs: Sequence[Run[Result]]) -> float:
    """The time from the start of the first to the end of the last."""
    return max(run.ended_s for run in runs) - min(run.began_s for run in runs)


def work_side_by_side(workers: Sequence[Prepare[Result]], on_tick: Callable[[], object]) -> list[Run[Result]]:
    """Run each worker in a process of its own; all start when the last one is ready. Returns their runs, in order.

    `on_tick` is called twice a second while they work. Raises WorkerFailed.
    """
    with _processes(workers) as pipes:
        for worker, pipe in enumerate(pipes):
            _receive(pipe, worker)
        for pipe in pipes:
            pipe.send("go")
        working = dict(zip(pipes, range(len(pipes)), strict=True))
        runs: dict[int, Run[Result]] = {}
        while working:
            ready = wait(list(working), timeout=_POLL_S)
            for pipe in [pipe for pipe in working if pipe in ready]:
                worker = working.pop(pipe)
                runs[worker] = _receive(pipe, worker)
            on_tick()
        return [runs[worker] for worker in range(len(workers))]


@contextmanager
def _processes(workers: Sequence[Prepare[Result]]) -> Iterator[list[Connection]]:
    """Start a process for each worker; gives our ends of their pipes. At the end all processes are ended."""
    spawning = get_context("spawn")
    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    try:
        for prepare in workers:
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=_serve, args=(theirs, prepare), daemon=True)
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


def _receive(pipe: Connection, worker: int) -> Any:
    try:
        message = pipe.recv()
    except EOFError:
        raise WorkerFailed(worker) from None
    return message


def _serve(pipe: Connection, prepare: Prepare[Result]) -> None:
    """Run one process: prepare, send "ready", wait for "go", work, and send the run."""
    # Ctrl-C goes to the whole group of the terminal; the benchmark itself ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = prepare()
    pipe.send("ready")
    with suppress(EOFError):  # the benchmark has ended
        pipe.recv()
        began_s = time.monotonic()
        result = work()
        pipe.send(Run(result, began_s, time.monotonic(), peak_rss_bytes()))
