"""Many messages sent side by side, in a thread of its own, whose answers another thread collects."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import NamedTuple

import structlog

from core.delivery.sender import Outcome, Sender

log = structlog.get_logger(__name__)


class Parcel(NamedTuple):
    """What is sent where. `key` is the caller's own, and comes back with the outcome."""

    key: object
    url: str
    headers: dict[str, str]
    body: bytes


class SideBySide:
    """Sends any number of parcels at once; the caller limits how many. One thread calls its methods.

    The thread that sends is started with the first parcel. What is in progress when the process ends is lost.
    """

    def __init__(self, make_sender: Callable[[], Sender], on_outcome: Callable[[], None]) -> None:
        self._make_sender, self._on_outcome = make_sender, on_outcome
        self._outcomes: deque[tuple[object, Outcome]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._sender: Sender | None = None
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._sent = self._taken = 0

    @property
    def in_progress(self) -> int:
        """How many parcels were sent whose outcomes were not taken yet."""
        return self._sent - self._taken

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Begin to send these."""
        if self._loop is None:
            self._start()
        assert self._loop is not None, "it is started"
        self._sent += len(parcels)
        self._loop.call_soon_threadsafe(self._begin, parcels)

    def take(self) -> list[tuple[object, Outcome]]:
        """The outcomes that have come since the last call, each with its key."""
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._outcomes.popleft())
        self._taken += len(taken)
        return taken

    def close(self) -> None:
        """End the thread, and what is in progress."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        # It must not keep a process that is asked to stop.
        self._thread = Thread(target=self._loop.run_forever, name="deliveries", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    async def _open(self) -> None:
        self._sender = await self._make_sender().__aenter__()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sender is not None:
            await self._sender.__aexit__(None, None, None)

    def _begin(self, parcels: Sequence[Parcel]) -> None:
        assert self._sender is not None, "it is open"
        for parcel in parcels:
            task = asyncio.ensure_future(self._sender.send(parcel.url, parcel.headers, parcel.body))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, parcel.key))

    def _done(self, key: object, task: asyncio.Task[Outcome]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            # The sender answers whatever a receiver does, so this is a fault of ours; the place is free again.
            log.error("a message could not be sent", exc_info=error)
        outcome = task.result() if error is None else Outcome(None, "a fault of Milepost, see its log", 0, b"", None)
        self._outcomes.append((key, outcome))
        # Whoever takes outcomes takes all, so the first one wakes it for those that follow.
        if len(self._outcomes) == 1:
            self._on_outcome()
