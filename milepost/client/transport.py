"""Requests and answers in REST terms, the transports that carry them, and threads for those in this process."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import simplejson
from anyio.to_thread import run_sync

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One operation: its name, and the request for it. `path` has the segments below the address of the goals."""

    operation: str
    method: str
    path: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None

    @property
    def address(self) -> str:
        """The path below the address of the goals, without the query: "" or /goal_1/funding/savings%2F1."""
        return "".join(f"/{quote(segment, safe='')}" for segment in self.path)

    @property
    def raw_body(self) -> bytes:
        """The body as JSON in which a Decimal is a number with all its digits; empty if there is none."""
        return b"" if self.body is None else encode(self.body)

    def on_page(self, query: Mapping[str, str]) -> ApiRequest:
        """The same request for another page of its answer."""
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """The body of an answer of success, and the query of the next page, if there is one."""

    body: Any
    following: Mapping[str, str] | None = None


class AsyncTransport(Protocol):
    """Carries requests to whatever answers them."""

    async def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class SyncTransport(Protocol):
    """Carries requests to whatever answers them, and blocks meanwhile."""

    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class AsyncLocalTransport:
    """Runs a blocking transport of this process in threads, for coroutines.

    A thread cannot be stopped in the middle, so a request that is cancelled runs to its end, and its task waits for
    that: when the task ends, the request is carried out or refused, and never still in progress.
    """

    def __init__(self, transport: SyncTransport) -> None:
        self.transport = transport

    async def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises what the transport raises."""
        return await _in_thread(self.transport.send, request)

    async def close(self) -> None:
        """Close the transport."""
        await _in_thread(self.transport.close)


class SyncLocalTransport:
    """Passes requests to a blocking transport of this process; the counterpart in the generated sync client."""

    def __init__(self, transport: SyncTransport) -> None:
        self.transport = transport

    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises what the transport raises."""
        return self.transport.send(request)

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()


def encode(body: object) -> bytes:
    """A body as JSON; Decimals become numbers with all their digits."""
    return simplejson.dumps(body, use_decimal=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode(raw: bytes) -> Any:
    """Parsed JSON; numbers with a point become Decimals. Raises ValueError."""
    return json.loads(raw, parse_float=Decimal)


def query_text(query: Mapping[str, str]) -> str:
    """?name=value&..., or an empty text."""
    return f"?{urlencode(query)}" if query else ""


class _Threads:
    """The threads in which requests are carried out; the process does not end before they are done."""

    MOST = 16

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    def start(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Call the function in a thread."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.MOST, thread_name_prefix="milepost")
        return self._executor.submit(function, *arguments)

    def forget(self) -> None:
        """To be called in a fork, which has none of the threads."""
        self._executor = None


_threads = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.forget)


async def _in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a thread and wait for its result, even if the task is cancelled meanwhile."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # on trio, where run_sync itself waits in spite of a cancellation
        return await run_sync(function, *arguments)
    work = asyncio.wrap_future(_threads.start(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return work.result()
    work.exception()  # retrieved, so that asyncio does not log that it never was
    raise cancelled
