"""Where a tenant's goals are stored, and what one process has open for them: servers, connections, the tenant."""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from threading import RLock

from psycopg import OperationalError

from api.context import DatabaseAway, ReadCache
from core.errors import MilepostError
from core.services.tenants import require_tenant
from core.settings import Settings
from core.store.database import Sessions, open_sessions
from core.store.driver import Session
from core.store.migrate import require_current
from core.store.tenants import Tenant
from milepost.embedded.autostart import Use, use_servers
from milepost.embedded.datadir import DataDir
from milepost.embedded.trust import Untrusted

CONNECTIONS = 10
"""The most connections that one process opens for one tenant. The embedded Postgres has room for ten such processes
besides those that it runs with.
"""

_log = logging.getLogger("milepost")


class CannotOpen(DatabaseAway):
    """There is no database to work with: its servers do not start, or its tables are not those of this version."""

    def __init__(self, why: str) -> None:
        MilepostError.__init__(self, why)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where goals are stored, and the tenant to which they belong."""

    settings: Settings
    tenant: str


@dataclass(frozen=True, slots=True)
class Connections:
    """What one process has open. `use` keeps the embedded servers running; None if the database is another one."""

    pid: int
    sessions: Sessions
    tenant: Tenant
    read_cache: ReadCache
    use: Use | None

    def begin(self, reading: bool) -> AbstractContextManager[Session]:
        """A session that is rolled back when the block ends; raises OperationalError."""
        return self.sessions.reading() if reading else self.sessions()

    def close(self) -> None:
        """Close the connections, and let the embedded servers stop."""
        self.sessions.close()
        if self.use is not None:
            self.use.close()


class Connector:
    """Opens the connections of one process at first use; any number of threads may begin sessions."""

    def __init__(self, server_config: ServerConfig) -> None:
        self.server_config = server_config
        self._connections: Connections | None = None
        # Reentrant: the garbage collector may close connections at any line, also while this thread has the lock.
        self._lock = RLock()

    @contextmanager
    def begin(self, reading: bool) -> Iterator[tuple[Connections, Session]]:
        """A session, and the connections that it is of. Connects anew if other embedded servers run by now.

        Raises OperationalError, CannotOpen and NoSuchTenant.
        """
        with ExitStack() as stack:
            connections = self._open()
            try:
                session = stack.enter_context(connections.begin(reading))
            except OperationalError:
                if not self._were_servers_replaced(connections):
                    raise
                self._close(connections)
                connections = self._open()
                session = stack.enter_context(connections.begin(reading))
            yield connections, session

    def close(self) -> None:
        """Close what is open; the next session opens it again."""
        with self._lock:
            connections = self._connections
        if connections is not None:
            self._close(connections)

    def renew_lock(self) -> None:
        """To be called in a fork: the thread that had the lock does not exist there."""
        self._lock = RLock()

    def _were_servers_replaced(self, connections: Connections) -> bool:
        """Whether the embedded servers that were used have ended, or others run instead."""
        if connections.use is None:
            return False
        try:
            running = DataDir(self.server_config.settings.data_dir).servers()
        except Untrusted:
            # To open it again raises the reason.
            return True
        return running is None or running.supervisor_pid != connections.use.running.supervisor_pid

    def _close(self, connections: Connections) -> None:
        with self._lock:
            if self._connections is connections:
                self._connections = None
        # In a fork: only the parent closes what it opened.
        if connections.pid == os.getpid():
            connections.close()

    def _open(self) -> Connections:
        with self._lock:
            connections = self._connections
            if connections is not None and connections.pid != os.getpid():
                connections.sessions.forget()
                connections = None
            if connections is None:
                connections = self._connections = _open(self.server_config)
            return connections


def _open(server_config: ServerConfig) -> Connections:
    """Find or start the servers, and look up the tenant; raises OperationalError, CannotOpen and NoSuchTenant."""
    use = None
    if server_config.settings.database_url is None:
        try:
            use = use_servers(server_config.settings, say=_log.info)
        except MilepostError as failure:
            raise CannotOpen(str(failure)) from failure
    sessions = open_sessions(
        use.database_url if use is not None else server_config.settings,
        application_name="milepost-python",
        connections=CONNECTIONS,
        kept=CONNECTIONS // 2,
    )
    try:
        tenant = _find_tenant(sessions, server_config.tenant)
    except BaseException:
        sessions.close()
        if use is not None:
            use.close()
        raise
    cache = ReadCache(server_config.settings.read_cache_seconds)
    return Connections(os.getpid(), sessions, tenant, cache, use)


def _find_tenant(sessions: Sessions, name: str) -> Tenant:
    try:
        require_current(sessions)
    except MilepostError as refusal:
        raise CannotOpen(str(refusal)) from refusal
    with sessions() as session:
        return require_tenant(session, name)
