"""The doors as the two kinds of face use them: the asynchronous one waits in a thread, the blocking one right here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from anyio.to_thread import run_sync

from milepost.wire import Answer, Call, SyncDoor

Result = TypeVar("Result")


class AsyncLocal:
    """A door in this process, for coroutines.

    A call that is cancelled goes on to its end, since its thread cannot be stopped in the middle, and is waited for:
    after the cancellation it is either done or refused, and never still in work.
    """

    def __init__(self, door: SyncDoor) -> None:
        self.door = door

    async def call(self, call: Call) -> Answer:
        """The answer; raises what the door raises."""
        return await _in_thread(self.door.call, call)

    async def close(self) -> None:
        """Give the door back."""
        await _in_thread(self.door.close)


class SyncLocal:
    """A door in this process, for callers that block."""

    def __init__(self, door: SyncDoor) -> None:
        self.door = door

    def call(self, call: Call) -> Answer:
        """The answer; raises what the door raises."""
        return self.door.call(call)

    def close(self) -> None:
        """Give the door back."""
        self.door.close()


class _Threads:
    """The threads of this process that calls work in; the process does not end before their calls do."""

    MOST = 16

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    def start(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Begin a call in a thread."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.MOST, thread_name_prefix="milepost")
        return self._executor.submit(function, *arguments)

    def forget(self) -> None:
        """For a fork, which has none of them."""
        self._executor = None


_threads = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.forget)


async def _in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """What a function gives in a thread, waited for even if the task is cancelled meanwhile."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # on trio, where waiting in spite of a cancellation is run_sync's own way
        return await run_sync(function, *arguments)
    work = asyncio.wrap_future(_threads.start(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return work.result()
    work.exception()  # looked at, so that nobody complains that it was not
    raise cancelled
