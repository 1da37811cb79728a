"""The mixes of banks: what is odd about their bookings and their interfaces, and the figures that were expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple


class Oddity(Enum):
    """How a bank shows one booking. Without any it lists a booking when it books it, with the date of that moment."""

    LATE = auto()  # listed up to four hours after it was booked
    NEXT_MORNING = auto()  # listed on the next morning
    EARLIER_DATE = auto()  # shown with a purchase or value date, one to three days before
    NEXT_DAY = auto()  # booked and dated on the next day, listed before
    DATED_AHEAD = auto()  # dated on the next day, booked and listed before
    INSTANT = auto()  # shown with its instant


class Figures(NamedTuple):
    """Percent of goals whose amount stays wrong, by where their links begin, and of closes; None: not known."""

    linked_today: float
    linked_back: float
    closes: float | None


@dataclass(frozen=True, slots=True)
class Mix:
    """One mix of banks. All shares are percent.

    `oddities`: of bookings; of accounts are all others. `cached_rows` and `cached`: the provider shows rows, or rows
    and balances, from a store that it refreshes every six hours. `off_zone`: dates are of a time zone up to three hours
    off. `own_times`: each body of a pull has a time of its own. `first_rows_later`: by minutes, by hours, with the next
    pull. `gives_new_ids`: one day, all rows of the last month get new ids. `expected` and `expected_first_instant` were
    measured when the rule was chosen, in another simulation.
    """

    name: str
    oddities: Mapping[Oddity, float]
    expected: Figures
    expected_first_instant: Figures
    cached_rows: int = 0
    cached: int = 0
    off_zone: int = 0
    own_times: int = 40
    first_rows_later: tuple[int, int, int] = (15, 10, 10)
    gives_new_ids: bool = False


MIXES = (
    Mix(
        "typical",
        {
            Oddity.LATE: 8,
            Oddity.NEXT_MORNING: 4,
            Oddity.EARLIER_DATE: 8,
            Oddity.NEXT_DAY: 1.5,
            Oddity.DATED_AHEAD: 1.5,
            Oddity.INSTANT: 5,
        },
        Figures(5, 6, 4),
        Figures(35, 43, 22),
        cached_rows=25,
        cached=25,
        off_zone=20,
    ),
    Mix("clean", {Oddity.INSTANT: 5}, Figures(0, 0, 0), Figures(28, 31, 20), own_times=0, first_rows_later=(0, 0, 0)),
    Mix("late lister", {Oddity.LATE: 30, Oddity.NEXT_MORNING: 20}, Figures(11, 9, 5), Figures(31, 33, 22)),
    Mix("value dater", {Oddity.EARLIER_DATE: 40}, Figures(13, 4, 6), Figures(45, 62, 22)),
    Mix("ids given anew", {}, Figures(1, 1, None), Figures(31, 28, None), gives_new_ids=True),
)
