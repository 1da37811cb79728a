"""The doors as the two kinds of face use them: the asynchronous one waits in a thread, the blocking one right here."""

from __future__ import annotations

from anyio.to_thread import run_sync

from milepost.wire import Answer, Call, SyncDoor


class AsyncLocal:
    """A door in this process, for coroutines. A call that is cancelled is waited for, so that its outcome is known."""

    def __init__(self, door: SyncDoor) -> None:
        self.door = door

    async def call(self, call: Call) -> Answer:
        """The answer; raises what the door raises."""
        return await run_sync(self.door.call, call)

    async def close(self) -> None:
        """Give the door back."""
        await run_sync(self.door.close)


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
