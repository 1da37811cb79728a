"""Work that a thread repeats until the run is over; an exception is stored for the code that waits for the thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Thread


@dataclass(slots=True)
class Background:
    """One thread. `step` is one round of its work; it ends with the round in which `is_over` is set."""

    name: str
    step: Callable[[], None]
    is_over: Flag
    error: BaseException | None = None
    _thread: Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def has_ended(self) -> bool:
        """Whether the last round has ended."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self.is_over.is_set():
                self.step()
        except BaseException as error:  # noqa: BLE001  # in a thread: the code that waits for the thread raises it
            self.error = error
