"""Milepost's own application in this process: its connections to the database, and the answers to messages."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING
from urllib.parse import unquote

from psycopg import OperationalError
from pydantic import SecretStr

from api.context import Backends, DatabaseAway, RequestContext, as_database_away, open_backends
from api.tenant_app import make_tenant_app
from core.errors import MilepostError
from core.services.tenants import require_tenant
from core.store.migrate import require_current
from core.store.tenants import Tenant
from milepost.client.background import BACKGROUND, Result
from milepost.client.errors import Unavailable
from milepost.client.transport import Answer, Message
from milepost.embedded.autostart import Use, use_servers
from milepost.embedded.datadir import DataDir
from milepost.embedded.trust import Untrusted
from milepost.embedded.users import UsersLock

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from starlette.types import Message as AsgiMessage

    from milepost.client.local import ServerConfig

CONNECTIONS = 10
"""The most connections that one process opens for one tenant. The embedded Postgres has room for ten such processes
besides those that it runs with.
"""
_ACTOR = "python"
_log = logging.getLogger("milepost")


class CannotOpen(Exception):
    """There is no database to work with: its servers do not start, or its tables are not those of this version."""


class DatabaseAwayBecause(DatabaseAway):
    """The database is away; the text says why, since only this process reads it."""

    def __init__(self, trouble: DatabaseAway) -> None:
        MilepostError.__init__(self, _with_reason(trouble))


@dataclass(frozen=True, slots=True)
class Opened:
    """What one process has open. `use` keeps the embedded servers running; None if the database is another one."""

    pid: int
    backends: Backends
    tenant: Tenant
    use: Use | None

    def close(self) -> None:
        """Close the connections, and let the embedded servers stop."""
        self.backends.close()
        if self.use is not None:
            self.use.close()


class InProcess:
    """Answers messages for one tenant. Connects at first use, again in a fork, and when servers were replaced."""

    def __init__(self, server_config: ServerConfig, idle_lock: UsersLock | None) -> None:
        """`idle_lock` keeps idle servers running until the first message uses them."""
        self.server_config = server_config
        self._idle_lock = idle_lock
        self.max_body_bytes = server_config.settings.max_body_bytes
        self._opened: Opened | None = None
        self._is_closed = False
        # Reentrant: the garbage collector may close connections at any line, also while this thread has the lock.
        self._lock = RLock()

    async def answer(self, message: Message) -> Answer:
        """The application's answer. Raises Unavailable if there is no database to work with."""
        try:
            return await _call(self._app, message)
        except CannotOpen as trouble:
            raise Unavailable(str(trouble)) from trouble

    @contextmanager
    def context(self, *, reading: bool) -> Iterator[RequestContext]:
        """A transaction for a route of an application that serves these goals.

        Why there is no database is for the log of the application, not for its callers.
        """
        try:
            with self.own_context(reading=reading) as context:
                yield context
        except CannotOpen as trouble:
            _log.warning("%s", trouble)
            raise DatabaseAway from trouble
        except DatabaseAwayBecause as trouble:
            _log.warning("%s", trouble)
            raise DatabaseAway from trouble.__cause__

    @contextmanager
    def own_context(self, *, reading: bool, is_single: bool = False) -> Iterator[RequestContext]:
        """One transaction of the tenant, committed if the block raises nothing; with `reading` it cannot write.

        With `is_single` each statement is a transaction by itself, for a block that reads by one. Raises
        DatabaseAwayBecause for trouble with the database, CannotOpen, and NoSuchTenant.
        """
        try:
            with as_database_away(), ExitStack() as stack:
                yield self._begin(stack, reading=reading, is_single=is_single)
        except DatabaseAway as trouble:
            raise DatabaseAwayBecause(trouble) from trouble.__cause__

    def close(self) -> None:
        """Close the connections and let the servers stop, for good: a message that comes later is refused."""
        with self._lock:
            self._is_closed = True
            opened = self._opened
        if opened is not None:
            self._close(opened)

    def forget(self) -> None:
        """To be called in a fork: the thread that had the lock does not exist there."""
        self._lock = RLock()

    @cached_property
    def _app(self) -> ASGIApp:
        return make_tenant_app(self)

    async def in_thread(self, function: Callable[[], Result]) -> Result:
        """Call the function in a thread of the process's managers."""
        return await BACKGROUND.in_thread(function)

    def _begin(self, stack: ExitStack, *, reading: bool, is_single: bool) -> RequestContext:
        """Begin a transaction. Connects anew if other embedded servers run by now."""
        opened = self._open()
        try:
            return _begin(stack, opened, reading=reading, is_single=is_single)
        except OperationalError:
            if not self._were_servers_replaced(opened):
                raise
        self._close(opened)
        return _begin(stack, self._open(), reading=reading, is_single=is_single)

    def _were_servers_replaced(self, opened: Opened) -> bool:
        """Whether the embedded servers that were used have ended, or others run instead."""
        if opened.use is None:
            return False
        try:
            running = DataDir(self.server_config.settings.data_dir).servers()
        except Untrusted:
            # To open it again raises the reason.
            return True
        return running is None or running.supervisor_pid != opened.use.running.supervisor_pid

    def _close(self, opened: Opened) -> None:
        with self._lock:
            if self._opened is opened:
                self._opened = None
        # In a fork: only the parent closes what it opened.
        if opened.pid == os.getpid():
            opened.close()

    def _open(self) -> Opened:
        with self._lock:
            opened = self._opened
            if opened is not None and opened.pid != os.getpid():
                opened.backends.sessions.forget()
                opened = None
            if opened is None:
                try:
                    if self._is_closed:
                        # Nobody would close again what is opened now.
                        raise CannotOpen("the manager was closed before the call had begun")
                    opened = self._opened = _open(self.server_config)
                finally:
                    if self._idle_lock is not None:
                        self._idle_lock.release()
                        self._idle_lock = None
            return opened


