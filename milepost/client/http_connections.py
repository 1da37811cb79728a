"""HTTP connections to a running Milepost: its address, how often a request is sent, and what a response means."""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakSet

import httpx2
import tenacity
from anyio.lowlevel import RunVar

from milepost.client.errors import InvalidField, MilepostError, ServerFault, Unavailable, refusal
from milepost.client.transport import ApiResponse, decode

_LONGEST_PAUSE_S = 5.0
_LONGEST_RETRY_AFTER_S = 30.0
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))
# Errors of the request itself: to send it again cannot help.
_HOPELESS = httpx2.UnsupportedProtocol, httpx2.LocalProtocolError


@dataclass(frozen=True, slots=True)
class Server:
    """A Milepost's address. `url` is that of its goals. The headers may hold the key, so repr leaves them out."""

    url: str
    headers: Mapping[str, str]
    timeout_s: float

    def __repr__(self) -> str:
        return f"Server({self.url!r})"


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is sent, for how long in all, and how long the first pause is; each pause doubles."""

    attempts: int
    total_s: float
    first_pause_s: float

    @property
    def stop(self) -> tenacity.stop.stop_base:
        """The rule that ends the tries: enough of them, or no time for another."""
        return tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.total_s)

    def pause_s(self, state: tenacity.RetryCallState) -> float:
        """How long to wait after a try: as the server said, else longer each time, and random to spread the clients."""
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, MilepostError) and error.retry_after_s is not None:
            return min(error.retry_after_s, _LONGEST_RETRY_AFTER_S)
        pause_s: float = self.first_pause_s * 2 ** (state.attempt_number - 1)
        return min(pause_s, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Message:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None


class AsyncHttp:
    """The connections to one server; each event loop has its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._client: RunVar[httpx2.AsyncClient | None] = RunVar("milepost client", None)

    async def send(self, message: Message) -> httpx2.Response:
        """The answer, whatever its status; raises httpx2.TransportError."""
        client = self._client.get()
        if client is None:
            client = httpx2.AsyncClient(timeout=self.server.timeout_s, headers=dict(self.server.headers))
            self._client.set(client)
        return await client.request(message.method, message.url, headers=dict(message.headers), content=message.content)

    async def close(self) -> None:
        """Close the connections of this event loop; the next message opens new ones."""
        client = self._client.get()
        if client is not None:
            self._client.set(None)
            await client.aclose()


class SyncHttp:
    """The connections to one server; each process has its own, and any number of its threads may use them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._client: tuple[int, httpx2.Client] | None = None
        self._lock = Lock()
        _instances.add(self)

    def send(self, message: Message) -> httpx2.Response:
        """The answer, whatever its status; raises httpx2.TransportError."""
        return self._client_of_process().request(
            message.method, message.url, headers=dict(message.headers), content=message.content
        )

    def close(self) -> None:
        """Close the connections; the next message opens new ones."""
        with self._lock:
            connected, self._client = self._client, None
        if connected is not None and connected[0] == os.getpid():
            connected[1].close()

    def renew_lock(self) -> None:
        """To be called in a fork: the thread that had the lock does not exist there."""
        self._lock = Lock()

    def _client_of_process(self) -> httpx2.Client:
        with self._lock:
            if self._client is None or self._client[0] != os.getpid():
                client = httpx2.Client(timeout=self.server.timeout_s, headers=dict(self.server.headers))
                self._client = os.getpid(), client
            return self._client[1]


def server_at(base_url: str, prefix: str, api_key: str | None, headers: Mapping[str, str], timeout_s: float) -> Server:
    """The server at an address; raises InvalidField for what cannot be an address, a prefix, a key or a header."""
    all_headers = {**headers, "Content-Type": "application/json", "Accept": "application/json"}
    if api_key is not None:
        if not api_key or not _PRINTABLE.issuperset(api_key):
            raise InvalidField.of("api_key", "must be the key as it was given, in printable ASCII")
        all_headers["Authorization"] = f"Bearer {api_key}"
    for name, value in all_headers.items():
        if not (_PRINTABLE | {" "}).issuperset(str(value)):
            raise InvalidField.of("headers", f"{name} must be printable ASCII")
    if prefix and not (prefix.startswith("/") and _PRINTABLE.issuperset(prefix)):
        raise InvalidField.of("prefix", "must begin with /, such as /goals")
    return Server(_check_base_url(base_url).rstrip("/") + prefix.rstrip("/"), all_headers, timeout_s)


def answer_of(response: httpx2.Response) -> ApiResponse:
    """The answer in a response of success; raises the error of any other response."""
    body = _parse_body(response)
    if response.is_success:
        following = response.links.get("next", {}).get("url")
        query = None if following is None else dict(parse_qsl(urlsplit(following).query, keep_blank_values=True))
        return ApiResponse(body, query)
    if response.status_code < 400:
        raise ServerFault(f"Milepost answered {response.status_code}: is base_url its own address?")
    raise refusal(response.status_code, body, response.headers.get("Retry-After"))


def may_try_again(error: BaseException) -> bool:
    """Whether the same request may succeed at another try."""
    if isinstance(error, httpx2.TransportError):
        return not isinstance(error, _HOPELESS)
    return isinstance(error, Unavailable)


def unreachable(error: httpx2.RequestError, server: Server) -> Unavailable:
    """The error for the caller when no try got an answer."""
    why = str(error) or type(error).__name__
    return Unavailable(f"Milepost at {server.url} does not answer ({why})")


def _check_base_url(base_url: str) -> str:
    """The address, if it is one of a server and nothing more. It may be shown, so it must hold no password."""
    try:
        url = httpx2.URL(base_url)
        is_one = url.scheme in {"http", "https"} and bool(url.host) and _PRINTABLE.issuperset(base_url)
    except (httpx2.InvalidURL, TypeError, ValueError):
        is_one = False
    if not is_one or url.query or url.fragment:
        raise InvalidField.of("base_url", "must be an address such as https://milepost.example")
    if url.userinfo:
        raise InvalidField.of("base_url", "must not hold a user or a password; give the key as api_key")
    return base_url


def _parse_body(response: httpx2.Response) -> object:
    if not response.content:
        return None
    try:
        return decode(response.content)
    except ValueError:
        if response.is_success:
            raise ServerFault("Milepost answered with what is no JSON: is base_url its own address?") from None
        return None


_instances: WeakSet[SyncHttp] = WeakSet()


def _renew_locks() -> None:
    for http in list(_instances):
        http.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
