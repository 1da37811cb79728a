"""What a fault acts upon, and what it is: begun and healed by one context manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random

from sqlalchemy import Engine

from core.errors import MilepostError
from tests.chaos.load.producer import Teller
from tests.chaos.load.sent_log import Book
from tests.chaos.load.transports import HttpDoor, StreamDoor
from tests.chaos.system.system import System
from tests.chaos.verdict import Verdict

_TICK_S = 0.05


class Missed(MilepostError):
    """A fault did not come about: there was nothing that it could break."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The system, and what a fault needs to look at it and to send events of its own: those of `teller`."""

    system: System
    engine: Engine
    book: Book
    teller: Teller
    stream: StreamDoor
    http: HttpDoor
    verdict: Verdict
    say: Callable[[str], None]

    def await_(self, question: Callable[[], object], within_s: float) -> bool:
        """Watch the system until the answer is true; False if it never was."""
        deadline = time.monotonic() + within_s
        while not question():
            if time.monotonic() > deadline:
                return False
            self.system.watch(_TICK_S)
        return True


Inject = Callable[[Scene, Random], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind. It is held for a time between the two of `hold_s`; `needs_disk`: it acts on a disk of our own.

    `inject` raises Missed if it did not come about.
    """

    name: str
    inject: Inject
    hold_s: tuple[float, float] = (0.5, 2.0)
    needs_disk: bool = False
