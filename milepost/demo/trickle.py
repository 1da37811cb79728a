"""The demo after its filling: an event or two every couple of seconds, so that a goal of each type moves.

Transfers into savings and purchases are undone once their sum is large enough. So a demo that runs for a week still
looks like these people's lives; and the next day's reports show their true balances anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Protocol

from milepost.demo import events
from milepost.demo.life import TimedEvent
from milepost.demo.rules import Move

_MILLION = 1_000_000
_TWO_AT_ONCE_PERCENT = 40


@dataclass(frozen=True, slots=True)
class Report:
    """A balance that a market moved."""

    account_id: str
    current_minor: int


class Ripple(Protocol):
    """A source of small events that repeat."""

    @property
    def currency(self) -> str:
        """The currency of all that it moves."""
        ...

    def next(self, chances: Random) -> Iterator[Move | Report]:
        """Yield the next moves or reports."""
        ...


@dataclass(slots=True)
class Wave:
    """Small moves of one account, from `other` if it is set, and one move back once their sum exceeds `most_minor`.

    Without `back` there is no move back.
    """

    currency: str
    account_id: str
    amounts_minor: tuple[int, int]
    category: str
    descriptions: tuple[str, ...]
    other: str | None = None
    back: str | None = None
    most_minor: int = 0
    _sum_minor: int = 0

    def next(self, chances: Random) -> Iterator[Move | Report]:
        if self.back is not None and abs(self._sum_minor) > self.most_minor:
            amount, description = -self._sum_minor, self.back
        else:
            amount, description = chances.randint(*self.amounts_minor), chances.choice(self.descriptions)
        self._sum_minor += amount
        yield Move(self.account_id, amount, self.category, description)
        if self.other is not None:
            yield Move(self.other, -amount, self.category, description)


@dataclass(slots=True)
class Swing:
    """Reports of a market value that drift from the life's value by some parts per million, and return to it."""

    currency: str
    account_id: str
    worths: dict[str, int]
    step_ppm: int = 3_000
    _off_ppm: int = 0

    def next(self, chances: Random) -> Iterator[Move | Report]:
        self._off_ppm = self._off_ppm * 9 // 10 + chances.randint(-self.step_ppm, self.step_ppm)
        worth = self.worths[self.account_id]
        yield Report(self.account_id, worth + worth * self._off_ppm // _MILLION)


def ripples_of(worths: dict[str, int]) -> tuple[Ripple, ...]:
    """The sources that move the people's goals; six in a row move all types and trackings. `worths` are a life's."""
    return (
        Wave(
            "USD", "demo-ana-savings", (4_00, 24_00), "TRANSFER_IN", ("Transfer to savings",),
            other="demo-ana-checking", back="Back to checking", most_minor=180_00,
        ),
        Wave(
            "USD", "demo-ana-card", (-29_00, -3_00), "FOOD_AND_DRINK", ("Coffee House", "Noodle Bar", "Bookshop"),
            back="Refund", most_minor=140_00,
        ),
        Swing("EUR", "demo-clara-depot", worths),
        Wave("USD", "demo-eli-business", (5, 30), "INCOME", ("Stock photo royalties",)),
        Wave(
            "EUR", "demo-clara-tagesgeld", (1_00, 9_00), "TRANSFER_IN", ("Aufrunden",),
            other="demo-clara-giro", back="Zurück aufs Girokonto", most_minor=90_00,
        ),
        Wave(
            "JPY", "demo-kenji-futsu", (-1_400, -160), "FOOD_AND_DRINK", ("コンビニ", "自動販売機", "食堂"),
            back="立替精算", most_minor=9_000,
        ),
    )  # fmt: skip


@dataclass(slots=True)
class Trickle:
    """Sends the events of one ripple after the other."""

    ripples: Sequence[Ripple]
    chances: Random = field(default_factory=Random)
    _turn: int = 0
    _number: int = 0

    def tick(self, now: datetime) -> list[TimedEvent]:
        """The next events, of one or two ripples, at `now`."""
        timed_events: list[TimedEvent] = []
        for _ in range(2 if self.chances.randrange(100) < _TWO_AT_ONCE_PERCENT else 1):
            ripple = self.ripples[self._turn % len(self.ripples)]
            self._turn += 1
            timed_events += [self._timed_event(ripple.currency, each, now) for each in ripple.next(self.chances)]
        return timed_events

    def _timed_event(self, currency: str, what: Move | Report, now: datetime) -> TimedEvent:
        self._number += 1
        name = f"{what.account_id}-{now:%Y%m%dT%H%M%S%f}-{self._number}"
        if isinstance(what, Move):
            body = events.recorded(what, currency, name, now, now)
        else:
            body = events.reported(what.account_id, what.current_minor, currency, now, now, f"{name}.reported")
        return TimedEvent(now, self._number, what.account_id, body)
