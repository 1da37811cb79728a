"""The job due: lets facts count that were dated too far ahead when they arrived, once their time has come."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

import structlog

from core.ingestion.drain import EVENTS_FAULT, is_events_fault
from core.ingestion.due import apply_due
from core.jobs.job import DRAIN_QUEUE, Job, Servers, WholeRun
from core.store.database import Sessions
from core.store.due import DueFacts, find_due

log = structlog.get_logger(__name__)

ACCOUNTS_AT_ONCE = 500
FACTS_MOST = 100_000
# Drains wait for it in their queue, so what is left then is put at its end.
TIME_SLICE_S = 10.0


@dataclass(frozen=True, slots=True)
class DueCounted:
    """How many facts count from now on, and how many accounts have some that failed, or that are left for later."""

    facts: int = 0
    accounts_failed: int = 0
    accounts_left: int = 0

    def plus(self, other: "DueCounted") -> "DueCounted":
        """The sum of both."""
        return DueCounted(
            self.facts + other.facts,
            self.accounts_failed + other.accounts_failed,
            self.accounts_left + other.accounts_left,
        )


def run_due(sessions: Sessions, now: datetime, time_slice_s: float = TIME_SLICE_S) -> DueCounted:
    """Let facts count that are due at `now`, some accounts at a time, each time in a transaction of its own.

    To run it twice, or two at once, changes nothing more.
    """
    stop_at, counted = time.monotonic() + time_slice_s, DueCounted()
    with sessions() as session:
        due = find_due(session, now, FACTS_MOST)
    while due:
        counted = counted.plus(_count(sessions, due[:ACCOUNTS_AT_ONCE], now))
        due = due[ACCOUNTS_AT_ONCE:]
        if time.monotonic() > stop_at:
            break
    return counted.plus(DueCounted(accounts_left=len(due)))


def _count(sessions: Sessions, due: Sequence[DueFacts], now: datetime) -> DueCounted:
    """Let these facts count. If they cannot be applied, halves are tried, so that one account holds up no other."""
    try:
        with sessions.begin() as session:
            return DueCounted(apply_due(session, due, now))
    except EVENTS_FAULT as error:
        if not is_events_fault(error):
            raise
        name = type(error).__name__
    if len(due) == 1:
        tenant, account_id = due[0].account_key
        log.error("facts that are due cannot be applied", tenant=tenant, account_id=account_id, error=name)
        return DueCounted(accounts_failed=1)
    half = len(due) // 2
    return _count(sessions, due[:half], now).plus(_count(sessions, due[half:], now))


def _run(whole: WholeRun) -> DueCounted:
    return run_due(whole.sessions, whole.now, time_slice_s=inf)


def _run_and_go_on(servers: Servers) -> int:
    counted = run_due(servers.sessions, servers.database_now())
    if counted.accounts_left:
        servers.start_job(DUE)
    return counted.facts


# In the queue of the drains: at midnight, when most facts are due, long jobs fill the other one.
DUE = Job("due", run=_run, scheduled=_run_and_go_on, queue=DRAIN_QUEUE, expires_s=60.0, quiet_after=None)
