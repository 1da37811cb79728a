"""Requests and answers in the terms of the REST interface, whoever answers; and what answers them in this process."""

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
    """One act: its name, and the request that asks for it. `path` are the segments below the goals' own address."""

    operation: str
    method: str
    path: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None

    @property
    def address(self) -> str:
        """The path below the goals' own address, without the query: "" or /goal_1/funding/savings%2F1."""
        return "".join(f"/{quote(segment, safe='')}" for segment in self.path)

    @property
    def raw_body(self) -> bytes:
        """The body as JSON in which a Decimal is a number with all its digits; empty if there is none."""
        return b"" if self.body is None else encode(self.body)

    def on_page(self, query: Mapping[str, str]) -> ApiRequest:
        """The same call for another page of its answer."""
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """The body of a good answer, and the query of the page that follows, if one does."""

    body: Any
    following: Mapping[str, str] | None = None


class AsyncTransport(Protocol):
    """What answers calls."""

    async def call(self, call: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors."""
        ...

    async def close(self) -> None:
        """Give back what is held open."""
        ...


class SyncTransport(Protocol):
    """What answers calls, and blocks meanwhile."""

    def call(self, call: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors."""
        ...

    def close(self) -> None:
        """Give back what is held open."""
        ...


class AsyncLocal:
    """A door in this process, for coroutines.

    A call that is cancelled goes on to its end, since its thread cannot be stopped in the middle, and is waited for:
    after the cancellation it is either done or refused, and never still in work.
    """

    def __init__(self, transport: SyncTransport) -> None:
        self.transport = transport

    async def call(self, call: ApiRequest) -> ApiResponse:
        """The answer; raises what the door raises."""
        return await _in_thread(self.transport.call, call)

    async def close(self) -> None:
        """Give the door back."""
        await _in_thread(self.transport.close)


class SyncLocal:
    """A door in this process, for callers that block."""

    def __init__(self, transport: SyncTransport) -> None:
        self.transport = transport

    def call(self, call: ApiRequest) -> ApiResponse:
        """The answer; raises what the door raises."""
        return self.transport.call(call)

    def close(self) -> None:
        """Give the door back."""
        self.transport.close()


def encode(body: object) -> bytes:
    """A body as JSON; Decimals become numbers with all their digits."""
    return simplejson.dumps(body, use_decimal=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode(raw: bytes) -> Any:
    """Parsed JSON; numbers with a point become Decimals. Raises ValueError."""
    return json.loads(raw, parse_float=Decimal)


def query_text(query: Mapping[str, str]) -> str:
    """?name=value&..., or nothing."""
    return f"?{urlencode(query)}" if query else ""


class _Threads:
    """The threads of this process that calls work in; the process does not end before their calls do."""

    MOST = 16

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    def start(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Begin a call in a thread."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.MOST, thread_name_prefix="milepost")
        return self._executor.submit(function, *arguments)

    def forget(self) -> None:
        """For a fork, which has none of them."""
        self._executor = None


_threads = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.forget)


async def _in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """What a function gives in a thread, waited for even if the task is cancelled meanwhile."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # on trio, where waiting in spite of a cancellation is run_sync's own way
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
    work.exception()  # looked at, so that nobody complains that it was not
    raise cancelled
