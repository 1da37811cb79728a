"""Recovery: waiting, with deadlines, until a healed system has recovered, drained its stream, closed its days and
delivered its messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core.errors import StreamUnavailable
from core.jobs.due import DUE
from core.jobs.snapshot import SNAPSHOT, due_chunks
from core.settings import load_settings
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.due import find_due
from core.store.outbox import tenants_to_announce
from core.stream.backlog import not_applied, shard_statuses
from core.stream.stream import EventStream, ShardStatus, connect
from milepost.embedded.supervisor import answers
from tests.chaos.load.load import Load
from tests.chaos.load.world import SHARDS
from tests.chaos.plan import HEALED_WITHIN_S, Outcome
from tests.chaos.system.system import System

_TICK_S = 0.1
_ALL_ANSWERED_WITHIN_S = 120.0
_TRIGGER_EVERY_S = 3.0
_CHECKED_WITHIN = timedelta(seconds=30)
# The next attempt comes after five minutes, or half an hour. As the product does, the endpoints are locked first.
_LOCK_ENDPOINTS = Sql("SELECT endpoint_id FROM endpoints ORDER BY tenant, endpoint_id FOR NO KEY UPDATE")
_TRY_AGAIN_NOW = Sql("UPDATE deliveries SET due_at = :now WHERE due_at > :now AND leased_until IS NULL")
_COUNT_PENDING = Sql("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL")


@dataclass(slots=True)
class Recovery:
    """Waits for one system. `load` is needed to finish the run."""

    system: System
    load: Load | None
    outcome: Outcome
    sessions: Sessions
    say: Callable[[str], None]
    delivered_at: datetime | None = None

    def await_recovery(self, fault: str) -> None:
        """Wait until all events accepted so far are applied and the API answers; more than a minute is wrong."""
        ends: dict[int, str] = {}

        def has_recovered() -> bool:
            with connect(self.system.servers.redis_url) as client:
                stream = EventStream(client, SHARDS)
                # Read once: the load goes on, so there are always newer events that are not applied yet.
                ends.update(ends or stream.ends())
                return not not_applied(self.sessions, ends) and answers(self.system.api_url)

        took_s = self._await(has_recovered, HEALED_WITHIN_S)
        self.outcome.verdict.record("recovered within 60 s", 1, [] if took_s is not None else [self._unapplied(fault)])
        if took_s is not None:
            self.outcome.recovered_s[fault] = max(took_s, self.outcome.recovered_s.get(fault, 0.0))
            self.say(f"recovered in {took_s:.1f} s")

    def trigger_jobs(self) -> None:
        """Ask the workers to count what is due and to close days; the schedule does both if these messages are lost."""
        from worker.app import make_worker_app

        urls = {"database_url": self.system.servers.database_url, "redis_url": self.system.servers.redis_url}
        with suppress(OperationalError, RedisError), make_worker_app(load_settings(**urls)) as app:
            for job in (DUE, SNAPSHOT):
                app.send_task(job.task, expires=60.0, retry=False)

    def finish(self) -> None:
        """Heal everything, wait for the last answers, and then until all is applied, closed and delivered."""
        assert self.load is not None, "finish() needs the load"
        self.say("healed: waiting until everything is applied")
        healed_at = time.monotonic()
        self.system.heal()
        for link in self.system.links.values():
            link.end_lost()
        self.load.end()
        if self._await(self.load.is_done, _ALL_ANSWERED_WITHIN_S) is None:
            self.outcome.verdict.record(
                "answers", 1, [f"some had no answer {_ALL_ANSWERED_WITHIN_S:.0f} s after healing"]
            )
        self._send_again()
        left_s = HEALED_WITHIN_S - (time.monotonic() - healed_at)
        took_s = self._await(self._is_drained, max(left_s, _TICK_S))
        self.outcome.drained_s = None if took_s is None else time.monotonic() - healed_at
        late = [] if took_s is not None else [self._unapplied("the end")]
        self.outcome.verdict.record("drained within 60 s", 1, late)
        if late:
            # Events that are applied later still are checked, too: late is not lost.
            self._await(self._is_drained, HEALED_WITHIN_S)
        self._await_jobs()
        self._await_deliveries()

    def _send_again(self) -> None:
        """Send events with unknown answers again until they are accepted, as a producer should."""
        assert self.load is not None, "finish() needs the load"
        events, transport = self.load.unknown_to_resend(), self.load.stream_transport()
        deadline = time.monotonic() + HEALED_WITHIN_S
        while events and time.monotonic() < deadline:
            transport.send(events[:500], self.load.sent_log)
            events = [event for event in events if not self.load.sent_log.events[event.event_id].is_acknowledged]
            self.system.supervise(_TICK_S)
        transport.close()

    def _await_jobs(self) -> None:
        self.say("counting what is due, and closing days")
        next_at = 0.0

        def is_done() -> bool:
            nonlocal next_at
            if time.monotonic() >= next_at:
                self.trigger_jobs()
                next_at = time.monotonic() + _TRIGGER_EVERY_S
            now = datetime.now(UTC)
            # What is due during the checks would be right before and wrong after.
            with self.sessions() as session:
                is_counted = not find_due(session, now + _CHECKED_WITHIN, 1)
            return is_counted and not due_chunks(self.sessions, now)

        is_late = self._await(is_done, HEALED_WITHIN_S) is None
        trouble = ["some facts that are due do not count, or some days are not closed"] if is_late else []
        self.outcome.verdict.record("jobs done within 60 s", 1, trouble)

    def _await_deliveries(self) -> None:
        """Wait until nothing is due to be announced or delivered, without the pauses after failed attempts."""
        self.say("delivering messages")

        def is_done() -> bool:
            now = datetime.now(UTC)
            with self.sessions.begin() as session:
                _LOCK_ENDPOINTS.rows(session, {})
                _TRY_AGAIN_NOW.run(session, {"now": now})
                is_delivered = not tenants_to_announce(session, now) and not _COUNT_PENDING.value(session, {})
            self.delivered_at = now
            return is_delivered

        took_s = self._await(is_done, HEALED_WITHIN_S)
        self.outcome.verdict.record("delivered within 60 s", 1, [] if took_s is not None else ["some messages are not"])
        if took_s is not None:
            self.say(f"delivered in {took_s:.1f} s")

    def _await(self, question: Callable[[], bool], within_s: float) -> float | None:
        """The seconds that it took until the answer was true; None if it never was."""
        began = time.monotonic()
        while True:
            with suppress(StreamUnavailable, RedisError, psycopg.Error):
                if question():
                    return time.monotonic() - began
            if time.monotonic() - began > within_s:
                return None
            self.system.supervise(_TICK_S)

    def _status(self) -> list[ShardStatus]:
        with connect(self.system.servers.redis_url) as client:
            return shard_statuses(self.sessions, EventStream(client, SHARDS))

    def _is_drained(self) -> bool:
        return all(shard.pending == 0 and shard.oldest_at is None for shard in self._status())

    def _unapplied(self, what: str) -> str:
        with suppress(StreamUnavailable, RedisError, psycopg.Error):
            return f"{HEALED_WITHIN_S:.0f} s after {what}: {self._status()}"
        return f"{HEALED_WITHIN_S:.0f} s after {what}: a server does not answer"
