"""A backlog: events that are accepted and not applied yet when a fault is injected."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from milepost.embedded.child import send
from tests.chaos.faults.scene import Scene

_BACKLOG_S = 1.5


@contextmanager
def backlog(scene: Scene) -> Iterator[None]:
    """Stop the drains for a moment, so that accepted events are only on the stream; they go on when the block ends."""
    pid, helpers = scene.system.pids("worker drains")
    stopped = [each for each in (pid, *helpers) if each and send(each, signal.SIGSTOP)]
    try:
        scene.system.supervise(_BACKLOG_S)
        yield
    finally:
        for each in stopped:
            send(each, signal.SIGCONT)
