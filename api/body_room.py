"""How many bytes of bodies a process holds at once, so that many that are allowed one by one are not too much together.

What is small is not counted: whoever holds all the room with large bodies keeps out large ones, never the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.errors import MilepostError

SMALL_BYTES = 65_536
LARGEST_AT_ONCE = 8


class TooManyBodies(MilepostError):
    """Bodies that others send fill the room; the same body may be taken a moment later."""

    def __init__(self) -> None:
        super().__init__("Too many large bodies at once")


@dataclass(slots=True)
class Held:
    """What one request holds of the room; to be told how long its body has become."""

    room: BodyRoom
    most: int
    counted: int = 0

    def grow(self, body_bytes: int) -> None:
        """Hold as much as the body has now; raises TooManyBodies, and then holds what it held."""
        wanted = max(body_bytes - SMALL_BYTES, 0)
        if self.room.taken - self.counted + wanted > self.most:
            raise TooManyBodies
        self.room.taken += wanted - self.counted
        self.counted = wanted


class BodyRoom:
    """The room of a process. Only its event loop comes here, so there is nothing to lock."""

    def __init__(self) -> None:
        self.taken = 0

    @contextmanager
    def hold(self, longest: int) -> Iterator[Held]:
        """Hold room while the block runs; all together hold some bodies of the longest that is allowed."""
        held = Held(self, LARGEST_AT_ONCE * longest)
        try:
            yield held
        finally:
            self.taken -= held.counted


ROOM = BodyRoom()
"""The process's own, as its memory is."""
