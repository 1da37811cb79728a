"""Senders: each sends its producer's events; the seed decides the transport of each batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event as Flag

from tests.chaos.load.events import Event
from tests.chaos.load.producer import Producer
from tests.chaos.load.sent_log import Answer, SentLog
from tests.chaos.load.transports import HttpTransport, StreamTransport
from tests.chaos.load.world import ZONES

_TRIES = 4
_PAUSE_S = 1.0


@dataclass(slots=True)
class Sender:
    """Sends one producer's events at about `events_per_s`, until the run is over."""

    producer: Producer
    seed: int
    stream: StreamTransport
    http: Mapping[str, HttpTransport]
    sent_log: SentLog
    events_per_s: float
    is_over: Flag
    _chance: Random = field(init=False)
    _batches: int = 0

    def __post_init__(self) -> None:
        self._chance = Random(f"{self.seed}:sender:{self.producer.number}")

    def step(self) -> None:
        """Send one batch, and wait so that the rate is kept."""
        size = self._chance.choice([1, 1, 5, 20, 40])
        self._send(self._chance.choice(sorted(ZONES)), size)
        self.is_over.wait(size / self.events_per_s)

    def close(self) -> None:
        """Close the connections."""
        self.stream.close()
        for transport in self.http.values():
            transport.close()

    def _send(self, tenant: str, size: int) -> None:
        events, how = self.producer.batch(tenant, size), self._chance.random()
        self._batches += 1
        if how < 0.5:
            self.stream.send(events, self.sent_log)
        elif how < 0.55:
            # POST /events must refuse the whole batch if it has a malformed event.
            self.http[tenant].send(events, self.sent_log, as_lines=False)
        else:
            fit = [event for event in events if not event.is_malformed]
            self.stream.send([event for event in events if event.is_malformed], self.sent_log)
            self._post(tenant, fit, is_keyed=how < 0.8)

    def _post(self, tenant: str, events: Sequence[Event], *, is_keyed: bool) -> None:
        """Send over HTTP; with an Idempotency-Key, send again while the answer is unknown."""
        if not events:
            return
        as_lines = self._chance.random() < 0.3
        key = f"{self.producer.number}-{self._batches}" if is_keyed else None
        for _ in range(_TRIES):
            answer = self.http[tenant].send(events, self.sent_log, as_lines=as_lines, key=key)
            if key is None or answer is not Answer.UNKNOWN or self.is_over.wait(_PAUSE_S):
                return
