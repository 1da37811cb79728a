"""The job retain: drops what is past retention, once a day. Facts, the ledger, snapshots and the audit stay for ever.

Each batch is a transaction of its own, so that no statement runs long or makes others wait. A crash leaves what is not
dropped yet for the next run; running it twice, or two at once, drops nothing more.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import simplejson
import structlog

from core.jobs.job import Job, Say, Servers, WholeRun
from core.store.database import Sessions
from core.store.days import JobRun, count_runs, forget_runs, note_run, record_run
from core.store.dead_letters import forget_dead_letters
from core.store.driver import Session
from core.store.idempotency import KEPT, forget_idempotency_keys
from core.store.outbox import forget_messages
from core.store.providers import forget_refreshed
from core.store.tenants import DEFAULT

log = structlog.get_logger(__name__)

JOB = "retain"

TRACES_KEPT = timedelta(days=90)
AT_ONCE = 5_000

Forget = Callable[[Session, datetime, int], int]


@dataclass(frozen=True, slots=True)
class Retained:
    """How many rows were dropped.

    Idempotency keys are dropped after a day. Dropped after 90 days are finished job runs (except the last of each job),
    dead letters that were replayed or discarded, messages that were announced, and refresh requests that were done.
    """

    idempotency_keys: int = 0
    job_runs: int = 0
    dead_letters: int = 0
    messages: int = 0
    refresh_requests: int = 0


def run_retain(sessions: Sessions, now: datetime, *, again: bool = True, on_progress: Say | None = None) -> Retained:
    """Drop what is past retention at `now`, and note the run of its UTC day under the tenant `default`.

    `again` is False for the scheduled run, which does nothing on a day that had one.
    """
    period = now.astimezone(UTC).date().isoformat()
    with sessions() as session:
        if not again and count_runs(session, DEFAULT, JOB, period):
            return Retained()

    def drop(what: str, forget: Forget, kept: timedelta) -> int:
        total = 0
        while dropped := _drop_some(sessions, forget, now - kept):
            total += dropped
            if on_progress is not None:
                on_progress(f"{what}: {total:,} dropped")
        return total

    done = Retained(
        idempotency_keys=drop("idempotency keys", forget_idempotency_keys, KEPT),
        job_runs=drop("job runs", forget_runs, TRACES_KEPT),
        dead_letters=drop("dead letters", forget_dead_letters, TRACES_KEPT),
        messages=drop("messages", forget_messages, TRACES_KEPT),
        refresh_requests=drop("refresh requests", forget_refreshed, TRACES_KEPT),
    )
    # In a transaction after the work: the rows are dropped already, and a run that was cut short is not noted as done.
    with sessions.begin() as session:
        note = note_run if again else record_run
        note(session, JobRun(DEFAULT, JOB, period, 0, now, now, simplejson.dumps(asdict(done))))
    return done


def _drop_some(sessions: Sessions, forget: Forget, before: datetime) -> int:
    with sessions.begin() as session:
        return forget(session, before, AT_ONCE)


def _run(whole: WholeRun) -> Retained:
    return run_retain(whole.sessions, whole.now, on_progress=whole.on_progress)


def _run_once_a_day(servers: Servers) -> int:
    done = asdict(run_retain(servers.sessions, servers.now(), again=False))
    log.info("retained", **done)
    return sum(done.values())


RETAIN = Job(JOB, run=_run, scheduled=_run_once_a_day, is_for_each_tenant=False)
