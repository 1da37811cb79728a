"""Reading ahead: the next batch is read from the stream and understood while Postgres works on the one before.

A drain waits for Postgres most of its time. Nothing is taken from the stream by that: what a drain that comes to its
end had read ahead lies there as if it had never looked.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import NamedTuple

from core.pipeline.understand import Understood, Zones
from core.store.stream_entries import RawEntry


class Batch(NamedTuple):
    """Entries, and what they tell, unless that has not been looked into.

    `behind` is the position that they follow; None for entries that were handed out, and are pending.
    """

    raw: list[RawEntry]
    behind: bytes | None
    understood: Understood | None = None

    @property
    def entry_ids(self) -> list[bytes]:
        """The entries' ids, in order."""
        return [entry[0] for entry in self.raw]


class ReadAhead:
    """At most one batch ahead. `read` gives what follows an entry, and `understand` says what it tells."""

    def __init__(
        self, read: Callable[[bytes], list[RawEntry]], understand: Callable[[list[RawEntry], Zones], Understood]
    ) -> None:
        self._read = read
        self._understand = understand
        self._zones: Zones = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: Future[Batch] | None = None
        self._is_read = Event()
        self._last: bytes | None = None

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

    def begin(self, behind: bytes, zones: Zones) -> None:
        """Begin with the batch behind an entry; its tenants are likely to be among those of the batches so far."""
        self._zones = {**self._zones, **zones}
        self._is_read.clear()
        self._last = None
        self._coming = self._thread.submit(self._work, behind, self._zones)

    def last(self) -> bytes | None:
        """The last entry of the batch ahead; None if there is none. Waits until it is read."""
        if self._coming is None:
            return None
        self._is_read.wait()
        return self._last

    def take(self) -> Batch | None:
        """The batch ahead; None if there is none. Raises what went wrong with it."""
        coming, self._coming = self._coming, None
        return None if coming is None else coming.result()

    def drop(self) -> None:
        """Forget the batch ahead: it does not follow what is applied."""
        self._coming = None

    def _work(self, behind: bytes, zones: Zones) -> Batch:
        try:
            raw = self._read(behind)
            self._last = raw[-1][0] if raw else None
        finally:
            self._is_read.set()
        return Batch(raw, behind, self._understand(raw, zones))
