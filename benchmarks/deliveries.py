"""`python -m benchmarks.deliveries`: how fast messages are delivered to endpoints. `make bench-deliveries` runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.check import WrongResult
from benchmarks.command import measuring, run
from benchmarks.servers import ServerUrls, database
from benchmarks.workers import seconds, work_side_by_side
from core.delivery.addresses import AddressRules
from core.delivery.deliverer import Deliverer
from core.jobs.deliver import make_deliverer
from core.jobs.relay import relay
from core.providers.sealing import Sealer
from core.services.endpoints import EndpointDraft, add_endpoint
from core.services.keys import bootstrap
from core.services.tenants import create_tenant
from core.settings import PREFIX, Settings, load_settings
from core.store.database import Sessions, open_sessions
from core.store.driver import Sql
from core.store.migrate import migrate
from core.store.outbox import Message, write_messages
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json
from milepost.ops.latency import StepProgress
from worker.context import share_the_interpreter, spare_the_collector

_SECRETS_KEY = "the key of the benchmark seals its secrets"
# As long as those of milestones are.
_BODY = (
    '{"type":"goal.changed","timestamp":"2026-03-10T12:00:00Z","data":{"goal_id":"goal_019c0000000000000000000000000000",'
    '"user_id":"user_123","name":"Trip","type":"savings","current_amount":2510.00,"target_amount":5000.00,'
    '"currency":"USD","milestone_amount":2500.00,"description":"Half","reached_at":"2026-03-10T12:00:00Z"}}'
)
_ENDPOINTS_OF_A_TENANT = 20
_HANGING = "/hanging"
_LIMIT_S = 300.0
_OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """What was measured.

    `bare_per_s`: requests a second of a plain loop with the same HTTP client, as many at once, to the same receiver.
    `delivered_per_s`: deliveries a second, each claimed, signed, sent and recorded. `healthy_s`: the time after which
    90 endpoints have all of their messages while 10 others hang; `alone_s`: the same without the 10. `p50_ms` and
    `p99_ms`: from the commit of a message to its receiver, at `rate` messages a second.
    """

    messages: int
    bare_per_s: float
    delivered_per_s: float
    alone_s: float
    healthy_s: float
    rate: int
    latencies: int
    p50_ms: float
    p99_ms: float

    @property
    def ratio(self) -> float:
        """Deliveries a second as a share of the plain loop."""
        return self.delivered_per_s / self.bare_per_s


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiver in a process of its own, which answers 204 at once, but for the path that hangs."""

    url: str
    pipe: Connection

    def arrivals(self) -> dict[str, list[tuple[str, float]]]:
        """By path, the id of each message that came since the last call, and when by the monotonic clock."""
        self.pipe.send("take")
        found: dict[str, list[tuple[str, float]]] = self.pipe.recv()
        return found


def bench_deliveries(
    messages: Annotated[int, typer.Option(help="How many are delivered in the first measurement.", min=100)] = 10_000,
    each: Annotated[int, typer.Option(help="Messages to each of 100 endpoints in the second.", min=1)] = 100,
    rate: Annotated[int, typer.Option(help="Messages written a second in the third.", min=1)] = 200,
    for_s: Annotated[int, typer.Option(help="How many seconds the third takes.", min=1)] = 60,
    as_json: JsonOption = False,
) -> None:
    """Measure deliveries beside a plain loop, with endpoints that hang, and from a commit to the receiver.

    Starts a durable Postgres and Valkey of its own in the temporary folder (TMPDIR) and removes them afterwards.
    Exit status 1 if a message does not arrive.
    """
    with measuring() as (servers, progress):
        stats = measure(servers, progress, messages=messages, each=each, rate=rate, for_s=for_s)
    if as_json:
        print_json(asdict(stats) | {"ratio": round(stats.ratio, 3)})
    else:
        Console(highlight=False).print(as_table(stats))


