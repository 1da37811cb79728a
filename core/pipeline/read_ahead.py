"""Reading ahead: the next batch is taken from the stream and understood while Postgres works on the one before.

A drain waits for Postgres most of its time. What it takes meanwhile is pending as any entry that was read: if the drain
comes to its end before it applies it, the next one begins with it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import NamedTuple

from core.pipeline.understand import Understood, Zones
from core.store.stream import RawEntry


class Batch(NamedTuple):
    """Entries that were handed out, and what they tell, unless that has not been looked into."""

    raw: list[RawEntry]
    understood: Understood | None = None


class ReadAhead:
    """At most one batch ahead. `read` takes it from the stream, and `understand` says what it tells."""

    def __init__(
        self, read: Callable[[], list[RawEntry]], understand: Callable[[list[RawEntry], Zones], Understood]
    ) -> None:
        self._read = read
        self._understand = understand
        self._zones: Zones = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: Future[Batch] | None = None
        self._is_read = Event()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    @property
    def has_begun(self) -> bool:
        """Whether a batch is ahead that nobody took yet."""
        return self._coming is not None

    def begin(self, zones: Zones) -> None:
        """Begin with the next batch, whose tenants are likely to be among those of the batches so far."""
        self._zones = {**self._zones, **zones}
        self._is_read.clear()
        self._coming = self._thread.submit(self._work, self._zones)

    def await_read(self) -> None:
        """Wait until the stream has handed out what is ahead.

        To be called under the shard's lock, so that whoever takes the lock next finds it among what is pending.
        """
        if self._coming is not None:
            self._is_read.wait()

    def take(self) -> Batch | None:
        """The batch ahead; None if there is none. Raises what went wrong with it."""
        coming, self._coming = self._coming, None
        return None if coming is None else coming.result()

    def _work(self, zones: Zones) -> Batch:
        try:
            raw = self._read()
        finally:
            self._is_read.set()
        return Batch(raw, self._understand(raw, zones))
