"""The load of a run: senders of events, actors that send requests, and readers of the feed."""

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
from core.store.tenants import DEFAULT
from tests.chaos.background import Background
from tests.chaos.load.banks import Banks, make_banks
from tests.chaos.load.events import Event, Maker
from tests.chaos.load.producer import Producer
from tests.chaos.load.sender import Sender
from tests.chaos.load.sent_log import SentEvent, SentLog
from tests.chaos.load.transports import HttpTransport, StreamTransport, http_client
from tests.chaos.load.world import ZONES, World
from tests.chaos.messages.endpoints import Endpoint, make_endpoints
from tests.chaos.messages.feed import FeedReader
from tests.chaos.operations.actor import Actor
from tests.chaos.operations.requests import NoAnswer, Requests
from tests.chaos.plan import Plan
from tests.chaos.system.system import System
from tests.chaos.verdict import Verdict

# Two producers with right clocks, one whose clock is a little ahead, which is still taken, and one an hour behind.
_CLOCKS_OFF = (timedelta(), timedelta(), timedelta(minutes=3), timedelta(hours=-1))
_OPENING = timedelta(days=25)
_RESENT = 0.5


class LoadFailed(MilepostError):
    """The load itself failed, so the run proves nothing."""


@dataclass(slots=True)
class Load:
    """All senders, actors and readers, each in a thread of its own. `keys` are by tenant."""

    plan: Plan
    system: System
    keys: dict[str, str]
    world: World
    banks: Banks
    sent_log: SentLog = field(default_factory=SentLog)
    is_over: Flag = field(default_factory=Flag)
    senders: list[Sender] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    readers: list[FeedReader] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)
    _threads: list[Background] = field(default_factory=list)

    @classmethod
    def at(cls, plan: Plan, system: System) -> Load:
        """The load of a system, with keys for its tenants; nothing is started yet."""
        world = World.of(plan.seed)
        load = cls(plan, system, _make_tenants(system), world, make_banks(plan.seed, world, datetime.now(UTC)))
        for number, clock_off in enumerate(_CLOCKS_OFF):
            load.senders.append(load._sender(number, clock_off))
        for tenant in ZONES:
            requests = Requests(load.client(tenant), f"chaos-{tenant}", load.is_over)
            load.actors.append(Actor(tenant, plan.seed, load.world, requests, load.is_over))
            load.readers.append(FeedReader(tenant, plan.seed, load.client(tenant), load.is_over))
        return load

    def client(self, tenant: str) -> httpx2.Client:
        """A client of the API with a tenant's key."""
        return http_client(self.system.api_url, self.keys[tenant])

    def stream_transport(self) -> StreamTransport:
        """A transport to the stream, through the link."""
        return StreamTransport(self.system.linked_redis_url, self.system.make.waits_for_disk)

    def producer(self, number: int, clock_off: timedelta = timedelta()) -> Producer:
        """A producer with events of its own."""
        return Producer(number, self.plan.seed, self.world, self.banks, lambda: datetime.now(UTC), clock_off)

    def open(self) -> None:
        """Send the first fact of every account, make the endpoints and create the goals, before any fault."""
        self.stream_transport().send(self._openings(), self.sent_log)
        if not all(sent.is_acknowledged for sent in self.sent_log.events.values()):
            raise LoadFailed("the first events were not accepted")
        for actor in self.actors:
            self.endpoints += make_endpoints(actor.tenant, actor.requests, self.system.receiver)
            actor.create_goals()

    def start(self) -> None:
        """Start all threads."""
        self._threads += [
            Background(f"sender {each.producer.number}", each.step, self.is_over) for each in self.senders
        ]
        self._threads += [Background(f"actor {each.tenant}", each.step, self.is_over) for each in self.actors]
        self._threads += [Background(f"reader {each.tenant}", each.step, self.is_over) for each in self.readers]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Ask all threads to end."""
        self.is_over.set()

    def is_done(self) -> bool:
        """Whether all threads have ended, after their last answers; raises LoadFailed if the load itself failed."""
        for thread in self._threads:
            if thread.error is not None and not isinstance(thread.error, NoAnswer):
                raise LoadFailed(f"{thread.name}: {type(thread.error).__name__}: {thread.error}") from thread.error
        return all(thread.has_ended() for thread in self._threads)

    def note_wrong(self, verdict: Verdict) -> None:
        """Record wrong answers, and requests that were never answered."""
        for actor in self.actors:
            verdict.record("answers", actor.requests.count, actor.wrong)
        for reader in self.readers:
            verdict.record("answers", reader.count, reader.wrong)
        verdict.record("answers", 0, [str(thread.error) for thread in self._threads if thread.error is not None])

    def unknown_to_resend(self) -> list[Event]:
        """Half of the events with an unknown answer: producers send these again, and never the others.

        Those that have an effect although others win are all sent again, or nobody could say what is right.
        """
        unknown = [sent for sent in self.sent_log.events.values() if sent.is_unknown and not sent.event.is_malformed]
        chance = Random(f"{self.plan.seed}:again")
        return [sent.event for sent in sorted(unknown, key=_by_id) if chance.random() < _RESENT or sent.event.outlives]

    def close(self) -> None:
        """Close every connection."""
        for sender in self.senders:
            sender.close()
        for actor in self.actors:
            actor.requests.client.close()
        for reader in self.readers:
            reader.client.close()

    def _sender(self, number: int, clock_off: timedelta) -> Sender:
        http = {tenant: HttpTransport(self.client(tenant)) for tenant in ZONES}
        rate = self.plan.events_per_s / len(_CLOCKS_OFF)
        producer = self.producer(number, clock_off)
        return Sender(producer, self.plan.seed, self.stream_transport(), http, self.sent_log, rate, self.is_over)

    def _openings(self) -> Sequence[Event]:
        """An old report of each account, which sets its currency, kind and user; a bank sends the first one itself."""
        chance, opened_at = Random(f"{self.plan.seed}:openings"), datetime.now(UTC) - _OPENING
        events = []
        for tenant in ZONES:
            maker = Maker("chaos/opening", tenant)
            for account in self.world.accounts:
                kind = "liability" if account.is_liability else "asset"
                stated = {"kind": kind, "user_id": account.user_id}
                minor, event_id = chance.randrange(400_000), f"opening-{tenant}-{account.account_id}"
                if account.is_pulled:
                    events.append(maker.attributes(event_id, opened_at, account, **stated))
                else:
                    events.append(maker.report(event_id, opened_at, account, minor, opened_at.isoformat(), **stated))
        return events


def _make_tenants(system: System) -> dict[str, str]:
    """Create the tenants other than the default one; returns a key for each tenant."""
    keys, now = {DEFAULT: system.make.key}, datetime.now(UTC)
    with system.sessions() as sessions, sessions.begin() as session:
        for tenant, zone in ZONES.items():
            if tenant != DEFAULT:
                create_tenant(session, tenant, zone, now)
                keys[tenant] = create_key(session, tenant, [Scope.ADMIN], "chaos", now)[1]
    return keys


def _by_id(sent: SentEvent) -> str:
    return sent.event.event_id
