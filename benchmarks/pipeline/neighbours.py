"""Two tenants on one API process: what the stuck requests of one tenant do to the reads of the other one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from urllib.parse import urlsplit

from benchmarks.pipeline.http_load import Ask, LoadResult, prepare_load, request
from benchmarks.pipeline.live import Live
from benchmarks.pipeline.rest import RestPlan, counted
from benchmarks.workers import Work, work_side_by_side
from core.goals.goal import GoalType
from core.services.goals import create_goal
from core.services.inputs import GoalDraft
from core.services.keys import create_key
from core.services.tenants import create_tenant
from core.store.database import open_sessions
from core.store.driver import Sql
from core.store.goals import lock_goal
from core.store.tenants import DEFAULT, Tenant
from milepost.ops.latency import StepProgress, nearest_rank

_STUCK = 60
_READS_PER_S = 50.0
_READERS = 5
_OTHER = Tenant("bench-neighbour", "UTC")
_ANY_GOAL = Sql("SELECT goal_id FROM goals WHERE tenant = 'default' AND tracking = 'change' LIMIT 1")


@dataclass(frozen=True, slots=True)
class NeighbourStats:
    """The 99% milliseconds of a tenant's reads: alone, and while sixty changes of another tenant wait for one row."""

    alone_p99_ms: float
    beside_stuck_p99_ms: float


def measure_neighbours(plan: RestPlan, live: Live, database_url: str, progress: StepProgress) -> NeighbourStats:
    """Measure both, at a constant rate of reads; raises WrongAnswer if a read is not answered with 200."""
    goal_id, key = _make_other(database_url)
    seconds = plan.warm_up_seconds + plan.seconds
    reads = partial(_prepare_reads, live.url, key, goal_id, seconds)
    with progress.step("REST: a tenant's reads alone"):
        (alone,) = work_side_by_side([reads], lambda: None)
    with progress.step("REST: beside sixty stuck changes"), _locked(database_url) as stuck:
        changes = partial(_prepare_changes, live.url, live.key, stuck, seconds)
        beside, _ = work_side_by_side([reads, changes], lambda: None)
    return NeighbourStats(_p99_ms(plan, alone.result), _p99_ms(plan, beside.result))


def _make_other(database_url: str) -> tuple[str, str]:
    """Another tenant with a goal; the goal's id and a key."""
    now = datetime.now(UTC)
    with open_sessions(database_url, application_name="milepost bench") as sessions, sessions.begin() as session:
        create_tenant(session, _OTHER.name, _OTHER.time_zone, now)
        _, key = create_key(session, _OTHER.name, ["admin"], "bench", now)
        goal = create_goal(session, _OTHER, GoalDraft("bench", "Bench", GoalType.SAVINGS, 1_000), now)
    return goal.goal_id, key


@contextmanager
def _locked(database_url: str) -> Iterator[str]:
    """Lock a goal of the first tenant for the block; gives its id."""
    with open_sessions(database_url, application_name="milepost bench", limits={}) as sessions, sessions() as session:
        goal_id = str(_ANY_GOAL.value(session, {}))
        lock_goal(session, (DEFAULT, goal_id))
        yield goal_id


def _prepare_reads(url: str, key: str, goal_id: str, seconds: float) -> Work[LoadResult]:
    ask = Ask(request("GET", f"{url}/goals/{goal_id}", key), 200)

    def asks(_connection: int) -> Iterator[Ask]:
        while True:
            yield ask

    parts = urlsplit(url)
    return prepare_load(parts.hostname or "", parts.port or 0, _READERS, seconds, asks, _READS_PER_S)


def _prepare_changes(url: str, key: str, goal_id: str, seconds: float) -> Work[LoadResult]:
    """Changes of one goal that is locked: none is answered but with 503, as its wait for the lock has an end."""

    def asks(_connection: int) -> Iterator[Ask]:
        for number in count():
            body = b'{"current_amount": %d}' % number
            yield Ask(request("PATCH", f"{url}/goals/{goal_id}", key, body), 503)

    parts = urlsplit(url)
    return prepare_load(parts.hostname or "", parts.port or 0, _STUCK, seconds, asks)


def _p99_ms(plan: RestPlan, load: LoadResult) -> float:
    return nearest_rank(sorted(1000 * took_s for _, took_s in counted(plan, load)), 99)
