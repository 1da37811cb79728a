"""What the bench measures on a whole Milepost: latency counts from when an event was due, and answers are checked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from io import StringIO
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from rich.console import Console
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.check import WrongResult
from benchmarks.pipeline import comparison
from benchmarks.pipeline.comparison import ComparisonPlan, run_comparison
from benchmarks.pipeline.http_load import Ask, WrongAnswer, prepare_load, request
from benchmarks.pipeline.rest import RestPlan, Target, check_amounts, last_amounts
from benchmarks.pipeline.run import Plan
from benchmarks.pipeline.under_load import PROBERS, Load, Prober, due_times
from benchmarks.seed import seed
from benchmarks.servers import ServerUrls
from benchmarks.usual_way.run import UsualWay
from core.store.database import Sessions
from core.store.driver import Sql
from core.stream.stream import EventStream, connect
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.ops.latency import Rest, StepProgress
from tests.serving import serving


def test_a_whole_milepost_is_measured(
    postgres: EmbeddedPostgres, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes in a load are seen over REST, endpoints answer beside bare ones, and all that was written is checked."""
    monkeypatch.setattr(comparison, "measure_usual_way", lambda *_: UsualWay(1, 2, 0.5))
    plan = Plan(events=100, accounts=60, workers=1, batch_events=50, workloads=[])
    small = ComparisonPlan(
        1, probe_seconds=1.0, warm_up_seconds=0.2, rest=RestPlan(3, seconds=0.5, warm_up_seconds=0.1)
    )
    with StepProgress.on(Console(file=StringIO())) as progress:
        found = run_comparison(plan, small, 300, ServerUrls(postgres.url, redis_url), progress)
    latency = found.latency
    assert (latency.events_per_s, latency.probes) == (30, 20)
    assert 0 < latency.p50_ms <= latency.p99_ms <= latency.max_ms
    assert [each.endpoint for each in found.rest] == [
        "a route that does nothing",
        "GET /health/live",
        "GET /goals/{id}",
        "GET /goals/{id}/progress",
        "GET /goals, 50 with progress",
        "a bare transaction",
        "PATCH /goals/{id}: an amount",
    ]
    assert all(each.requests > 3 and each.requests_per_s > 0 and each.p50_ms <= each.p99_ms for each in found.rest)


def test_probes_are_due_in_order_and_at_no_rhythm() -> None:
    """Each prober has one event due in each stretch of time, and no two of them at the same point of it."""
    load = Load(events_per_s=100, seconds=8.0, warm_up_seconds=1.0)
    plans = [due_times(load, 100.0, prober) for prober in range(PROBERS)]
    assert all(len(times) == load.probes == 20 for times in plans)
    assert all(int((at - 100.0) / 0.4) == number for times in plans for number, at in enumerate(times))
    points = {round((at - 100.0) % 0.4, 6) for times in plans for at in times}
    assert len(points) > 0.9 * PROBERS * 20


def test_a_late_probe_counts_from_when_it_was_due(redis_url: str) -> None:
    """Two events that were due half a second ago took half a second, though each is seen as soon as it is sent."""
    with connect(redis_url) as client:
        client.flushall()
        stream = EventStream(client, shards=1)

        async def show(_request: Request) -> Response:
            return JSONResponse({"current_amount": client.xlen("milepost:events:0")})

        with serving(Starlette(routes=[Route("/goals/g", show)])) as url:
            rest = Rest(url, "key")
            due_s = time.monotonic() - 0.5
            times_s = Prober(rest, stream, "account", "/goals/g").run([due_s, due_s])
            rest.close()
    assert all(0.5 < seconds < 5 for seconds in times_s)
    assert times_s == sorted(times_s)


def _app() -> Starlette:
    async def known(_request: Request) -> Response:
        return JSONResponse({"a": 1})

    async def manual(request: Request) -> Response:
        return Response((await request.body()) + request.headers["authorization"].encode())

    return Starlette(routes=[Route("/known", known), Route("/typed", manual, methods=["PATCH"])])


def _asks(url: str, connection: int) -> Iterator[Ask]:
    while True:
        yield Ask(request("GET", f"{url}/known", None), 200)
        yield Ask(request("PATCH", f"{url}/typed", "k", b"%d" % connection), 200)


def test_a_load_asks_until_its_time_is_up() -> None:
    """Every connection asks anew when it is answered, and every answer has a time."""
    with serving(_app()) as url:
        asked = prepare_load("127.0.0.1", urlsplit(url).port or 0, 3, 0.3, partial(_asks, url))()
    assert [len(answers) > 2 for answers in asked.answers] == [True] * 3
    for answers in asked.answers:
        assert all(before[0] + before[1] <= after[0] for before, after in pairwise(answers))
    assert 0 < asked.core_share <= 1.5


def test_an_unexpected_status_ends_a_load() -> None:
    """A server that refuses is fast, and no measurement."""

    def refused(url: str, _connection: int) -> Iterator[Ask]:
        yield Ask(request("GET", f"{url}/unknown", None), 200)

    with serving(_app()) as url, pytest.raises(ExceptionGroup) as caught:
        prepare_load("127.0.0.1", urlsplit(url).port or 0, 2, 5.0, partial(refused, url))()
    assert caught.group_contains(WrongAnswer, match="GET /unknown HTTP/1.1 was answered with 404, not 200: Not Found")


def test_amounts_set_last_are_checked(
    engine: Engine, database_url: str, session_factory: Sessions, now: datetime
) -> None:
    """The goals must have the amount that each connection set last for them; one that does not is named."""
    target = Target("http://x", "key", [["a", "b"], ["c"]])
    assert last_amounts(target, [[(0.0, 0.1)] * 5, [(0.0, 0.1)] * 2]) == {"a": 5, "b": 4, "c": 2}
    seed(database_url, 1, now)
    with session_factory.begin() as session:
        (goal,) = Sql("UPDATE goals SET amount_minor = 700 WHERE tracking = 'change' RETURNING goal_id").values(
            session, {}
        )
    check_amounts(engine, {goal: 7})
    with pytest.raises(WrongResult, match=f"goal {goal} has 700, not 800"):
        check_amounts(engine, {goal: 8})
