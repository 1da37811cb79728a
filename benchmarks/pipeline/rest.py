"""Requests a second over many connections, beside an application that does nothing and a bare transaction."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit
from uuid import uuid4

from sqlalchemy import Engine, text

from benchmarks.check import WrongResult
from benchmarks.memory import rss_bytes_of
from benchmarks.pipeline.bare import Bare, bare_app
from benchmarks.pipeline.http_load import Answer, Ask, LoadResult, prepare_load, request
from benchmarks.pipeline.live import Live
from milepost.ops.latency import StepProgress, nearest_rank

_GOALS_A_CONNECTION = 40
_PAGE = 50
# The rate at which answers are timed, as a share of the rate that is reached.
_SHARE_OF_FULL_LOAD = 0.5

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
    """The results of one endpoint.

    `compared` is its rate as a share of what it is compared with. The milliseconds are those at half of the rate, sent
    at a constant rate. `server_us` is the processor time of the server for a request, without Postgres. A
    `generator_core_share` near 1 would mean that sending was the limit.
    """

    endpoint: str
    connections: int
    requests: int
    requests_per_s: float
    compared: float | None
    p50_ms: float
    p99_ms: float
    server_us: float
    generator_core_share: float


@dataclass(frozen=True, slots=True)
class RestMemory:
    """The memory of an API process after a tenth of the requests, and after all of them."""

    requests: int
    tenth_rss_bytes: int
    rss_bytes: int


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


def measure_rest(
    plan: RestPlan, live: Live, engine: Engine, database_url: str, progress: StepProgress
) -> list[RestStats]:
    """Measure each endpoint; raises WrongAnswer, and WrongResult if an amount is not the one set last."""
    target = Target(live.url, live.key, _slices(engine, plan.connections))
    with (
        TemporaryDirectory(prefix="milepost-bench-bare-") as folder,
        bare_app(database_url, Path(folder)) as bare,
        _sender() as sender,
    ):
        measure = partial(_measure, plan, target, bare, live, engine, sender, progress)
        nothing = measure("a route that does nothing", ask_nothing, None, is_bare=True)
        transaction = measure("a bare transaction", set_amounts, None, is_bare=True)
        return [
            nothing,
            measure("GET /health/live", ask_nothing, nothing),
            measure("GET /goals/{id}", ask_goal, nothing),
            measure("GET /goals/{id}/progress", ask_progress, nothing),
            measure("GET /goals, 50 with progress", ask_page, None),
            transaction,
            measure("PATCH /goals/{id}: an amount", set_amounts, transaction),
        ]


def measure_rest_memory(
    plan: RestPlan, requests: int, live: Live, engine: Engine, progress: StepProgress
) -> RestMemory:
    """The memory of the API's process while it answers mixed requests; raises WrongAnswer."""
    target, pid = Target(live.url, live.key, _slices(engine, plan.connections)), live.pids["api"]
    sizes: list[tuple[int, int]] = []
    done = 0
    with progress.step("REST: memory", requests) as reached, _sender() as sender:
        while done < requests:
            done += sum(map(len, sender.submit(_send, plan, target, ask_mixed).result().answers))
            sizes.append((done, rss_bytes_of(pid) or 0))
            reached(min(done, requests))
    tenth = next(size for number, size in sizes if number >= requests // 10)
    return RestMemory(done, tenth, sizes[-1][1])


def _measure(
    plan: RestPlan,
    target: Target,
    bare: Bare,
    live: Live,
    engine: Engine,
    sender: Executor,
    progress: StepProgress,
    endpoint: str,
    asks: _Asks,
    compared_with: RestStats | None,
    *,
    is_bare: bool = False,
) -> RestStats:
    """Measure one endpoint as fast as it goes, then its times at half of that rate."""
    if is_bare:
        target = Target(bare.url, target.key, target.slices)
    pid = bare.pid if is_bare else live.pids["api"]
    with progress.step(f"REST: {endpoint}"):
        before_s = _cpu_seconds(pid)
        full = sender.submit(_send, plan, target, asks).result()
        server_s = _cpu_seconds(pid) - before_s
        if asks is set_amounts and not is_bare:
            check_amounts(engine, last_amounts(target, full.answers))
        requests, requests_per_s = _rate(plan, full)
        half = sender.submit(_send, plan, target, asks, _SHARE_OF_FULL_LOAD * requests_per_s).result()
    times_ms = sorted(1000 * took_s for _, took_s in counted(plan, half))
    return RestStats(
        endpoint,
        plan.connections,
        requests,
        round(requests_per_s, 1),
        None if compared_with is None else round(requests_per_s / compared_with.requests_per_s, 3),
        nearest_rank(times_ms, 50),
        nearest_rank(times_ms, 99),
        round(1e6 * server_s / sum(map(len, full.answers)), 1),
        round(full.core_share, 2),
    )


def _slices(engine: Engine, connections: int) -> list[list[str]]:
    with engine.connect() as connection:
        limit = connections * _GOALS_A_CONNECTION
        goals = [row[0] for row in connection.execute(_GOALS, {"limit": limit})]
    return [goals[number::connections] for number in range(connections)]


def ask_nothing(target: Target, _connection: int) -> Iterator[Ask]:
    """Requests with only the cost that every request has."""
    while True:
        yield Ask(request("GET", f"{target.url}/health/live", None), 200)


def ask_goal(target: Target, connection: int) -> Iterator[Ask]:
    """Requests for one goal after the other."""
    for number in count():
        yield Ask(request("GET", target.address(target.goal(connection, number)), target.key), 200)


def ask_progress(target: Target, connection: int) -> Iterator[Ask]:
    """Requests for the progress of one goal after the other."""
    for number in count():
        yield Ask(request("GET", target.address(target.goal(connection, number), "/progress"), target.key), 200)


def ask_page(target: Target, _connection: int) -> Iterator[Ask]:
    """Requests for a page of goals with their progress."""
    while True:
        yield Ask(request("GET", f"{target.url}/goals?limit={_PAGE}&include=progress", target.key), 200)


def set_amounts(target: Target, connection: int) -> Iterator[Ask]:
    """Requests that set a new amount for one goal after the other, each under a key of its own."""
    for number in count():
        body = b'{"current_amount": %d}' % _amount(number)
        url, key = target.address(target.goal(connection, number)), str(uuid4())
        yield Ask(request("PATCH", url, target.key, body, Idempotency_Key=key), 200)


def ask_mixed(target: Target, connection: int) -> Iterator[Ask]:
    """Requests of all kinds in turn, of which a ninth are changes; some are refused."""
    kinds = [each(target, connection) for each in (*(ask_goal, ask_progress) * 4, set_amounts)]
    for number in count():
        yield next(kinds[number % len(kinds)])
        if number % 50 == 0:
            yield Ask(request("GET", f"{target.url}/goals/none-{number}", target.key), 404)
            yield Ask(request("PATCH", target.address(target.goal(connection, number)), target.key, b"{"), 422)


def _amount(number: int) -> int:
    return number + 1


_Asks = Callable[[Target, int], Iterator[Ask]]


def _sender() -> Executor:
    """A process that sends loads, one after the other."""
    # Ctrl-C goes to the whole group of the terminal; the benchmark itself ends its processes.
    return ProcessPoolExecutor(1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))


def _send(plan: RestPlan, target: Target, asks: _Asks, requests_per_s: float | None = None) -> LoadResult:
    parts = urlsplit(target.url)
    assert parts.hostname is not None, "the address is our own"
    assert parts.port is not None, "the address is our own"
    seconds = plan.warm_up_seconds + plan.seconds
    return prepare_load(parts.hostname, parts.port, plan.connections, seconds, partial(asks, target), requests_per_s)()


def counted(plan: RestPlan, load: LoadResult) -> list[Answer]:
    """The answers to requests that were sent after the warm-up."""
    from_s = min(began_s for answers in load.answers for began_s, _ in answers) + plan.warm_up_seconds
    return [answer for answers in load.answers for answer in answers if answer[0] >= from_s]


def _rate(plan: RestPlan, load: LoadResult) -> tuple[int, float]:
    """How many requests were counted, and how many these are a second."""
    found = counted(plan, load)
    from_s = min(began_s for began_s, _ in found)
    return len(found), len(found) / (max(began_s + took_s for began_s, took_s in found) - from_s)


def _cpu_seconds(pid: int) -> float:
    """The processor time that a running process has used, as Linux has it."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
