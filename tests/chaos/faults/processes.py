"""Faults of Milepost's own processes: killed, stopped for longer than locks last, started twice, restarted in turn."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random

from milepost.embedded.child import send
from tests.chaos.faults.scene import Fault, Inject, Missed, Scene

_HELPER_WITHIN_S = 20.0
_RESTARTED_WITHIN_S = 40.0
# Longer than a process waits for a lock (5 s) and than a transaction may be idle (10 s).
_STOPPED_S = (11.5, 13.0)

Pick = Callable[[Scene, str, Random], Sequence[int]]


def _main(scene: Scene, name: str, _chance: Random) -> Sequence[int]:
    return [scene.system.pids(name)[0]]


def _helper(scene: Scene, name: str, chance: Random) -> Sequence[int]:
    """One of the processes that do the work; waits for one that is just being started."""
    scene.await_(lambda: scene.system.pids(name)[1], _HELPER_WITHIN_S)
    helpers = scene.system.pids(name)[1]
    return [chance.choice(helpers)] if helpers else []


def _all(scene: Scene, name: str, _chance: Random) -> Sequence[int]:
    pid, helpers = scene.system.pids(name)
    return [pid, *helpers]


def _send_all(pids: Sequence[int], number: signal.Signals) -> list[int]:
    """Send a signal to the processes that run; returns those that got it. Raises Missed if none did."""
    reached = [pid for pid in pids if pid and send(pid, number)]
    if not reached:
        raise Missed("there was no such process just then")
    return reached


def _kill(name: str, pick: Pick) -> Inject:
    @contextmanager
    def killed(scene: Scene, chance: Random) -> Iterator[None]:
        _send_all(pick(scene, name, chance), signal.SIGKILL)
        yield

    return killed


def _stop(name: str, pick: Pick) -> Inject:
    @contextmanager
    def stopped(scene: Scene, chance: Random) -> Iterator[None]:
        pids = _send_all(pick(scene, name, chance), signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                send(pid, signal.SIGCONT)

    return stopped


def kill_main(name: str) -> Inject:
    """Kill a process that the supervisor has started."""
    return _kill(name, _main)


def stop_main(name: str) -> Inject:
    """Stop a process that the supervisor has started, until the fault ends."""
    return _stop(name, _main)


@contextmanager
def _two_beats(scene: Scene, _chance: Random) -> Iterator[None]:
    scene.system.start_process("second beat", ["beat"])
    try:
        yield
    finally:
        scene.system.end_process("second beat")


@contextmanager
def _restart_all(scene: Scene, chance: Random) -> Iterator[None]:
    """Ask each process of Milepost to end, one after the other, each only once the one before runs again."""
    names = list(scene.system.children)
    chance.shuffle(names)
    for name in names:
        _restart(scene, name)
    yield


def _restart(scene: Scene, name: str) -> None:
    child = scene.system.children[name]
    before = child.pid
    child.ask_to_end()
    if not scene.await_(lambda: child.pid not in (0, before), _RESTARTED_WITHIN_S):
        scene.say(f"{name} did not end in {_RESTARTED_WITHIN_S:g} s")


PROCESS_FAULTS = (
    Fault("kill the drains' worker", _kill("worker drains", _main)),
    Fault("kill a drain", _kill("worker drains", _helper)),
    Fault("kill all of the drains' worker", _kill("worker drains", _all)),
    Fault("kill the jobs' worker", _kill("worker jobs", _main)),
    Fault("kill a job", _kill("worker jobs", _helper)),
    Fault("kill beat", _kill("beat", _main)),
    Fault("kill the API", _kill("api", _main)),
    Fault("stop a drain", _stop("worker drains", _helper), _STOPPED_S),
    Fault("stop all of the drains' worker", _stop("worker drains", _all), _STOPPED_S),
    Fault("stop a job", _stop("worker jobs", _helper), _STOPPED_S),
    Fault("stop beat", _stop("beat", _main), _STOPPED_S),
    Fault("stop the API", _stop("api", _main), _STOPPED_S),
    Fault("two beats", _two_beats, (6.0, 9.0)),
    Fault("restart one after the other", _restart_all, (0.5, 1.0)),
)
