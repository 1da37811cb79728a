"""The sent log of a run: which events were sent, how often, and with which answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock

from tests.chaos.load.events import Event


class Answer(StrEnum):
    """The result of a send. UNKNOWN: it is not known whether the event is on the stream."""

    ACKNOWLEDGED = "acknowledged"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(slots=True)
class SentEvent:
    """One event with how often it was sent and how often each answer came."""

    event: Event
    answers: dict[Answer, int] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        """The number of times that it was sent."""
        return sum(self.answers.values())

    @property
    def is_acknowledged(self) -> bool:
        """Whether at least one send was acknowledged, so that it must be applied."""
        return Answer.ACKNOWLEDGED in self.answers

    @property
    def is_unknown(self) -> bool:
        """Whether it may be on the stream although no send was acknowledged."""
        return Answer.UNKNOWN in self.answers and not self.is_acknowledged

    @property
    def is_refused(self) -> bool:
        """Whether every send was refused, so that it must not be applied."""
        return set(self.answers) == {Answer.REFUSED}

    @property
    def most(self) -> int:
        """The greatest number of times that it can be on the stream."""
        return self.answers.get(Answer.ACKNOWLEDGED, 0) + self.answers.get(Answer.UNKNOWN, 0)


@dataclass(slots=True)
class SentLog:
    """All events that were sent. Senders write to it from several threads."""

    events: dict[str, SentEvent] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def note(self, events: Iterable[Event], answer: Answer) -> None:
        """Record one send of each event and its answer."""
        with self._lock:
            for event in events:
                answers = self.events.setdefault(event.event_id, SentEvent(event)).answers
                answers[answer] = answers.get(answer, 0) + 1

    def counts(self) -> dict[str, int]:
        """The number of events by their answers, and of repeated sends."""
        sent = self.events.values()
        return {
            "attempted": len(self.events),
            "acknowledged": sum(each.is_acknowledged for each in sent),
            "unknown": sum(each.is_unknown for each in sent),
            "refused": sum(each.is_refused for each in sent),
            "duplicates_sent": sum(each.attempts - 1 for each in sent),
        }
