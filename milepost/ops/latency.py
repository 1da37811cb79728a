"""How long an event takes on an idle system: from XADD until REST shows the amount."""

from __future__ import annotations

import http.client
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit

import simplejson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from core.errors import MilepostError
from core.stream.stream import EventStream

_POLL_S = 0.002
_PATIENCE_S = 15.0
_TIMEOUT_S = 10.0
# Random pauses up to this: an idle drain waits in turns, and the events should arrive at every point of a turn.
_LONGEST_PAUSE_S = 0.5


class LatencyTrouble(MilepostError):
    """The running system did not do what the measurement needs; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from just before XADD until GET /goals/{id} answers with the new amount."""

    events: int
    min_ms: float
    p50_ms: float
    p95_ms: float
    max_ms: float


class Rest:
    """A client of the REST interface, over one connection."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise LatencyTrouble(f"{url} is not the address of an API, as http://127.0.0.1:8000")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._url = url
        self._connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request; returns the parsed answer, numbers as decimals. Raises LatencyTrouble unless it succeeds."""
        try:
            text = None if body is None else simplejson.dumps(body)
            self._connection.request(method, self._prefix + path, text, self._headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LatencyTrouble(f"the API at {self._url} does not answer: {type(error).__name__}") from None
        if not 200 <= answer.status < 300:
            raise LatencyTrouble(f"{method} {path} was answered with {answer.status}: {content.decode()[:200]}")
        return simplejson.loads(content, parse_float=Decimal) if content else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def measure_latency(
    rest: Rest, stream: EventStream, tenant: str, events: int, reached: Callable[[int], object]
) -> Latency:
    """Put `events` single events on the idle stream, one after the other, and one before them that is not counted.

    Makes a goal and deletes it again; the account with its transactions of 1.00 stays. Raises LatencyTrouble.
    """
    account_id = f"latency-{secrets.token_hex(6)}"
    pauses = random.Random(events)
    times_ms: list[float] = []
    with goal_of(rest, account_id) as path:
        for number in range(1, events + 2):
            time.sleep(pauses.uniform(0, _LONGEST_PAUSE_S))
            event = transaction(account_id, number)
            began_s = time.monotonic()
            stream.append(tenant, [(account_id, event)])
            await_amount(rest, path, number)
            times_ms.append((time.monotonic() - began_s) * 1000)
            reached(number - 1)
    return _summary(times_ms[1:])


@contextmanager
def goal_of(rest: Rest, account_id: str) -> Iterator[str]:
    """Make a goal that changes by all that the account's worth changes; gives its path, and deletes it at the end."""
    goal = {"user_id": account_id, "name": "Latency", "type": "savings", "target_amount": 1_000_000}
    path = f"/goals/{quote(rest.ask('POST', '/goals', goal)['id'])}"
    try:
        rest.ask("POST", f"{path}/funding", {"account_id": account_id, "allocation_percent": 100})
        yield path
    finally:
        # On a new connection: an interrupt may have come between a request and its answer.
        rest.close()
        rest.ask("DELETE", path)


def transaction(account_id: str, number: int) -> bytes:
    """An event that adds 1.00 to an account, now."""
    now = datetime.now(UTC)
    data = {
        "account_id": account_id,
        "transaction_id": f"{account_id}-{number}",
        "amount": 1,
        "currency": "USD",
        "posted_at": now.isoformat(),
    }
    event = {
        "specversion": "1.0",
        "id": f"{account_id}-{number}",
        "source": "latency",
        "type": "milepost.transaction.recorded",
        "time": now.isoformat(),
        "data": data,
    }
    return simplejson.dumps(event).encode()


def await_amount(rest: Rest, path: str, amount: int, *, poll_s: float = _POLL_S) -> None:
    """Poll every `poll_s` until a goal shows an amount; raises LatencyTrouble."""
    deadline = time.monotonic() + _PATIENCE_S
    while rest.ask("GET", path)["current_amount"] != amount:
        if time.monotonic() > deadline:
            raise LatencyTrouble(
                f"an event was not visible within {_PATIENCE_S:g} s: does a worker run, and is the tenant the key's?"
            )
        time.sleep(poll_s)


def nearest_rank(ordered: Sequence[float], percent: int) -> float:
    """The percentile by nearest rank of values in order: the least that `percent` of them do not exceed; rounded."""
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 1)


def _summary(times_ms: list[float]) -> Latency:
    ordered = sorted(times_ms)
    return Latency(len(ordered), *(nearest_rank(ordered, percent) for percent in (0, 50, 95, 100)))


Reached = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Steps on a console."""

    progress: Progress

    @classmethod
    @contextmanager
    def on(cls, console: Console) -> Iterator[StepProgress]:
        """Show steps on `console` while the block runs."""
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, refresh_per_second=4) as progress:
            yield cls(progress)

    @contextmanager
    def step(self, name: str, total: int = 1) -> Iterator[Reached]:
        """Show a step while the block runs; gives the function to call with the part of `total` that is done."""
        task = self.progress.add_task(name, total=total)

        def reached(number: int) -> None:
            self.progress.update(task, completed=number)

        yield reached
        self.progress.update(task, completed=total)
        self.progress.stop_task(task)
