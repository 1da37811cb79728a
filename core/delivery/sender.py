"""HTTP to the addresses that tenants give us: whatever is at the other end, a send ends in time and as an outcome."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from ipaddress import ip_address
from types import TracebackType
from typing import Any

from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from core.delivery.addresses import AddressRules, check_url, is_allowed
from core.errors import InvalidField

ANSWER_KEPT_BYTES = 1_024
ANSWER_MOST_BYTES = 16 * 1_024
"""How much of an answer is read, its headers included; then the connection is closed."""
BODY_MOST_S = 1.0
"""How long the body of an answer may take after its headers."""
RETRY_AFTER_LONGEST_S = 86_400.0
# Shorter than the five seconds after which many servers close an idle connection.
_IDLE_S = 4.0
_NAMES_KEPT_S = 5
_LOOKUPS_MOST = 32
# More addresses of one name are not tried; all are checked.
_ADDRESSES_TRIED = 8
_URLS_KEPT = 4_096
_DATE_LONGEST = 64
_CLOSED = "the connection was closed before the answer was complete"

Resolve = Callable[[str, int], list[str]]
"""Looks up the addresses of a name for a port; raises OSError."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one send: a status, or an error as text for people, and never both.

    The status counts as soon as the headers are complete, whatever comes of the body. `answer` is the beginning of the
    body, at most ANSWER_KEPT_BYTES, as it was sent (compressed, if the receiver did that). `retry_after_s` is None
    unless the receiver gave one that can be understood.
    """

    status: int | None
    error: str | None
    latency_ms: int
    answer: bytes = b""
    retry_after_s: float | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken the message: it answered with a status from 200 to 299."""
        return self.status is not None and 200 <= self.status <= 299


class Sender:
    """Posts messages to URLs, any number at the same time. Use it as an async context manager.

    Idle connections are kept for a few seconds for the next message to the same scheme, host and port; nothing else is
    kept of an exchange. A message may arrive twice: if a connection that was kept is closed just as we send, the
    receiver may have read it, and it is sent once more.
    """

    def __init__(
        self,
        rules: AddressRules,
        *,
        user_agent: str,
        timeout_s: float = 10.0,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._resolver = _CheckedResolver(rules, resolve or look_up, timeout_s)
        self._tls = tls or ssl.create_default_context()
        # What is allowed does not change while this lives, so that a URL is checked once and not for each message.
        self._checked = lru_cache(_URLS_KEPT)(partial(_checked, rules=rules))

    async def __aenter__(self) -> Sender:
        connector = TCPConnector(
            resolver=self._resolver, ttl_dns_cache=_NAMES_KEPT_S, limit=0, keepalive_timeout=_IDLE_S, ssl=self._tls
        )
        # There is no other way to limit what a connection reads before the headers are complete, and when it is idle.
        connector._factory = partial(_Connection, loop=asyncio.get_running_loop())  # type: ignore[assignment]  # a subclass
        self._session = ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._resolver.close()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Post a message and wait for the answer; redirects are not followed.

        Raises nothing that a receiver, its name or its certificate could bring about.
        """
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        until_s = begun_s + self._timeout_s
        try:
            async with asyncio.timeout_at(until_s):
                response = await self._post(self._checked(url), headers, body)
        except (InvalidField, TimeoutError, ClientError, OSError) as error:
            return Outcome(None, _describe(error, self._timeout_s), _since_ms(begun_s))
        answer = await _read(response, min(until_s, loop.time() + BODY_MOST_S))
        retry_after_s = read_retry_after(response.headers.get("Retry-After"))
        return Outcome(response.status, None, _since_ms(begun_s), answer, retry_after_s)

    async def _post(self, target: URL, headers: Mapping[str, str], body: bytes) -> ClientResponse:
        try:
            return await self._session.post(target, headers=headers, data=body, allow_redirects=False)
        except _ClosedWhenIdle:
            return await self._session.post(target, headers=headers, data=body, allow_redirects=False)


class _Unreachable(OSError):
    """A name leads to no address that messages may be sent to; the text is for people."""


class _ClosedWhenIdle(ClientConnectionError):
    """A connection that had been kept was closed before anything of an answer came."""


class _TooLong(ClientConnectionError):
    """The headers of an answer did not end within ANSWER_MOST_BYTES."""


class _Connection(ResponseHandler):
    """A connection that reads at most ANSWER_MOST_BYTES from the beginning of one request to that of the next."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._requests = 0
        self._read_bytes = 0

    def set_response_params(self, **params: Any) -> None:
        """Begin a request."""
        self._requests += 1
        self._read_bytes = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Parse what came, up to the limit."""
        left = max(0, ANSWER_MOST_BYTES - self._read_bytes)
        self._read_bytes += len(data)
        super().data_received(data[:left])
        if len(data) > left and self.transport is not None:
            self.set_exception(_TooLong())
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell a connection that was too old from one that the receiver closed because of the message."""
        if self._requests > 1 and not self._read_bytes:
            self.set_exception(_ClosedWhenIdle())
        super().connection_lost(exc)

    def close(self) -> None:
        """Close at once: a transport would wait, for ever if need be, until the receiver has read all that we wrote."""
        self.abort()


class _CheckedResolver(AbstractResolver):
    """Looks names up in threads of its own and lets no address through that is not allowed.

    The connection is made to exactly these addresses, so that no second lookup can give others.
    """

    def __init__(self, rules: AddressRules, resolve: Resolve, timeout_s: float) -> None:
        self._rules = rules
        self._resolve = resolve
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(_LOOKUPS_MOST, thread_name_prefix="lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name, all of them allowed; raises OSError."""
        until_s = time.monotonic() + self._timeout_s
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._look_up_in_time, host, port, until_s
        )
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in found[:_ADDRESSES_TRIED]
        ]

    async def close(self) -> None:
        """Drop the lookups that no thread has begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look_up_in_time(self, host: str, port: int, until_s: float) -> list[str]:
        # Nobody waits any longer. Lookups that hang keep the others waiting for a thread, but leave no queue behind.
        if time.monotonic() > until_s:
            raise _Unreachable(f"the lookup of the name {host} waited too long for its turn")
        try:
            addresses = [ip_address(each) for each in self._resolve(host, port)]
        except ValueError:
            addresses = []
        if not addresses:
            raise socket.gaierror
        # Which address that is, is not said: the name may be one of the operator's own network.
        if not all(is_allowed(each, self._rules) for each in addresses):
            raise _Unreachable(f"the name {host} leads to an address that is not allowed")
        return list(map(str, addresses))


def look_up(host: str, port: int) -> list[str]:
    """The addresses that the system has for a name; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in found]


