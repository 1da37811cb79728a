"""The job verify: compares, once a day, what every tenant has stored with its facts, and stores the result.

It also counts the accounts whose reports say something that their transactions do not explain. That is no wrong value:
it is what no audit of the stored values can see, since those follow from the reports and the transactions as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import simplejson
import structlog

from core.jobs.job import Job, PartDone, Parts, Say, Servers, WholeRun
from core.store.account_views import count_with_difference
from core.store.database import Sessions
from core.store.days import JobRun, all_tenant_days, count_runs, record_run
from core.verify.checks import Verified
from core.verify.verify import Progress, verify

log = structlog.get_logger(__name__)

JOB = "verify"

LONGEST_S = 7_200
"""Long, because a tenant is read in one database snapshot, which cannot be divided into parts."""


@dataclass(frozen=True, slots=True)
class VerifyDone:
    """What a run found. `rows` names the first of the rows that are wrong, without amounts.

    `accounts_with_difference`: see core.store.account_views.with_difference.
    """

    tenants: int = 0
    checked: int = 0
    violations: int = 0
    rows: tuple[str, ...] = ()
    accounts_with_difference: int = 0

    def __add__(self, other: VerifyDone) -> VerifyDone:
        return VerifyDone(
            self.tenants + other.tenants,
            self.checked + other.checked,
            self.violations + other.violations,
            self.rows + other.rows,
            self.accounts_with_difference + other.accounts_with_difference,
        )


def run_verify(sessions: Sessions, now: datetime, *, on_progress: Say | None = None) -> VerifyDone:
    """Verify every tenant, whether it was verified today or not."""
    with sessions() as session:
        tenants = [days.tenant.name for days in all_tenant_days(session)]
    done = VerifyDone()
    for tenant in tenants:
        done += verify_tenant(sessions, tenant, now, on_progress=on_progress)
    return done


def due_verifications(sessions: Sessions, now: datetime) -> list[str]:
    """The tenants that have no result of this UTC day yet."""
    with sessions() as session:
        tenants = [days.tenant.name for days in all_tenant_days(session)]
        return [tenant for tenant in tenants if not count_runs(session, tenant, JOB, _period(now))]


def is_due(sessions: Sessions, tenant: str, now: datetime) -> bool:
    """Whether a tenant has no result of this UTC day yet."""
    with sessions() as session:
        return not count_runs(session, tenant, JOB, _period(now))


def verify_tenant(sessions: Sessions, tenant: str, now: datetime, *, on_progress: Say | None = None) -> VerifyDone:
    """Verify one tenant in a transaction that writes nothing, and note the result for this UTC day.

    A later run of the same day is noted in addition to the earlier ones. Raises NoSuchTenant.
    """
    found = verify(sessions, now, tenant=tenant, progress=None if on_progress is None else _teller(on_progress))
    with sessions() as session:
        differing = count_with_difference(session, tenant)
    with sessions.begin() as session:
        # Every run is noted by itself: a run writes nothing else, so running twice does no harm.
        finished_at = now + timedelta(seconds=found.seconds)
        result = _result(found, differing)
        run = JobRun(
            tenant, JOB, _period(now), count_runs(session, tenant, JOB, _period(now)), now, finished_at, result
        )
        while not record_run(session, run):
            # Another run of this tenant took the number at the same time.
            run = replace(run, chunk=run.chunk + 1)
    _say(tenant, found, differing)
    return VerifyDone(1, sum(found.checked.values()), found.violations, tuple(_rows(found)), differing)


def _period(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()


def _say(tenant: str, found: Verified, differing: int) -> None:
    say = log.info if found.is_ok else log.error
    say(
        "verified" if found.is_ok else "what is stored is not what the facts say: run `milepost verify`",
        tenant=tenant,
        checked=sum(found.checked.values()),
        violations=found.violations,
        accounts_with_difference=differing,
        first=_rows(found),
        seconds=round(found.seconds, 3),
    )


def _result(found: Verified, differing: int) -> str:
    return simplejson.dumps(
        {
            "ok": found.is_ok,
            "checked": found.checked,
            "violations": found.violations,
            "accounts_with_difference": differing,
            "first": _rows(found),
            "seconds": round(found.seconds, 3),
        }
    )


def _rows(found: Verified) -> list[str]:
    return [violation.row for violation in found.first]


def _teller(say: Say) -> Callable[[Progress], None]:
    return lambda progress: say(f"{progress.tenant}: {progress.done:,} of {progress.total:,} {progress.table}")


def _run(whole: WholeRun) -> VerifyDone:
    return run_verify(whole.sessions, whole.now, on_progress=whole.on_progress)


def _due(servers: Servers) -> Iterator[tuple[str]]:
    for tenant in due_verifications(servers.sessions, servers.now()):
        yield (tenant,)


def _run_tenant(servers: Servers, tenant: str) -> PartDone:
    # Another message may have started the same verification while this one waited.
    if not is_due(servers.sessions, tenant, servers.now()):
        return PartDone(0)
    return PartDone(verify_tenant(servers.sessions, tenant, servers.now()).violations)


VERIFY = Job(
    JOB, run=_run, scheduled=Parts("verify_tenant", ("tenant",), _due, _run_tenant, longest_s=LONGEST_S), is_audit=True
)
