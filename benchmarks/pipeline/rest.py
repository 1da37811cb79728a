"""Requests a second over many connections: progress read, amounts set, and an endpoint that does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from urllib.parse import quote, urlsplit

from sqlalchemy import Engine, text

from benchmarks.check import WrongResult
from benchmarks.pipeline.http_load import Answer, Ask, LoadResult, prepare_load, request
from benchmarks.pipeline.live import Live
from benchmarks.workers import Work, work_side_by_side
from milepost.ops.latency import StepProgress, nearest_rank

_GOALS_A_CONNECTION = 40

# Goals whose amounts may be set: those that follow balances refuse it.
_GOALS = text("SELECT goal_id FROM goals WHERE tracking = 'change' ORDER BY md5(goal_id) LIMIT :limit")
_AMOUNTS = text("SELECT goal_id, amount_minor FROM goals WHERE goal_id = ANY(:goals)")


@dataclass(frozen=True, slots=True)
class RestPlan:
    """`connections` at the same time, for `seconds` an endpoint; answers in the warm-up are not counted."""

    connections: int
    seconds: float
    warm_up_seconds: float


@dataclass(frozen=True, slots=True)
class RestStats:
    """The results of one endpoint; a `generator_core_share` near 1 would mean that sending was the limit."""

    endpoint: str
    connections: int
    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    generator_core_share: float


@dataclass(frozen=True, slots=True)
class Target:
    """The API, and its goals: a slice of them for each connection, so that no two connections set the same amount."""

    url: str
    key: str
    slices: Sequence[Sequence[str]]

    def goal(self, connection: int, number: int) -> str:
        """The goal of request `number` of a connection."""
        own = self.slices[connection]
        return own[number % len(own)]

    def address(self, goal_id: str, rest: str = "") -> str:
        """The address of a goal."""
        return f"{self.url}/goals/{quote(goal_id)}{rest}"


def measure_rest(plan: RestPlan, live: Live, engine: Engine, progress: StepProgress) -> list[RestStats]:
    """Measure each endpoint; raises WrongAnswer, and WrongResult if an amount is not the one set last."""
    target = Target(live.url, live.key, _slices(engine, plan.connections))
    endpoints = {
        "GET /health/live: nothing": ask_nothing,
        "GET /goals/{id}/progress": ask_progress,
        "PATCH /goals/{id}: an amount": set_amounts,
    }
    stats = []
    for endpoint, asks in endpoints.items():
        with progress.step(f"REST: {asks.__name__.replace('_', ' ')}"):
            (run,) = work_side_by_side([partial(_prepare, plan, target, asks)], lambda: None)
        stats.append(_stats(plan, endpoint, run.result))
        if asks is set_amounts:
            check_amounts(engine, last_amounts(target, run.result.answers))
    return stats


def _slices(engine: Engine, connections: int) -> list[list[str]]:
    with engine.connect() as connection:
        limit = connections * _GOALS_A_CONNECTION
        goals = [row[0] for row in connection.execute(_GOALS, {"limit": limit})]
    return [goals[number::connections] for number in range(connections)]


def ask_nothing(target: Target, _connection: int) -> Iterator[Ask]:
    """Requests with only the cost that every request has: server, framework and middleware."""
    while True:
        yield Ask(request("GET", f"{target.url}/health/live", None), 200)


def ask_progress(target: Target, connection: int) -> Iterator[Ask]:
    """Requests for the progress of one goal after the other."""
    for number in count():
        yield Ask(request("GET", target.address(target.goal(connection, number), "/progress"), target.key), 200)


def set_amounts(target: Target, connection: int) -> Iterator[Ask]:
    """Requests that set a new amount for one goal after the other."""
    for number in count():
        body = b'{"current_amount": %d}' % _amount(number)
        yield Ask(request("PATCH", target.address(target.goal(connection, number)), target.key, body), 200)


def _amount(number: int) -> int:
    return number + 1


_Asks = Callable[[Target, int], Iterator[Ask]]


def _prepare(plan: RestPlan, target: Target, asks: _Asks) -> Work[LoadResult]:
    parts = urlsplit(target.url)
    assert parts.hostname is not None, "the address is our own"
    assert parts.port is not None, "the address is our own"
    seconds = plan.warm_up_seconds + plan.seconds
    return prepare_load(parts.hostname, parts.port, plan.connections, seconds, partial(asks, target))


def _stats(plan: RestPlan, endpoint: str, load: LoadResult) -> RestStats:
    """The results of the requests that were sent after the warm-up."""
    from_s = min(began_s for answers in load.answers for began_s, _ in answers) + plan.warm_up_seconds
    counted = [answer for answers in load.answers for answer in answers if answer[0] >= from_s]
    until_s = max(began_s + took_s for began_s, took_s in counted)
    times_ms = sorted(1000 * took_s for _, took_s in counted)
    return RestStats(
        endpoint,
        plan.connections,
        len(counted),
        round(len(counted) / (until_s - from_s), 1),
        nearest_rank(times_ms, 50),
        nearest_rank(times_ms, 99),
        round(load.core_share, 2),
    )


def last_amounts(target: Target, answers: Sequence[Sequence[Answer]]) -> dict[str, int]:
    """The amount, in whole units, that was set last for each goal, given that every request was answered."""
    return {
        target.goal(connection, number): _amount(number)
        for connection, of_connection in enumerate(answers)
        for number in range(len(of_connection))
    }


def check_amounts(engine: Engine, expected: Mapping[str, int]) -> None:
    """Compare the goals with the amounts that were set last; raises WrongResult."""
    with engine.connect() as connection:
        found = {row[0]: row[1] for row in connection.execute(_AMOUNTS, {"goals": list(expected)})}
    faults = [
        f"goal {goal_id} has {found.get(goal_id)}, not {100 * amount}"
        for goal_id, amount in expected.items()
        if found.get(goal_id) != 100 * amount
    ]
    if faults:
        raise WrongResult("setting amounts over REST", faults)
