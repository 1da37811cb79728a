"""The transport within this process: the loop on which requests are answered, and the threads in which they work."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  # others import it, which is refused once the main thread has ended
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, Protocol, TypeVar

from anyio.to_thread import run_sync

from milepost.client.transport import Answer, Message

Result = TypeVar("Result")

THREADS = 16


class DaemonThreads(Executor):
    """Threads that never keep a process from ending: whoever waits for a result keeps it running by that.

    The executors of the standard library refuse all work as soon as the main thread has ended, also that of other
    threads which go on.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._lock = Lock()
        self._idle = Semaphore(0)
        self._queue = SimpleQueue[tuple[Future[Any], Callable[[], Any]]]()

    def submit(self, function: Callable[..., Result], /, *arguments: Any, **named: Any) -> Future[Result]:
        """Call the function in a thread, as soon as one is free."""
        future: Future[Result] = Future()
        self._queue.put((future, lambda: function(*arguments, **named)))
        with self._lock:
            if not self._idle.acquire(blocking=False) and self._count < self._most:
                self._count += 1
                Thread(target=self._work, name=f"milepost-{self._count}", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            future, call = self._queue.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001  # it is raised where the result is waited for
                    future.set_exception(error)
            del future, call
            self._idle.release()


class Background:
    """A loop in a thread of its own, begun at the first call; any thread may submit calls."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.threads = DaemonThreads(THREADS)

    def submit(self, call: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run the coroutine on the loop."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                Thread(target=self._loop.run_forever, name="milepost", daemon=True).start()
            loop = self._loop
        return asyncio.run_coroutine_threadsafe(call, loop)

    async def in_thread(self, function: Callable[[], Result]) -> Result:
        """Call the function in one of the threads; only for coroutines that run on the loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, function)


BACKGROUND = Background()
"""That of this process."""


def _forget() -> None:
    # A fork has none of the threads, and may have a lock that one of them had taken.
    BACKGROUND.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


async def result_of(future: Future[Result]) -> Result:
    """Wait for a result, on any loop. If the task is cancelled, it still waits, and ends as cancelled afterwards.

    So when the task ends, the call has been carried out or refused, and is never still in progress.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # on trio, where run_sync itself waits in spite of a cancellation
        return await run_sync(future.result)
    work = asyncio.wrap_future(future)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return work.result()
    work.exception()  # retrieved, so that asyncio does not log that it never was
    raise cancelled


class Handle(Protocol):
    """A manager's use of what answers in this process."""

    def answer(self, message: Message) -> Future[Answer]:
        """The answer, as soon as it is there; raises Closed after the manager was closed."""
        ...

    def end(self) -> Callable[[], None]:
        """End the use at once; the function that is returned closes what nobody uses any more, and may take a while."""
        ...


class AsyncLocal:
    """Sends messages to the application of this process, which answers on a loop and in threads of its own."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    async def send(self, message: Message) -> Answer:
        """The answer, whatever its status. A cancelled task still waits for it."""
        return await result_of(self.handle.answer(message))

    async def close(self) -> None:
        """Close the handle."""
        await result_of(BACKGROUND.threads.submit(self.handle.end()))


class SyncLocal:
    """As AsyncLocal, for the generated sync client."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle

    def send(self, message: Message) -> Answer:
        """The answer, whatever its status."""
        return self.handle.answer(message).result()

    def close(self) -> None:
        """Close the handle."""
        self.handle.end()()
