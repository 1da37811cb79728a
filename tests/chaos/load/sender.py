"""Senders: they send their teller's events by every door, each batch by one that the seed chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event as Flag

from tests.chaos.load.events import Event
from tests.chaos.load.producer import Teller
from tests.chaos.load.sent_log import Answer, Book
from tests.chaos.load.transports import HttpDoor, StreamDoor
from tests.chaos.load.world import ZONES

_TRIES = 4
_PAUSE_S = 1.0


@dataclass(slots=True)
class Sender:
    """Sends one teller's events at about `events_per_s`, until it is told to stop."""

    teller: Teller
    seed: int
    stream: StreamDoor
    http: Mapping[str, HttpDoor]
    book: Book
    events_per_s: float
    is_over: Flag
    _chance: Random = field(init=False)
    _batches: int = 0

    def __post_init__(self) -> None:
        self._chance = Random(f"{self.seed}:sender:{self.teller.number}")

    def act(self) -> None:
        """Send one batch and keep the pace."""
        size = self._chance.choice([1, 1, 5, 20, 40])
        self._send(self._chance.choice(sorted(ZONES)), size)
        self.is_over.wait(size / self.events_per_s)

    def close(self) -> None:
        """Close the connections."""
        self.stream.close()
        for door in self.http.values():
            door.close()

    def _send(self, tenant: str, size: int) -> None:
        events, how = self.teller.batch(tenant, size), self._chance.random()
        self._batches += 1
        if how < 0.5:
            self.stream.send(events, self.book)
        elif how < 0.55:
            # One that the door must refuse takes the others of its batch with it.
            self.http[tenant].send(events, self.book, as_lines=False)
        else:
            fit = [event for event in events if not event.is_malformed]
            self.stream.send([event for event in events if event.is_malformed], self.book)
            self._post(tenant, fit, is_keyed=how < 0.8)

    def _post(self, tenant: str, events: Sequence[Event], *, is_keyed: bool) -> None:
        """Over HTTP; with an Idempotency-Key again and again, as long as nobody can tell what became of it."""
        if not events:
            return
        as_lines = self._chance.random() < 0.3
        key = f"{self.teller.number}-{self._batches}" if is_keyed else None
        for _ in range(_TRIES):
            answer = self.http[tenant].send(events, self.book, as_lines=as_lines, key=key)
            if key is None or answer is not Answer.UNKNOWN or self.is_over.wait(_PAUSE_S):
                return