def _open(server_config: ServerConfig) -> Opened:
    """Find or start the servers, and look up the tenant; raises OperationalError, CannotOpen and NoSuchTenant."""
    use, settings = None, server_config.settings
    if settings.database_url is None:
        try:
            use = use_servers(settings, say=_log.info)
        except MilepostError as failure:
            raise CannotOpen(str(failure)) from failure
        urls = {"database_url": SecretStr(use.database_url), "redis_url": SecretStr(use.redis_url)}
        settings = settings.model_copy(update=urls)
    backends = open_backends(settings, application_name="milepost-python", connections=CONNECTIONS)
    try:
        tenant = _find_tenant(backends, server_config.tenant)
    except BaseException:
        backends.close()
        if use is not None:
            use.close()
        raise
    return Opened(os.getpid(), backends, tenant, use)


def _find_tenant(backends: Backends, name: str) -> Tenant:
    try:
        require_current(backends.sessions)
    except MilepostError as refusal:
        raise CannotOpen(str(refusal)) from refusal
    with backends.sessions() as session:
        return require_tenant(session, name)


def _begin(stack: ExitStack, opened: Opened, *, reading: bool, is_single: bool) -> RequestContext:
    sessions = opened.backends.sessions
    begin = sessions.single if is_single else sessions.reading if reading else sessions.begin
    session = stack.enter_context(begin())
    return RequestContext(session, opened.tenant, datetime.now(UTC), _ACTOR, opened.backends)


def _with_reason(trouble: DatabaseAway) -> str:
    """The trouble and the first line of the database's error, which holds no password."""
    text = str(trouble)
    reason = str(trouble.__cause__ or "").partition("\n")[0]
    return f"{text}: {reason}" if reason else text


async def _call(app: ASGIApp, message: Message) -> Answer:
    """Call an ASGI application as a server does, and collect what it sends. Raises what the application raises.

    httpx2's ASGITransport does the same, and takes as long for it as the application itself for its answer.
    """
    path, _, query = message.target.partition("?")
    headers = [(name.lower().encode(), value.encode()) for name, value in message.headers.items()]
    headers.append((b"content-length", str(len(message.content)).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": message.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
        "state": {},
    }
    received = [{"type": "http.request", "body": message.content, "more_body": False}]
    started: list[AsgiMessage] = []
    parts: list[bytes] = []

    async def receive() -> AsgiMessage:
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(sent: AsgiMessage) -> None:
        if sent["type"] == "http.response.start":
            started.append(sent)
        else:
            parts.append(sent.get("body", b""))

    await app(scope, receive, send)
    (start,) = started
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, b"".join(parts))