def measure(
    servers: ServerUrls,
    progress: StepProgress,
    *,
    messages: int,
    each: int,
    rate: int,
    for_s: int,
    healthy: int = 90,
    hanging: int = 10,
) -> DeliveryStats:
    """Run the three measurements; `healthy` and `hanging` are the endpoints of the second."""
    with _receiving() as receiver:
        with progress.step("a plain loop"):
            bare_per_s = messages / asyncio.run(_post_all(receiver.url, messages))
            receiver.arrivals()
        with progress.step("deliveries"), _world(servers, "bench_deliveries") as settings:
            _add_endpoints(settings, receiver.url, 10)
            delivered_per_s = messages / _deliver(settings, receiver, 10, messages // 10)
        times = []
        for beside in (0, hanging):
            name = f"{healthy} endpoints beside {beside} that hang"
            with progress.step(name), _world(servers, "bench_fair") as settings:
                _add_endpoints(settings, receiver.url, healthy + beside, hanging=beside)
                times.append(_deliver(settings, receiver, healthy + beside, each, hanging=beside))
        with progress.step(f"{rate} a second"), _world(servers, "bench_latency") as settings:
            _add_endpoints(settings, receiver.url, 1)
            latencies = _latencies(settings, receiver, rate, for_s)
    return DeliveryStats(
        messages,
        bare_per_s,
        delivered_per_s,
        times[0],
        times[1],
        rate,
        len(latencies),
        median(latencies) * 1_000,
        latencies[len(latencies) * 99 // 100] * 1_000,
    )


def as_table(stats: DeliveryStats) -> Table:
    """The printed table."""
    table = Table("measured", "result", box=None, header_style="bold")
    table.add_row("a plain loop", f"{stats.bare_per_s:,.0f} a second")
    table.add_row("deliveries", f"{stats.delivered_per_s:,.0f} a second, {stats.ratio:.2f} of it")
    table.add_row(
        "90 endpoints have theirs", f"after {stats.alone_s:.1f} s; after {stats.healthy_s:.1f} s beside 10 that hang"
    )
    table.add_row(
        f"commit to receiver, {stats.rate} a second",
        f"median {stats.p50_ms:,.0f} ms, 99% within {stats.p99_ms:,.0f} ms, of {stats.latencies:,}",
    )
    return table


async def _post_all(url: str, number: int, at_once: int = 100) -> float:
    """The seconds that a plain loop takes for so many requests, so many at once."""
    left = iter(range(number))
    headers = {
        "content-type": "application/json",
        "webhook-id": "m",
        "webhook-timestamp": "1",
        "webhook-signature": "s",
    }
    body = _BODY.encode()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post() -> None:
            for _ in left:
                async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    await answer.read()

        await asyncio.gather(*[post() for _ in range(at_once)])
        began_s = time.monotonic()
        left = iter(range(number))
        await asyncio.gather(*[post() for _ in range(at_once)])
        return time.monotonic() - began_s


@contextmanager
def _world(servers: ServerUrls, name: str) -> Iterator[Settings]:
    """A migrated database, and the settings of processes that use it."""
    with database(servers.postgres_url, name) as url:
        migrate(url)
        with open_sessions(url, application_name="milepost bench") as sessions, sessions.begin() as session:
            bootstrap(session, key="mp_the_key_of_the_benchmark", now=datetime.now(UTC))
        yield load_settings(
            database_url=url,
            redis_url=servers.redis_url,
            secrets_key=_SECRETS_KEY,
            endpoint_http=True,
            endpoint_networks="127.0.0.0/8",
        )


@contextmanager
def _sessions(settings: Settings) -> Iterator[Sessions]:
    with open_sessions(settings, application_name="milepost bench") as sessions:
        yield sessions


def _tenants(endpoints: int) -> list[str]:
    """A tenant for each twenty endpoints, the most that one has."""
    return ["default", *(f"tenant{number}" for number in range(1, -(-endpoints // _ENDPOINTS_OF_A_TENANT)))]


def _add_endpoints(settings: Settings, url: str, number: int, *, hanging: int = 0) -> None:
    """Make endpoints with a path each, of which every ninth hangs until there are enough of these."""
    rules, now, sealer = AddressRules.of(settings), datetime.now(UTC), Sealer([_SECRETS_KEY])
    with _sessions(settings) as sessions, sessions.begin() as session:
        for tenant in _tenants(number)[1:]:
            create_tenant(session, tenant, "UTC", now)
        for each in range(number):
            draft = EndpointDraft(url + (f"{_HANGING}{each}" if each % 9 == 0 and each // 9 < hanging else f"/{each}"))
            tenant = _tenants(number)[each // _ENDPOINTS_OF_A_TENANT]
            add_endpoint(session, sealer, rules, tenant, draft, now, actor="bench")


def _message(tenant: str, name: str, now: datetime) -> Message:
    return Message(tenant, "goal", f"goal_changed:{name}", "goal.changed", "user_123", _BODY, now, now)


def _deliver(settings: Settings, receiver: Receiver, endpoints: int, each: int, *, hanging: int = 0) -> float:
    """The seconds that a process takes to deliver so many messages to each endpoint that does not hang."""
    now = datetime.now(UTC)
    with _sessions(settings) as sessions:
        for tenant in _tenants(endpoints):
            with sessions.begin() as session:
                write_messages(session, [_message(tenant, str(number), now) for number in range(each)])
        relay(sessions, now)
        with sessions.begin() as session:
            Sql("ANALYZE outbox, deliveries").run(session, {})
    healthy = endpoints - hanging
    runs = work_side_by_side([partial(_prepare_to_deliver, settings, healthy * each)], lambda: None)
    came = {path: len({message_id for message_id, _ in of}) for path, of in receiver.arrivals().items()}
    full = [path for path, number in came.items() if number == each and not path.startswith(_HANGING)]
    if len(full) != healthy:
        raise WrongResult("deliveries", [f"only {len(full)} of {healthy} endpoints have all messages"])
    return seconds(runs)


def _prepare_to_deliver(settings: Settings, number: int) -> partial[int]:
    # As the worker does.
    spare_the_collector()
    share_the_interpreter()
    sessions = open_sessions(settings, application_name="milepost bench")
    return partial(_deliver_all, make_deliverer(sessions, settings), number)


def _deliver_all(deliverer: Deliverer, number: int) -> int:
    delivered, end_s = 0, time.monotonic() + _LIMIT_S
    while delivered < number and time.monotonic() < end_s:
        delivered += deliverer.work(0.05).delivered
    deliverer.close()
    return delivered


def _latencies(settings: Settings, receiver: Receiver, rate: int, for_s: int) -> list[float]:
    """The seconds from each commit to the receiver, sorted, with a worker and a beat in processes of their own."""
    committed: dict[str, float] = {}
    with _processes(settings), _sessions(settings) as sessions:
        _wait_for_first(sessions, receiver)
        began_s = time.monotonic()
        for number in range(rate * for_s):
            time.sleep(max(0.0, began_s + number / rate - time.monotonic()))
            with sessions.begin() as session:
                write_messages(session, [_message("default", f"timed{number}", datetime.now(UTC))])
            committed[f"goal_changed:timed{number}:1"] = time.monotonic()
        arrived: dict[str, float] = {}
        end_s = time.monotonic() + 30
        while committed.keys() - arrived.keys() and time.monotonic() < end_s:
            time.sleep(0.2)
            for came in receiver.arrivals().values():
                for message_id, at_s in came:
                    arrived.setdefault(message_id, at_s)
    missing = committed.keys() - arrived.keys()
    if missing:
        raise WrongResult("latency", [f"{message_id} did not arrive" for message_id in sorted(missing)])
    return sorted(arrived[message_id] - at_s for message_id, at_s in committed.items())


def _wait_for_first(sessions: Sessions, receiver: Receiver) -> None:
    """Send one message and wait for it: then the worker is there."""
    with sessions.begin() as session:
        write_messages(session, [_message("default", "first", datetime.now(UTC))])
    end_s = time.monotonic() + 60
    while not receiver.arrivals():
        if time.monotonic() > end_s:
            raise WrongResult("latency", ["no worker delivers anything"])
        time.sleep(0.1)


@contextmanager
def _processes(settings: Settings) -> Iterator[None]:
    """A worker for deliveries and a beat."""
    given = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRETS_KEY": settings.secrets_key,
    }
    environment = os.environ | {
        PREFIX + name: value.get_secret_value() for name, value in given.items() if value is not None
    }
    environment |= {f"{PREFIX}ENDPOINT_HTTP": "true", f"{PREFIX}ENDPOINT_NETWORKS": settings.endpoint_networks}
    # Celery warns root of itself.
    environment |= {f"{PREFIX}LOG_LEVEL": "WARNING", "PYTHONWARNINGS": "ignore"}
    commands = (["worker", "--queues=deliveries"], ["beat"])
    # Their banners and warnings are not what is printed here.
    processes = [
        subprocess.Popen([sys.executable, "-m", "milepost", *command], env=environment, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


@contextmanager
def _receiving() -> Iterator[Receiver]:
    spawning = get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Receiver(f"http://127.0.0.1:{ours.recv()}", ours)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection) -> None:
    asyncio.run(_serve_until_killed(pipe))


async def _serve_until_killed(pipe: Connection) -> None:
    arrivals: dict[str, list[tuple[str, float]]] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answering(arrivals), "127.0.0.1", 0)

    def take() -> None:
        pipe.recv()
        pipe.send(arrivals)
        arrivals.clear()

    loop.add_reader(pipe.fileno(), take)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Answering(asyncio.Protocol):
    """The least of HTTP that a receiver needs, so that the receiver is not what is measured."""

    def __init__(self, arrivals: dict[str, list[tuple[str, float]]]) -> None:
        self._arrivals, self._came = arrivals, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        while (end := self._came.find(b"\r\n\r\n")) >= 0:
            head, fields = self._came[:end], {}
            first, *lines = head.decode().split("\r\n")
            for line in lines:
                name, _, value = line.partition(": ")
                fields[name.lower()] = value
            length = end + 4 + int(fields["content-length"])
            if len(self._came) < length:
                return
            self._came = self._came[length:]
            path = first.split(" ")[1]
            self._arrivals.setdefault(path, []).append((fields["webhook-id"], time.monotonic()))
            if not path.startswith(_HANGING):
                self._transport.write(_OK)


if __name__ == "__main__":
    run(bench_deliveries)
