"""A fault, injected and repaired by one context manager, and the scene that it needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from core.errors import MilepostError
from core.store.database import Sessions
from tests.chaos.load.producer import Producer
from tests.chaos.load.sent_log import SentLog
from tests.chaos.load.transports import HttpTransport, StreamTransport
from tests.chaos.system.system import System
from tests.chaos.verdict import Verdict

_TICK_S = 0.05
_DIES_WITHIN_S = 15.0


class Missed(MilepostError):
    """A fault could not be injected: there was nothing that it could break."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The system, and what a fault needs to observe it and to send events of its own, those of `producer`."""

    system: System
    sessions: Sessions
    sent_log: SentLog
    producer: Producer
    stream: StreamTransport
    http: HttpTransport
    verdict: Verdict
    say: Callable[[str], None]

    def await_(self, question: Callable[[], object], within_s: float) -> bool:
        """Supervise the system until the answer is true; returns False if it was not within `within_s`."""
        deadline = time.monotonic() + within_s
        while not question():
            if time.monotonic() > deadline:
                return False
            self.system.supervise(_TICK_S)
        return True

    def await_death(self, crash_point: Path) -> None:
        """Wait until a process has died at a crash point, whose file is there; raises Missed if none does."""
        has_died = self.await_(lambda: not crash_point.exists(), _DIES_WITHIN_S)
        crash_point.unlink(missing_ok=True)
        if not has_died:
            raise Missed("no process reached the crash point")
        self.say("a process died")


Inject = Callable[[Scene, Random], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. It lasts between the two times of `duration_s`; `needs_disk`: it needs a disk of our own.

    `inject` raises Missed if the fault could not be injected.
    """

    name: str
    inject: Inject
    duration_s: tuple[float, float] = (0.5, 2.0)
    needs_disk: bool = False
