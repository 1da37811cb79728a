"""The crowd of a run: the senders and actors that put load on a system, started and ended together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Event as Flag

import httpx2

from core.errors import MilepostError
from core.services.keys import Scope, create_key
from core.services.tenants import create_tenant
from core.store.engine import session_factory
from core.store.tenants import DEFAULT
from tests.chaos.background import Background
from tests.chaos.load.events import Event, Maker
from tests.chaos.load.producer import Teller
from tests.chaos.load.sender import Sender
from tests.chaos.load.sent_log import Book, Told
from tests.chaos.load.transports import HttpDoor, StreamDoor, http_client
from tests.chaos.load.world import ZONES, World
from tests.chaos.operations.actor import Actor
from tests.chaos.operations.requests import NoAnswer, Requests
from tests.chaos.plan import Plan
from tests.chaos.system.system import System
from tests.chaos.verdict import Verdict

# Producers whose clocks are right, and two that are an hour off.
_CLOCKS_OFF = (timedelta(), timedelta(), timedelta(hours=1), timedelta(hours=-1))
_OPENING = timedelta(days=25)
_RESENT = 0.5


class LoadFailed(MilepostError):
    """The load itself broke off: the run says nothing."""


@dataclass(slots=True)
class Crowd:
    """Everybody who sends and asks. `keys` are by tenant."""

    plan: Plan
    system: System
    keys: dict[str, str]
    world: World
    book: Book = field(default_factory=Book)
    is_over: Flag = field(default_factory=Flag)
    senders: list[Sender] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    _threads: list[Background] = field(default_factory=list)

    @classmethod
    def at(cls, plan: Plan, system: System) -> Crowd:
        """Everybody at the doors of a system, with keys of their own; nobody begins yet."""
        crowd = cls(plan, system, _make_tenants(system), World.of(plan.seed))
        for number, clock_off in enumerate(_CLOCKS_OFF):
            crowd.senders.append(crowd._sender(number, clock_off))
        for tenant in ZONES:
            requests = Requests(crowd.client(tenant), f"chaos-{tenant}", crowd.is_over)
            crowd.actors.append(Actor(tenant, plan.seed, crowd.world, requests, crowd.is_over))
        return crowd

    def client(self, tenant: str) -> httpx2.Client:
        """A client of the API with a tenant's key."""
        return http_client(self.system.api_url, self.keys[tenant])

    def stream_door(self) -> StreamDoor:
        """A producer's way to the stream, by way of the link."""
        return StreamDoor(self.system.linked_redis_url, self.system.make.waits_for_disk)

    def teller(self, number: int, clock_off: timedelta = timedelta()) -> Teller:
        """One who tells, with events of its own."""
        return Teller(number, self.plan.seed, self.world, lambda: datetime.now(UTC), clock_off)

    def open(self) -> None:
        """What comes before all faults: every account's first balance, and the goals."""
        self.stream_door().send(self._openings(), self.book)
        if not all(told.is_acknowledged for told in self.book.told.values()):
            raise LoadFailed("the first events were not accepted")
        for actor in self.actors:
            actor.plant()

    def start(self) -> None:
        """Let everybody begin."""
        self._threads += [Background(f"sender {each.teller.number}", each.act, self.is_over) for each in self.senders]
        self._threads += [Background(f"actor {each.tenant}", each.act, self.is_over) for each in self.actors]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Tell everybody that it is over."""
        self.is_over.set()

    def is_done(self) -> bool:
        """Whether everybody has had the last answer; raises LoadFailed for what went wrong with the load itself."""
        for thread in self._threads:
            if thread.error is not None and not isinstance(thread.error, NoAnswer):
                raise LoadFailed(f"{thread.name}: {type(thread.error).__name__}: {thread.error}") from thread.error
        return all(thread.has_ended() for thread in self._threads)

    def note_wrong(self, verdict: Verdict) -> None:
        """Note answers that should have been others, and those that never came."""
        for actor in self.actors:
            verdict.hold("answers", actor.requests.count, actor.wrong)
        verdict.hold("answers", 0, [str(thread.error) for thread in self._threads if thread.error is not None])

    def unknown_again(self) -> list[Event]:
        """Half of the events of which nobody knows what became: a producer sends these again, the others it forgets."""
        unknown = [told for told in self.book.told.values() if told.is_unknown and not told.event.is_malformed]
        chance = Random(f"{self.plan.seed}:again")
        return [told.event for told in sorted(unknown, key=_by_id) if chance.random() < _RESENT]

    def close(self) -> None:
        """Close every connection."""
        for sender in self.senders:
            sender.close()
        for actor in self.actors:
            actor.requests.client.close()

    def _sender(self, number: int, clock_off: timedelta) -> Sender:
        http = {tenant: HttpDoor(self.client(tenant)) for tenant in ZONES}
        rate = self.plan.events_per_s / len(_CLOCKS_OFF)
        teller = self.teller(number, clock_off)
        return Sender(teller, self.plan.seed, self.stream_door(), http, self.book, rate, self.is_over)

    def _openings(self) -> Sequence[Event]:
        """One old report of each account but a few, which settles its currency and, for some, its kind and user."""
        chance, opened_at = Random(f"{self.plan.seed}:openings"), datetime.now(UTC) - _OPENING
        events = []
        for tenant in ZONES:
            maker = Maker("chaos/opening", tenant)
            for account in self.world.accounts:
                kind = "liability" if account.is_liability else "asset"
                said = {"kind": kind, "user_id": account.user_id}
                minor, event_id = chance.randrange(400_000), f"opening-{tenant}-{account.account_id}"
                events.append(maker.report(event_id, opened_at, account, minor, opened_at.isoformat(), **said))
        return events


def _make_tenants(system: System) -> dict[str, str]:
    """The tenants beside the first one, and a key for each."""
    keys, now, engine = {DEFAULT: system.make.key}, datetime.now(UTC), system.engine()
    try:
        with session_factory(engine).begin() as session:
            for tenant, zone in ZONES.items():
                if tenant != DEFAULT:
                    create_tenant(session, tenant, zone, now)
                    keys[tenant] = create_key(session, tenant, [Scope.ADMIN], "chaos", now)[1]
    finally:
        engine.dispose()
    return keys


def _by_id(told: Told) -> str:
    return told.event.event_id
