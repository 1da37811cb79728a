"""The job relay: announces the messages that are due, by giving each its position in the feed of its tenant."""

from dataclasses import dataclass
from datetime import datetime

from core.jobs.job import DRAIN_QUEUE, Job, Servers, WholeRun
from core.store.database import Sessions
from core.store.outbox import announce, tenants_to_announce

AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Relayed:
    """How many messages were announced, and whether some are left, which another process announces or withdraws now."""

    announced: int = 0
    is_more: bool = False


def relay(sessions: Sessions, now: datetime) -> Relayed:
    """Announce all messages that are due at `now`, in transactions of a thousand messages of one tenant each."""
    with sessions() as session:
        tenants = tenants_to_announce(session, now)
    total, is_more = 0, False
    for tenant in tenants:
        before, announced = total, AT_ONCE
        while announced == AT_ONCE:
            with sessions.begin() as session:
                announced = announce(session, tenant, now, AT_ONCE)
            total += announced
        is_more = is_more or total == before
    return Relayed(total, is_more)


def _run(whole: WholeRun) -> Relayed:
    return relay(whole.sessions, whole.now)


def _run_scheduled(servers: Servers) -> int:
    return relay(servers.sessions, servers.now()).announced


# The job deliver announces at once what it is notified of; this one finds what it missed, and works without it.
# In the queue of the drains, since a long job must not keep messages from being announced.
RELAY = Job("relay", run=_run, scheduled=_run_scheduled, queue=DRAIN_QUEUE, expires_s=1.0, quiet_after=None)
