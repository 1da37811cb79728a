"""A producer: makes events in the order in which they are sent, from the seed and the time. KINDS lists their kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.chaos.load.banks import Banks
from tests.chaos.load.events import SPOILINGS, Event, Maker, spoil
from tests.chaos.load.world import DAYS_BACK, USERS, ZONES, AccountPlan, World

# A producer makes this many and shuffles them, so that facts of one key come in any order, removals before records.
_CHUNK = 60
_AGAIN = 0.1
_REMEMBERED = 400
_HUGE_FIRST, _HUGE_EVERY = 100, 4_000
_SHARED_NAMES = 40
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
# Facts that are dated ahead and fall due during a run do so within this time after they are sent.
DUE_WITHIN_S = 6.0
_REPORTED_AHEAD = 3


@dataclass(frozen=True, slots=True)
class _Known:
    """A transaction that was sent, and may be changed, replaced or removed later.

    `is_dated`: all statements about it have only a date. It counts from the first of them, which no table names any
    more: so each of them has to be accepted, see Event.outlives.
    """

    account: AccountPlan
    name: str
    event_time: datetime
    is_dated: bool


@dataclass(slots=True)
class Producer:
    """One producer. `clock` gives the true time, aware UTC; `clock_off` is the error of the producer's own clock."""

    number: int
    seed: int
    world: World
    banks: Banks
    clock: Callable[[], datetime]
    clock_off: timedelta = timedelta()
    _chance: Random = field(init=False)
    _reported: list[AccountPlan] = field(init=False)
    _count: int = 0
    _huge_at: int = _HUGE_FIRST
    _known: dict[str, list[_Known]] = field(default_factory=lambda: {tenant: [] for tenant in ZONES})
    _sent: dict[str, list[Event]] = field(default_factory=lambda: {tenant: [] for tenant in ZONES})
    _waiting: dict[str, list[Event]] = field(default_factory=lambda: {tenant: [] for tenant in ZONES})

    def __post_init__(self) -> None:
        # "teller" is the producer's old name. It stays, since with another text every seed would give another run.
        self._chance = Random(f"{self.seed}:teller:{self.number}")
        self._reported = [account for account in self.world.accounts if not account.is_pulled]

    def batch(self, tenant: str, size: int) -> list[Event]:
        """The next events for a tenant; a tenth of them were sent before, byte for byte."""
        waiting = self._waiting[tenant]
        while len(waiting) < size:
            chunk = [event for _ in range(_CHUNK) for event in self._next(tenant)]
            self._chance.shuffle(chunk)
            waiting += chunk
        self._waiting[tenant] = waiting[size:]
        return [self._or_again(event) for event in waiting[:size]]

    def single(self, tenant: str) -> Event:
        """One new transaction."""
        return self._transaction(self._maker(tenant), self._account())

    def _or_again(self, event: Event) -> Event:
        sent = self._sent[event.tenant]
        if sent and self._chance.random() < _AGAIN:
            # The event itself is sent next time.
            self._waiting[event.tenant].append(event)
            return self._chance.choice(sent)
        if len(event.body) < 100_000:
            sent.append(event)
            del sent[:-_REMEMBERED]
        return event

    def _next(self, tenant: str) -> Iterator[Event]:
        makers, shares = zip(*KINDS, strict=True)
        (make,) = self._chance.choices(makers, shares)
        yield from make(self, self._maker(tenant))

    def _new(self, maker: Maker) -> Iterator[Event]:
        """A transaction, pending or posted."""
        yield self._transaction(maker, self._account())

    def _transaction(self, maker: Maker, account: AccountPlan) -> Event:
        chance, event_time = self._chance, self._now()
        name = f"{self.number}-{self._count}"
        known = _Known(account, name, event_time, is_dated=chance.random() < 0.16)
        self._known[maker.tenant].append(known)
        del self._known[maker.tenant][:-_REMEMBERED]
        more = {"user_id": account.user_id} if chance.random() < 0.2 else {}
        if account.currency == "USD" and chance.random() < 0.02:
            more["currency"] = "EUR"  # what was paid abroad: it is kept, and counts nothing
        return self._state(maker, known, event_time, pending=chance.random() < 0.12, **more)

    def _replacing(self, maker: Maker) -> Iterator[Event]:
        """A posted transaction that replaces another one."""
        for known in self._some_known(maker):
            other = _Known(known.account, f"{self.number}-{self._count}", self._now(), known.is_dated)
            self._known[maker.tenant].append(other)
            yield self._state(maker, other, other.event_time, replaces=known.name)

    def _removing(self, maker: Maker) -> Iterator[Event]:
        """A removal, dated later than the record, at the same time, or earlier; an earlier one has no effect."""
        for known in self._some_known(maker):
            event_time = known.event_time + self._chance.choice([_SECOND, _SECOND, timedelta(), -_SECOND])
            yield maker.removal(self._id(), event_time, known.account, known.name)

    def _restating(self, maker: Maker) -> Iterator[Event]:
        """The same transaction with another amount, dated later, earlier, or at the same time."""
        for known in self._some_known(maker):
            event_time = known.event_time + self._chance.choice([2 * _SECOND, _SECOND, timedelta(), -2 * _SECOND])
            yield self._state(maker, known, event_time)

    def _shared(self, maker: Maker) -> Iterator[Event]:
        """A transaction that other producers send too, each with a time of its own."""
        number = self._chance.randrange(_SHARED_NAMES)
        event_time = self._now() - self._chance.randrange(600) * _SECOND
        known = _Known(self._account(), f"shared-{number}", event_time, is_dated=number % 4 == 0)
        yield self._state(maker, known, event_time)

    def _report(self, maker: Maker) -> Iterator[Event]:
        """A balance as of a full hour, which other producers send too, or as of a day; a few without an amount."""
        chance, account = self._chance, self._account()
        hours = chance.choice([0, 0, 1, chance.randrange(24 * DAYS_BACK)])
        as_of = self._now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
        text = as_of.date().isoformat() if chance.random() < 0.2 and hours > 36 else as_of.isoformat()
        minor = None if chance.random() < 0.03 else chance.randrange(-50_000, 900_000)
        more = {"kind": _kind(account)} if chance.random() < 0.3 else {}
        yield maker.report(self._id(), self._now(), account, minor, text, **more)

    def _report_ahead(self, maker: Maker) -> Iterator[Event]:
        """A balance that is dated ahead: it falls due soon, or (as other producers say too) days later.

        Of a few accounts only: once it counts, the worth of an account hardly depends on anything else.
        """
        chance = self._chance
        account = chance.choice(self._reported[:_REPORTED_AHEAD])
        hour = self.clock().replace(minute=0, second=0, microsecond=0)
        as_of = chance.choice([self._due_soon(), hour + chance.randrange(2, 5) * _DAY])
        text = (hour + 3 * _DAY).date().isoformat() if chance.random() < 0.2 else as_of.isoformat()
        yield maker.report(self._id(), self._now(), account, chance.randrange(900_000), text)

    def _never_there(self, maker: Maker) -> Iterator[Event]:
        """A transaction and its removal, which may be sent first."""
        account = self._account()
        yield self._transaction(maker, account)
        known = self._known[maker.tenant][-1]
        yield maker.removal(self._id(), known.event_time + _SECOND, account, known.name)

    def _pull(self, maker: Maker) -> Iterator[Event]:
        """Pulls of a bank, each with its balance, its rows with only dates, and the window of both."""
        bank = self._chance.choice(self.banks[maker.tenant])
        for at in bank.some_pulls(self._chance, self._now()):
            yield from bank.pull(at, iter(self._id, None))

    def _describing(self, maker: Maker) -> Iterator[Event]:
        """Attributes of an account: name, successor, day of opening, kind, user, or the state of its connection."""
        chance, event_time, account = self._chance, self._now(), self._chance.choice(self.world.accounts)
        match chance.choice([0, 1, 1, 2, 3, 3, 3, 4, 5, 6]):
            case 0:
                stated: dict[str, object] = {"name": f"Account {chance.randrange(100)}"}
            case 1:
                other = chance.choice([None, f"account-{chance.randrange(90):02}x", *self._alike(account)])
                stated = {"replaced_by": other, **self._some_day("from")}
            case 2:
                state = chance.choice(["healthy", "broken"])
                yield maker.connection(self._id(), event_time, account, state, "said so")
                return
            case 3:
                stated = {"kind": chance.choice(["asset", "liability"])}
            case 6:
                stated = {"opened": None, **self._some_day("opened")}
            case 4:
                stated = {"user_id": chance.choice([account.user_id, *USERS[:2]])}
            case _:
                stated = {"kind": _kind(account), "user_id": account.user_id}
        yield maker.attributes(self._id(), event_time, account, **stated)

    def _spoilt(self, maker: Maker) -> Iterator[Event]:
        """An event that can't be applied."""
        how = self._chance.choice(SPOILINGS)
        if self._count >= self._huge_at:
            how, self._huge_at = "huge", self._huge_at + _HUGE_EVERY
        now, name = self._now(), f"{self.number}-{self._count}"
        event = maker.transaction(self._id(), now, self._account(), name, self._minor(), now.isoformat())
        yield spoil(event, how, now + timedelta(days=500))

    def _state(self, maker: Maker, known: _Known, event_time: datetime, **more: Any) -> Event:
        """A statement about a transaction, with a new amount and a new time or date."""
        posted_at = self._dated() if known.is_dated else self._posted_at()
        return maker.transaction(self._id(), event_time, known.account, known.name, self._minor(), posted_at, **more)

    def _some_known(self, maker: Maker) -> list[_Known]:
        """One of the transactions that were sent, if there is any yet."""
        known = self._known[maker.tenant]
        return [self._chance.choice(known)] if known else []

    def _alike(self, account: AccountPlan) -> list[str]:
        """The other accounts of the same user, currency and kind, with which it may be joined."""
        plan = account.user_id, account.currency, account.is_liability
        others = [each for each in self.world.accounts if each != account]
        return [each.account_id for each in others if (each.user_id, each.currency, each.is_liability) == plan]

    def _some_day(self, field: str) -> dict[str, object]:
        """A day of the last weeks that has begun everywhere, or nothing."""
        if self._chance.random() < 0.5:
            return {}
        return {field: (self._now() - self._chance.randrange(2, DAYS_BACK) * _DAY).date().isoformat()}

    def _dated(self) -> str:
        """A local day of the last weeks, or one after tomorrow, which may begin during the checks."""
        ahead = self._chance.randrange(2, 30) if self._chance.random() < 0.1 else -self._chance.randrange(DAYS_BACK)
        return (self._now() + ahead * _DAY).date().isoformat()

    def _posted_at(self) -> str:
        """Mostly in the last hours, else in the last weeks; sometimes later than now, or so late that it waits."""
        chance, now = self._chance, self._now()
        kind = chance.random()
        if kind < 0.7:
            at = now + timedelta(minutes=chance.randrange(-300, 30))
        elif kind < 0.94:
            at = now - timedelta(seconds=chance.randrange(DAYS_BACK * 86_400))
        elif kind < 0.98:
            at = self._due_soon()
        else:
            at = now + chance.randrange(3, 300) * _DAY
        return at.isoformat()

    def _due_soon(self) -> datetime:
        """An instant that is a day ahead in a few seconds, so that it begins to count then."""
        return (self.clock() + _DAY + self._chance.uniform(1, DUE_WITHIN_S) * _SECOND).replace(microsecond=0)

    def _minor(self) -> int:
        return self._chance.choice([self._chance.randrange(-20_000, 25_000), self._chance.randrange(-300, 500)])

    def _account(self) -> AccountPlan:
        return self._chance.choice(self._reported)

    def _maker(self, tenant: str) -> Maker:
        return Maker(f"chaos/{self.number}", tenant)

    def _id(self) -> str:
        self._count += 1
        return f"{self.number}-{self._count}"

    def _now(self) -> datetime:
        return (self.clock() + self.clock_off).astimezone(UTC)


def _kind(account: AccountPlan) -> str:
    return "liability" if account.is_liability else "asset"


# The kinds of facts, and of a hundred events about how many are of each kind.
KINDS: tuple[tuple[Callable[[Producer, Maker], Iterator[Event]], int], ...] = (
    (Producer._new, 51),
    (Producer._replacing, 8),
    (Producer._removing, 7),
    (Producer._restating, 11),
    (Producer._shared, 5),
    (Producer._report, 10),
    (Producer._report_ahead, 1),
    (Producer._never_there, 2),
    (Producer._pull, 2),
    (Producer._describing, 3),
    (Producer._spoilt, 2),
)
