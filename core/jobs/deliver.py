"""The job deliver: announces messages at once, and sends what endpoints take of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from core.jobs.job import DELIVERY_QUEUE, Job, Servers, WholeRun
from core.jobs.relay import relay
from core.providers.sealing import Sealer
from core.settings import Settings
from core.store.database import Sessions
from core.stream.stats import add_delivery_stats
from core.stream.stream import EventStream

if TYPE_CHECKING:
    from core.delivery.deliverer import Delivered, Deliverer

SLICE_S = 10.0
"""How long a task delivers before the next one does."""


def make_deliverer(sessions: Sessions, settings: Settings) -> Deliverer:
    """What delivers messages, by these settings. It connects when it is first used."""
    # Not with the module: the API reads the record of the job, and would load an HTTP client that it never uses.
    from core.delivery.deliverer import Deliverer

    def announce(now: datetime) -> bool:
        return relay(sessions, now).is_more

    sealer = Sealer(settings.secrets_keys) if settings.secrets_keys else None
    return Deliverer(sessions, settings, sealer, announce, lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Attempted:
    """How many attempts have delivered their message, got another answer, or got none."""

    delivered: int
    refused: int
    unanswered: int


def _run(whole: WholeRun) -> Attempted:
    deliverer = make_deliverer(whole.sessions, whole.settings)
    try:
        done = deliverer.work_through()
    finally:
        deliverer.close()
    _add_to_stats(whole.stream, done)
    return Attempted(done.delivered, done.refused, done.unanswered)


def _run_scheduled(servers: Servers) -> int:
    done = servers.deliverer.work(SLICE_S)
    _add_to_stats(servers.stream, done)
    return done.attempts


def _add_to_stats(stream: EventStream, done: Delivered) -> None:
    if done.attempts:
        outcomes = {"delivered": done.delivered, "refused": done.refused, "unanswered": done.unanswered}
        add_delivery_stats(stream.client, outcomes, done.latencies_ms)


# In a queue and a worker of its own, since a receiver may be slow.
DELIVER = Job(
    "deliver",
    run=_run,
    scheduled=_run_scheduled,
    queue=DELIVERY_QUEUE,
    expires_s=1.0,
    quiet_after=None,
    acked_early=True,
)
