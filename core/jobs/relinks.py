"""The job relinks: messages about accounts that probably go on under a new id, one of each pair.

Nothing happens at the moment at which an account has been silent for two days, so somebody has to look. All accounts of
a tenant are looked at, some at a time, each time in a transaction of its own. A crash leaves the rest for the next run;
to run it twice, or two at once, writes no message again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf

from core.ingestion.relinks import find_probable, probable_since
from core.jobs.job import TIME_SLICE_S, Job, PartDone, Parts, Servers, WholeRun
from core.messages.others import relink_suspected
from core.store.account_views import ACCOUNTS_AT_ONCE, account_ids
from core.store.database import Sessions
from core.store.outbox import write_missing
from core.store.tenants import list_tenants


@dataclass(frozen=True, slots=True)
class RelinksFound:
    """How many messages were written, one for each pair that is new."""

    messages: int = 0


def run_relinks(sessions: Sessions, now: datetime) -> RelinksFound:
    """Write a message about each new pair of all tenants."""
    with sessions() as session:
        tenants = [each.name for each in list_tenants(session)]
    return RelinksFound(sum(_write(sessions, tenant, now, "", inf).count for tenant in tenants))


def _write(sessions: Sessions, tenant: str, now: datetime, after: str, time_slice_s: float) -> PartDone:
    stop_at, written = time.monotonic() + time_slice_s, 0
    while time.monotonic() < stop_at:
        with sessions.begin() as session:
            ids = account_ids(session, tenant, after=after, limit=ACCOUNTS_AT_ONCE)
            pairs = find_probable(session, tenant, ids, now)
            new = [relink_suspected(tenant, pair, probable_since(pair, now), now) for pair in pairs]
            written += write_missing(session, new)
        if len(ids) < ACCOUNTS_AT_ONCE:
            return PartDone(written)
        after = ids[-1]
    return PartDone(written, (tenant, after))


def _run(whole: WholeRun) -> RelinksFound:
    return run_relinks(whole.sessions, whole.now)


def _due(servers: Servers) -> Iterator[tuple[str, str]]:
    with servers.sessions() as session:
        tenants = [each.name for each in list_tenants(session)]
    for tenant in tenants:
        yield tenant, ""


def _run_tenant(servers: Servers, tenant: str, after: str) -> PartDone:
    return _write(servers.sessions, tenant, servers.database_now(), after, TIME_SLICE_S)


RELINKS = Job(
    "relinks", run=_run, scheduled=Parts("relinks_tenant", ("tenant", "after"), _due, _run_tenant), quiet_after=None
)
