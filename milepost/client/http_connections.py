"""HTTP connections to a running Milepost, and its address."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakSet

import httpx2
from anyio.lowlevel import RunVar

from milepost.client.errors import InvalidField, Unavailable
from milepost.client.transport import Answer, Message

GOALS = "/goals"
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))
# Errors of the request itself: to send it again cannot help.
_HOPELESS = httpx2.UnsupportedProtocol, httpx2.LocalProtocolError


@dataclass(frozen=True, slots=True)
class Server:
    """A Milepost's address. The headers may hold the key, so repr leaves them out.

    `goals` is the path at which it serves goals, whatever else it serves.
    """

    url: str
    goals: str
    headers: Mapping[str, str]
    timeout_s: float

    def __repr__(self) -> str:
        return f"Server({self.url + self.goals!r})"

    def address(self, message: Message) -> str:
        """The address of a message."""
        own = message.target.removeprefix(GOALS)
        return self.url + (message.target if own == message.target else self.goals + own)


class AsyncHttp:
    """The connections to one server; each event loop has its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._client: RunVar[httpx2.AsyncClient | None] = RunVar("milepost client", None)

    async def send(self, message: Message) -> Answer:
        """The answer, whatever its status; raises Unavailable if there is none."""
        client = self._client.get()
        if client is None:
            client = httpx2.AsyncClient(timeout=self.server.timeout_s, headers=dict(self.server.headers))
            self._client.set(client)
        try:
            response = await client.request(**_parts(self.server, message))
        except httpx2.RequestError as error:
            raise unreachable(error, self.server) from error
        return _answer(response)

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

    def send(self, message: Message) -> Answer:
        """The answer, whatever its status; raises Unavailable if there is none."""
        try:
            response = self._client_of_process().request(**_parts(self.server, message))
        except httpx2.RequestError as error:
            raise unreachable(error, self.server) from error
        return _answer(response)

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
    all_headers = {**headers, "Accept": "application/json"}
    if api_key is not None:
        if not api_key or not _PRINTABLE.issuperset(api_key):
            raise InvalidField.of("api_key", "must be the key as it was given, in printable ASCII")
        all_headers["Authorization"] = f"Bearer {api_key}"
    for name, value in all_headers.items():
        if not (_PRINTABLE | {" "}).issuperset(str(value)):
            raise InvalidField.of("headers", f"{name} must be printable ASCII")
    if prefix and not (prefix.startswith("/") and _PRINTABLE.issuperset(prefix)):
        raise InvalidField.of("prefix", "must begin with /, such as /goals")
    return Server(_check_base_url(base_url).rstrip("/"), prefix.rstrip("/"), all_headers, timeout_s)


def _parts(server: Server, message: Message) -> dict[str, Any]:
    return {
        "method": message.method,
        "url": server.address(message),
        "headers": dict(message.headers),
        "content": message.content or None,
    }


def _answer(response: httpx2.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)


def unreachable(error: httpx2.RequestError, server: Server) -> Unavailable:
    """The error for the caller when a message got no answer."""
    why = str(error) or type(error).__name__
    unavailable = Unavailable(f"Milepost at {server.url} does not answer ({why})")
    unavailable.may_pass = not isinstance(error, _HOPELESS)
    return unavailable


def _check_base_url(base_url: str) -> str:
    """The address, if it is one of a server and nothing more. It may be shown, so it must hold no password."""
    try:
        url = httpx2.URL(base_url)
        is_one = url.scheme in {"http", "https"} and bool(url.host) and _PRINTABLE.issuperset(base_url)
    except (httpx2.InvalidURL, TypeError, ValueError):
        is_one = False
    if not is_one or url.query or url.fragment:
        raise InvalidField.of("base_url", "must be an address with its scheme, such as https://milepost.example")
    if url.userinfo:
        raise InvalidField.of("base_url", "must not hold a user or a password; give the key as api_key")
    return base_url


_instances: WeakSet[SyncHttp] = WeakSet()


def _renew_locks() -> None:
    for http in list(_instances):
        http.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
