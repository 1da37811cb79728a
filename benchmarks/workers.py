"""Processes that do one kind of work side by side, as workers do: started together, timed from within."""

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

_LOOK_S = 0.5
_END_S = 5.0

Result = TypeVar("Result")
# What is timed.
Work = Callable[[], Result]
# What comes before and is not timed. It is sent to the process, so it is a function of a module, or a partial of one.
Prepare = Callable[[], Work[Result]]


class MemberFailed(MilepostError):
    """A process of a bench ended before its work was done."""

    def __init__(self, member: int) -> None:
        super().__init__(f"process {member} of the bench ended before its time; what it said is above")


@dataclass(frozen=True, slots=True)
class Stint(Generic[Result]):
    """What one process did. `began_s` and `ended_s` are of the machine's monotonic clock, which processes share."""

    result: Result
    began_s: float
    ended_s: float
    peak_rss_bytes: int


def seconds(stints: Sequence[Stint[Result]]) -> float:
    """From the first's begin to the last's end."""
    return max(stint.ended_s for stint in stints) - min(stint.began_s for stint in stints)


def work_side_by_side(members: Sequence[Prepare[Result]], on_look: Callable[[], object]) -> list[Stint[Result]]:
    """Let each member work in a process of its own, all beginning when the last one is ready; their stints in order.

    `on_look` is called now and then while they work. Raises MemberFailed.
    """
    with _processes(members) as pipes:
        for member, pipe in enumerate(pipes):
            _receive(pipe, member)
        for pipe in pipes:
            pipe.send("go")
        working = dict(zip(pipes, range(len(pipes)), strict=True))
        stints: dict[int, Stint[Result]] = {}
        while working:
            told = wait(list(working), timeout=_LOOK_S)
            for pipe in [pipe for pipe in working if pipe in told]:
                member = working.pop(pipe)
                stints[member] = _receive(pipe, member)
            on_look()
        return [stints[member] for member in range(len(members))]


@contextmanager
def _processes(members: Sequence[Prepare[Result]]) -> Iterator[list[Connection]]:
    """One process a member; the ends of their pipes. Whatever still runs at the end is ended."""
    spawning = get_context("spawn")
    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    try:
        for prepare in members:
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


def _receive(pipe: Connection, member: int) -> Any:
    try:
        message = pipe.recv()
    except EOFError:
        raise MemberFailed(member) from None
    return message


def _serve(pipe: Connection, prepare: Prepare[Result]) -> None:
    """The life of one process: get ready, say so, wait for the word, work, tell."""
    # Ctrl-C goes to the whole group of the terminal; the bench itself ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work = prepare()
    pipe.send("ready")
    with suppress(EOFError):  # the bench is gone
        pipe.recv()
        began_s = time.monotonic()
        result = work()
        pipe.send(Stint(result, began_s, time.monotonic(), peak_rss_bytes()))
