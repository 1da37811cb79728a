"""A load on an HTTP server from one process, over many connections; each sends its next request after an answer.

It uses asyncio's streams: a client library would take more time for a request than the server for the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

from benchmarks.workers import Work
from core.errors import MilepostError

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class WrongAnswer(MilepostError):
    """The server answered with an unexpected status."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, ready to be sent, and the status that its answer must have."""

    encoded: bytes
    status: int


# When a request was sent, by the monotonic clock, and how many seconds its answer took.
Answer = tuple[float, float]
# The endless requests of a connection, by the number of the connection.
Asks = Callable[[int], Iterator[Ask]]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a load: each connection's answers in order, and the share of a core that sending took."""

    answers: list[list[Answer]]
    core_share: float


def request(method: str, url: str, key: str | None, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request; an underscore in the name of a header is a dash."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + _HEAD_END + body


def prepare_load(
    host: str, port: int, connections: int, seconds: float, asks: Asks, requests_per_s: float | None = None
) -> Work[LoadResult]:
    """The work, which is timed: send requests for `seconds` over `connections`.

    With `requests_per_s` they are due at a constant rate, spread over the connections, and the time of each counts from
    when it was due: so a stall delays all that were due in it. Without, each is sent when the one before is answered.
    """

    def work() -> LoadResult:
        began_s, worked_s = time.monotonic(), time.process_time()
        interval_s = None if requests_per_s is None else connections / requests_per_s
        answers = asyncio.run(_all_connections(host, port, connections, began_s + seconds, asks, interval_s))
        return LoadResult(answers, (time.process_time() - worked_s) / (time.monotonic() - began_s))

    return work


async def _all_connections(
    host: str, port: int, connections: int, until_s: float, asks: Asks, interval_s: float | None
) -> list[list[Answer]]:
    opened = [await asyncio.open_connection(host, port) for _ in range(connections)]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    _one_connection(reader, writer, until_s, asks(number), _due(number / connections, interval_s))
                )
                for number, (reader, writer) in enumerate(opened)
            ]
        return [task.result() for task in tasks]
    finally:
        for _, writer in opened:
            writer.close()


def _due(share: float, interval_s: float | None) -> Iterator[float]:
    """When the requests of a connection are due; `share` is where in the first interval its first one is."""
    if interval_s is None:
        while True:
            yield time.monotonic()
    first_s = time.monotonic() + share * interval_s
    for number in count():
        yield first_s + number * interval_s


async def _one_connection(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    until_s: float,
    asks: Iterator[Ask],
    due: Iterator[float],
) -> list[Answer]:
    answers: list[Answer] = []
    while (began_s := next(due)) < until_s:
        if (early_s := began_s - time.monotonic()) > 0:
            await asyncio.sleep(early_s)
        ask = next(asks)
        writer.write(ask.encoded)
        head = await reader.readuntil(_HEAD_END)
        body = await reader.readexactly(_length(head))
        answers.append((began_s, time.monotonic() - began_s))
        _require(ask, head, body)
    return answers


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(_LENGTH)
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _require(ask: Ask, head: bytes, body: bytes) -> None:
    status = int(head[9:12])
    if status != ask.status:
        first = ask.encoded.partition(b"\r\n")[0].decode()
        raise WrongAnswer(
            f"{first} was answered with {status}, not {ask.status}: {body.decode(errors='replace')[:200]}"
        )