def read_retry_after(text: str | None) -> float | None:
    """Seconds to wait by a Retry-After field, from 0 to RETRY_AFTER_LONGEST_S; None if it can't be understood."""
    if text is None or len(text) > _DATE_LONGEST:
        return None
    if re.fullmatch(r"[0-9]{1,20}", text):
        return min(float(text), RETRY_AFTER_LONGEST_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    wait_s = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return min(max(wait_s, 0.0), RETRY_AFTER_LONGEST_S)


def _checked(url: str, *, rules: AddressRules) -> URL:
    """The URL for aiohttp, as it is; raises InvalidField. If it has an address for a host, no resolver sees that."""
    return URL(check_url(url, rules), encoded=True)


async def _read(response: ClientResponse, until_s: float) -> bytes:
    """The beginning of the body, as much as came in time. A connection that has more to come is closed."""
    answer = bytearray()
    try:
        async with asyncio.timeout_at(until_s):
            while chunk := await response.content.readany():
                answer += chunk[: ANSWER_KEPT_BYTES - len(answer)]
    except (TimeoutError, ClientError, OSError):
        # The status is there, and that is what counts.
        pass
    finally:
        # Does nothing if the body was read to its end: the connection was kept then.
        response.close()
    return bytes(answer)


def _since_ms(begun_s: float) -> int:
    return round((asyncio.get_running_loop().time() - begun_s) * 1_000)


def _describe(error: Exception, timeout_s: float) -> str:
    """Why there is no answer, in plain text without anything that the receiver wrote."""
    match error:
        case InvalidField():
            return f"the URL {error.message}"
        case TimeoutError():
            return f"timed out after {timeout_s:g} s"
        case ClientConnectorCertificateError():
            return f"certificate: {_certificate_error(error.certificate_error)}"
        case ClientConnectorError():
            return _describe_connecting(error.os_error, error.host)
        case ClientResponseError() | _TooLong():
            return "the answer is not HTTP, or its headers are too long"
        case _:
            return _CLOSED


def _describe_connecting(error: OSError, host: str) -> str:
    match error:
        case _Unreachable():
            return str(error)
        case socket.gaierror():
            return f"the name {host} does not resolve"
        case ssl.SSLError():
            return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
        case _ if error.errno:
            return f"cannot connect: {os.strerror(error.errno).lower()}"
        case _:
            return "cannot connect"


def _certificate_error(error: Exception) -> str:
    text = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else "is not valid"
    return text.removeprefix("certificate ").rstrip(".")
