"""A producer: makes events in the order in which they are sent, from the seed and the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from tests.chaos.load.events import SPOILINGS, Event, Maker, spoil
from tests.chaos.load.world import DAYS_BACK, USERS, ZONES, AccountPlan, World

# A producer makes this many and shuffles them, so that facts of one key come in any order, removals before records.
_CHUNK = 60
_AGAIN = 0.1
_REMEMBERED = 400
_HUGE_FIRST, _HUGE_EVERY = 100, 4_000
_SHARED_NAMES = 40
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Known:
    """A transaction that was sent, and may be changed, replaced or removed later."""

    account: AccountPlan
    name: str
    event_time: datetime
    is_pending: bool


@dataclass(slots=True)
class Producer:
    """One producer. `clock` gives the true time, aware UTC; `clock_off` is the error of the producer's own clock."""

    number: int
    seed: int
    world: World
    clock: Callable[[], datetime]
    clock_off: timedelta = timedelta()
    _chance: Random = field(init=False)
    _count: int = 0
    _huge_at: int = _HUGE_FIRST
    _known: dict[str, list[_Known]] = field(default_factory=lambda: {tenant: [] for tenant in ZONES})
    _sent: dict[str, list[Event]] = field(default_factory=lambda: {tenant: [] for tenant in ZONES})
    _waiting: dict[str, list[Event]] = field(default_factory=lambda: {tenant: [] for tenant in ZONES})

    def __post_init__(self) -> None:
        # "teller" is the producer's old name. It stays, since with another text every seed would give another run.
        self._chance = Random(f"{self.seed}:teller:{self.number}")

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
        maker, account, kind = self._maker(tenant), self._account(), self._chance.random()
        known = self._known[tenant]
        if kind < 0.52 or not known:
            yield self._transaction(maker, account)
        elif kind < 0.60:
            yield self._replacing(maker, self._chance.choice(known))
        elif kind < 0.67:
            yield self._removing(maker, self._chance.choice(known))
        elif kind < 0.78:
            yield self._restating(maker, self._chance.choice(known))
        elif kind < 0.83:
            yield self._shared(maker, account)
        elif kind < 0.94:
            yield self._report(maker, account)
        elif kind < 0.96:
            yield from self._never_there(maker, account)
        elif kind < 0.98:
            yield self._describing(maker, account)
        else:
            yield self._spoilt(maker, account)

    def _transaction(self, maker: Maker, account: AccountPlan) -> Event:
        chance, event_time = self._chance, self._now()
        name = f"{self.number}-{self._count}"
        is_pending = chance.random() < 0.12
        self._remember(maker.tenant, _Known(account, name, event_time, is_pending))
        more = {"user_id": account.user_id} if chance.random() < 0.2 else {}
        if account.currency == "USD" and chance.random() < 0.02:
            more["currency"] = "EUR"  # what was paid abroad: it is kept, and counts nothing
        return maker.transaction(
            self._id(), event_time, account, name, self._minor(), self._posted_at(), pending=is_pending, **more
        )

    def _replacing(self, maker: Maker, known: _Known) -> Event:
        """A posted transaction that replaces another one, most often a pending one."""
        event_time, name = self._now(), f"{self.number}-{self._count}"
        self._remember(maker.tenant, _Known(known.account, name, event_time, False))
        return maker.transaction(
            self._id(), event_time, known.account, name, self._minor(), self._posted_at(), replaces=known.name
        )

    def _removing(self, maker: Maker, known: _Known) -> Event:
        """A removal, dated later than the record, at the same time, or earlier; an earlier one has no effect."""
        event_time = known.event_time + self._chance.choice([_SECOND, _SECOND, timedelta(), -_SECOND])
        return maker.removal(self._id(), event_time, known.account, known.name)

    def _restating(self, maker: Maker, known: _Known) -> Event:
        """The same transaction with another amount, dated later, earlier, or at the same time."""
        event_time = known.event_time + self._chance.choice([2 * _SECOND, _SECOND, timedelta(), -2 * _SECOND])
        return maker.transaction(self._id(), event_time, known.account, known.name, self._minor(), self._posted_at())

    def _shared(self, maker: Maker, account: AccountPlan) -> Event:
        """A transaction that other producers send too, each with a time of its own."""
        name = f"shared-{self._chance.randrange(_SHARED_NAMES)}"
        event_time = self._now() - self._chance.randrange(600) * _SECOND
        return maker.transaction(self._id(), event_time, account, name, self._minor(), self._posted_at())

    def _report(self, maker: Maker, account: AccountPlan) -> Event:
        """A balance as of a full hour, which other producers send too, or as of a day; a few without an amount."""
        chance = self._chance
        hours = chance.choice([0, 0, 1, chance.randrange(24 * DAYS_BACK)])
        as_of = self._now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
        text = as_of.date().isoformat() if chance.random() < 0.2 and hours > 36 else as_of.isoformat()
        minor = None if chance.random() < 0.03 else chance.randrange(-50_000, 900_000)
        more = {"kind": _kind(account)} if chance.random() < 0.3 else {}
        return maker.report(self._id(), self._now(), account, minor, text, **more)

    def _never_there(self, maker: Maker, account: AccountPlan) -> Iterator[Event]:
        """A transaction and its removal, which may be sent first."""
        event = self._transaction(maker, account)
        yield event
        known = self._known[maker.tenant][-1]
        yield maker.removal(self._id(), known.event_time + _SECOND, account, known.name)

    def _describing(self, maker: Maker, account: AccountPlan) -> Event:
        chance, event_time = self._chance, self._now()
        match chance.randrange(6):
            case 0:
                return maker.attributes(self._id(), event_time, account, name=f"Account {chance.randrange(100)}")
            case 1:
                successor = chance.choice([None, f"account-{chance.randrange(90):02}x"])
                return maker.attributes(self._id(), event_time, account, replaced_by=successor)
            case 2:
                return maker.connection(
                    self._id(), event_time, account, chance.choice(["healthy", "broken"]), "said so"
                )
            case 3:
                return maker.attributes(self._id(), event_time, account, kind=chance.choice(["asset", _kind(account)]))
            case 4:
                return maker.attributes(
                    self._id(), event_time, account, user_id=chance.choice([account.user_id, *USERS[:2]])
                )
            case _:
                return maker.attributes(self._id(), event_time, account, kind=_kind(account), user_id=account.user_id)

    def _spoilt(self, maker: Maker, account: AccountPlan) -> Event:
        how = self._chance.choice(SPOILINGS)
        if self._count >= self._huge_at:
            how, self._huge_at = "huge", self._huge_at + _HUGE_EVERY
        now, name = self._now(), f"{self.number}-{self._count}"
        event = maker.transaction(self._id(), now, account, name, self._minor(), now.isoformat())
        return spoil(event, how, now + timedelta(days=500))

    def _posted_at(self) -> str:
        """Mostly in the last hours, else in the last weeks; sometimes only a date, sometimes later than now."""
        chance, now = self._chance, self._now()
        if chance.random() < 0.6:
            return (now + timedelta(minutes=chance.randrange(-300, 30))).isoformat()
        day = now - timedelta(seconds=chance.randrange(DAYS_BACK * 86_400))
        return day.date().isoformat() if chance.random() < 0.4 else day.isoformat()

    def _minor(self) -> int:
        return self._chance.choice([self._chance.randrange(-20_000, 25_000), self._chance.randrange(-300, 500)])

    def _account(self) -> AccountPlan:
        return self._chance.choice(self.world.accounts)

    def _maker(self, tenant: str) -> Maker:
        return Maker(f"chaos/{self.number}", tenant)

    def _id(self) -> str:
        self._count += 1
        return f"{self.number}-{self._count}"

    def _now(self) -> datetime:
        return (self.clock() + self.clock_off).astimezone(UTC)

    def _remember(self, tenant: str, known: _Known) -> None:
        self._known[tenant].append(known)
        del self._known[tenant][:-_REMEMBERED]


def _kind(account: AccountPlan) -> str:
    return "liability" if account.is_liability else "asset"
