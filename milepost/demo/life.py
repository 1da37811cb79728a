"""The lives of the demo's people, day by day, and the events that follow from them: the same for the same first day.

A day depends only on the days before it. So the events through a moment are always the first of those through a later
moment.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from core.events.facts import AccountKind
from milepost.demo import events
from milepost.demo.rules import AccountPlan, How, Morning, Move, Person, ReportCycle

_SEED = "milepost demo"
# Of a hundred: how many events are sent twice, how many card moves are sent late, how many are never posted.
_TWICE, _LATE, _NOTHING = 2, 2, 2
_CLEARS_AFTER_DAYS = (1, 3)
_LATE_BY_DAYS = (2, 9)
_TWICE_WITHIN_MINUTES = (1, 3_000)
_OFFICE_HOURS = (8 * 60, 18 * 60)
_REPORTED_AT_MINUTE = 5 * 60 + 30
_DAY = timedelta(days=1)
_SUNDAY = 6


@dataclass(frozen=True, slots=True, order=True)
class TimedEvent:
    """One event, its account, and when it reaches the stream."""

    at: datetime
    number: int
    account_id: str
    body: bytes


@dataclass(slots=True)
class Life:
    """The people's lives from the day `begin` on, in UTC; `worths` are those at the end of the last simulated day."""

    people: Sequence[Person]
    begin: date
    worths: dict[str, int] = field(default_factory=dict)
    _accounts: dict[str, AccountPlan] = field(default_factory=dict)
    _chances: Random = field(default_factory=lambda: Random(_SEED))
    _next_day: date = field(init=False)
    _clearing: dict[date, list[tuple[Move, str]]] = field(default_factory=dict)
    _queue: list[TimedEvent] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        self._next_day = self.begin
        for person in self.people:
            for account in person.accounts:
                self._open(person, account)

    def through(self, moment: datetime) -> list[TimedEvent]:
        """The events that are sent until `moment` and were not returned before, in the order of sending."""
        while self._next_day <= moment.date():
            self._live(self._next_day)
            self._next_day += _DAY
        due = []
        while self._queue and self._queue[0].at <= moment:
            due.append(heapq.heappop(self._queue))
        return due

    def _open(self, person: Person, account: AccountPlan) -> None:
        at = _at(self.begin, 0)
        self._accounts[account.account_id] = account
        self.worths[account.account_id] = account.worth_minor
        described = events.described(account.account_id, person.user_id, account.kind.value, account.name, at)
        self._send(account.account_id, at, described)
        self._report(account, self.begin - _DAY, at)

    def _live(self, day: date) -> None:
        for move, pending_id in self._clearing.pop(day, []):
            self._clear(move, pending_id, day)
        for person in self.people:
            morning = Morning(day, self._chances, self.worths)
            for number, rule in enumerate(person.rules):
                for move in rule.moves(morning):
                    self._make(move, f"{move.account_id}-{day:%Y%m%d}-{number}", day)
        for account in self._accounts.values():
            if _is_reported(account.reports, day):
                self._report(account, day, _at(day + _DAY, _REPORTED_AT_MINUTE))

    def _make(self, move: Move, transaction_id: str, day: date) -> None:
        at = _at(day, self._chances.randint(*_OFFICE_HOURS))
        if move.how is How.CARD:
            self._send_move(move, transaction_id, at, at, pending=True)
            cleared_on = day + self._days(_CLEARS_AFTER_DAYS)
            self._clearing.setdefault(cleared_on, []).append((move, transaction_id))
            return
        self.worths[move.account_id] += move.amount_minor
        if move.how is How.BOOKED:
            self._send_move(move, transaction_id, at, at)

    def _clear(self, move: Move, pending_id: str, day: date) -> None:
        """Replace a pending move by a posted one, sometimes late; or remove it."""
        at = _at(day, _REPORTED_AT_MINUTE)
        if self._happens(_NOTHING):
            self._send(move.account_id, at, events.removed(move.account_id, pending_id, at))
            return
        self.worths[move.account_id] += move.amount_minor
        if self._happens(_LATE):
            at += self._days(_LATE_BY_DAYS)
        self._send_move(move, f"{pending_id}-posted", day, at, replaces=pending_id)

    def _send_move(
        self,
        move: Move,
        transaction_id: str,
        posted_at: date | datetime,
        at: datetime,
        *,
        pending: bool = False,
        replaces: str | None = None,
    ) -> None:
        currency = self._accounts[move.account_id].currency
        recorded = events.recorded(move, currency, transaction_id, posted_at, at, pending=pending, replaces=replaces)
        self._send(move.account_id, at, recorded)

    def _report(self, account: AccountPlan, day: date, at: datetime) -> None:
        """Send the balance of the account, or what it owed, at the end of the day."""
        worth = self.worths[account.account_id]
        current = -worth if account.kind is AccountKind.LIABILITY else worth
        event_id = f"{account.account_id}-{day:%Y%m%d}.reported"
        self._send(
            account.account_id, at, events.reported(account.account_id, current, account.currency, day, at, event_id)
        )

    def _send(self, account_id: str, at: datetime, body: bytes) -> None:
        moments = [at]
        if self._happens(_TWICE):
            moments.append(at + timedelta(minutes=self._chances.randint(*_TWICE_WITHIN_MINUTES)))
        for moment in moments:
            heapq.heappush(self._queue, TimedEvent(moment, self._number, account_id, body))
            self._number += 1

    def _happens(self, percent: int) -> bool:
        return self._chances.randrange(100) < percent

    def _days(self, least_and_most: tuple[int, int]) -> timedelta:
        return timedelta(days=self._chances.randint(*least_and_most))


def _at(day: date, minute: int) -> datetime:
    return datetime.combine(day, time(tzinfo=UTC)) + timedelta(minutes=minute)


def _is_reported(reports: ReportCycle, day: date) -> bool:
    if reports is ReportCycle.DAILY:
        return True
    return day.weekday() == _SUNDAY if reports is ReportCycle.WEEKLY else (day + _DAY).day == 1
