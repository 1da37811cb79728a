"""Signals that ask the supervisor to stop, turned into one exception and a flag."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_ASKS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopAsked(BaseException):
    """Raised in the main thread, once, at the first request to stop; like KeyboardInterrupt, no error."""


@dataclass(slots=True)
class StopRequests:
    """How often a stop was asked for; `is_stopping`: what is asked from now on must not break into the stop."""

    count: int = 0
    is_stopping: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether somebody asked again."""
        return self.count > 1

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1 and not self.is_stopping:
            raise StopAsked


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Listen for INT, TERM and HUP; the first raises StopAsked in the main thread, later ones count."""
    requests = StopRequests()
    # Under nohup a hang-up is ignored, and stays so; INT and TERM are listened for even where a shell ignores them.
    asks = [number for number in _ASKS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, requests._note) for number in asks}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
