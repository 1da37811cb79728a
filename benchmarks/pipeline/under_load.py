"""From XADD to REST under load: events come at a steady rate, and probes among them are timed until REST shows them.

The load is open: when an event is due does not depend on the events before it, and its time counts from when it was
due. So a stall delays all that were due in it, and all of these delays are measured.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from benchmarks.pipeline.live import Live
from benchmarks.workers import Work, work_side_by_side
from benchmarks.workload import BenchEvent, account_id
from core.settings import Settings
from core.store.tenants import DEFAULT
from core.stream.stream import EventStream, connect
from milepost.ops.latency import Rest, await_amount, goal_of, nearest_rank, transaction

_TICK_S = 0.01
# Each prober has a goal and a connection of its own and waits for one event at a time.
PROBERS = 10
_PROBES_PER_S = 25.0
# Polling as fast as possible would itself be a load; the results include up to this much.
_POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Load:
    """`events_per_s` events a second, and probes among them for `seconds`.

    Before and after the probes the load runs for the seconds of the warm-up: connections open, and plans are made.
    """

    events_per_s: int
    seconds: float
    warm_up_seconds: float

    @property
    def events(self) -> int:
        """The number of events without the probes."""
        return round(self.events_per_s * (self.seconds + 2 * self.warm_up_seconds))

    @property
    def probes(self) -> int:
        """The number of timed events of each prober."""
        return max(1, round(_PROBES_PER_S * self.seconds / PROBERS))


@dataclass(frozen=True, slots=True)
class LoadedLatency:
    """Milliseconds from when an event was due on the stream until GET /goals/{id} showed its amount."""

    events_per_s: int
    events: int
    probes: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    load_p99_late_ms: float
    """How late the load was sent, a tick included: if it is sent too late, another load is measured."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The results, and what the probes' accounts must be worth now."""

    latency: LoadedLatency
    sums: dict[str, int]


def measure_under_load(load: Load, live: Live, settings: Settings, events: Sequence[BenchEvent]) -> Probed:
    """Send the events at their rate and time the probes; raises LatencyTrouble if one was never visible.

    Load and probes come from two processes, so that neither delays the other.
    """
    mark = secrets.token_hex(6)
    workers = [partial(_prepare_load, settings, load, events), partial(_prepare_probes, settings, load, live, mark)]
    sent, probed = work_side_by_side(workers, lambda: None)
    times_ms = sorted(1000 * seconds for seconds in probed.result)
    late_ms = sorted(1000 * seconds for seconds in sent.result)
    latency = LoadedLatency(
        load.events_per_s,
        len(events),
        len(times_ms),
        nearest_rank(times_ms, 50),
        nearest_rank(times_ms, 99),
        nearest_rank(times_ms, 100),
        nearest_rank(late_ms, 99),
    )
    worths = {_probe_account(mark, number): 100 * load.probes for number in range(PROBERS)}
    return Probed(latency, worths)


def _probe_account(mark: str, number: int) -> str:
    return f"probe-{mark}-{number}"


def _prepare_load(settings: Settings, load: Load, events: Sequence[BenchEvent]) -> Work[list[float]]:
    """The work appends the events in the ticks in which they are due; returns how late the first of each was sent."""
    assert settings.redis_url is not None, "the bench names both servers"
    bodies = [(account_id(event.account), event.to_json()) for event in events]
    stream = EventStream(connect(settings.redis_url.get_secret_value()), settings.shards)
    stream.ping()

    def work() -> list[float]:
        began_s, late_s, sent = time.monotonic(), list[float](), 0
        while sent < len(bodies):
            time.sleep(_TICK_S - (time.monotonic() - began_s) % _TICK_S)
            passed_s = time.monotonic() - began_s
            # All events that are due by now, also those that a slow answer of the stream server has delayed.
            due = min(len(bodies), int(passed_s * load.events_per_s))
            if due > sent:
                late_s.append(passed_s - (sent + 1) / load.events_per_s)
                stream.append(DEFAULT, bodies[sent:due])
                sent = due
        return late_s

    return work


def _prepare_probes(settings: Settings, load: Load, live: Live, mark: str) -> Work[list[float]]:
    """The work sends the probes and waits for each; returns the seconds that each took."""
    assert settings.redis_url is not None, "the bench names both servers"
    stream = EventStream(connect(settings.redis_url.get_secret_value()), settings.shards)
    goals = ExitStack()
    probers = []
    for number in range(PROBERS):
        rest, account = Rest(live.url, live.key), _probe_account(mark, number)
        probers.append(Prober(rest, stream, account, goals.enter_context(goal_of(rest, account))))

    def work() -> list[float]:
        began_s = time.monotonic() + load.warm_up_seconds
        plans = [due_times(load, began_s, number) for number in range(PROBERS)]
        with goals, ThreadPoolExecutor(PROBERS) as threads:
            return [seconds for times_s in threads.map(Prober.run, probers, plans) for seconds in times_s]

    return work


def due_times(load: Load, began_s: float, prober: int) -> list[float]:
    """When one prober's events are due: one in each interval of equal length, at a random point of it."""
    chance, interval_s = random.Random(prober), PROBERS / _PROBES_PER_S
    return [began_s + (number + chance.random()) * interval_s for number in range(load.probes)]


@dataclass(frozen=True, slots=True)
class Prober:
    """One goal that follows one account, and how to read it."""

    rest: Rest
    stream: EventStream
    account: str
    path: str

    def run(self, due_times: Sequence[float]) -> list[float]:
        """Send an event of 1.00 when it is due and the one before is visible; the seconds from due to visible."""
        times_s = []
        for number, due_s in enumerate(due_times, 1):
            time.sleep(max(0.0, due_s - time.monotonic()))
            self.stream.append(DEFAULT, [(self.account, transaction(self.account, number))])
            await_amount(self.rest, self.path, number, poll_s=_POLL_S)
            times_s.append(time.monotonic() - due_s)
        return times_s
