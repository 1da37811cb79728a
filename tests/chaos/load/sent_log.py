"""The book of a run: which events were sent, how often, and what was answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock

from tests.chaos.load.events import Event


class Answer(StrEnum):
    """What a send came to. UNKNOWN: nobody can tell whether the event lies on the stream."""

    ACKNOWLEDGED = "acknowledged"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(slots=True)
class Told:
    """One event with how often it was sent and how often each answer came."""

    event: Event
    answers: dict[Answer, int] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        """How often it was sent."""
        return sum(self.answers.values())

    @property
    def is_acknowledged(self) -> bool:
        """Whether it was promised at least once that it takes effect."""
        return Answer.ACKNOWLEDGED in self.answers

    @property
    def is_unknown(self) -> bool:
        """Whether it may lie on the stream, and nothing was promised."""
        return Answer.UNKNOWN in self.answers and not self.is_acknowledged

    @property
    def is_refused(self) -> bool:
        """Whether it must not have had an effect: each time it was sent it was refused."""
        return set(self.answers) == {Answer.REFUSED}

    @property
    def most(self) -> int:
        """How often it can lie on the stream at most."""
        return self.answers.get(Answer.ACKNOWLEDGED, 0) + self.answers.get(Answer.UNKNOWN, 0)


@dataclass(slots=True)
class Book:
    """All that was sent. Tellers write into it side by side."""

    told: dict[str, Told] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def note(self, events: Iterable[Event], answer: Answer) -> None:
        """Note one send of each event and its answer."""
        with self._lock:
            for event in events:
                answers = self.told.setdefault(event.event_id, Told(event)).answers
                answers[answer] = answers.get(answer, 0) + 1

    def counts(self) -> dict[str, int]:
        """Events by what is known of them, and how many sends were repetitions."""
        told = self.told.values()
        return {
            "attempted": len(self.told),
            "acknowledged": sum(each.is_acknowledged for each in told),
            "unknown": sum(each.is_unknown for each in told),
            "refused": sum(each.is_refused for each in told),
            "duplicates_sent": sum(each.attempts - 1 for each in told),
        }
