"""Where a tenant's goals are kept, and what one process holds open there: servers, connections, the tenant itself."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from threading import RLock

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from api.context import DatabaseAway, ReadCache, reading_sessions
from core.errors import MilepostError
from core.services.tenants import require_tenant
from core.settings import Settings
from core.store.engine import make_engine, session_factory
from core.store.migrate import require_current
from core.store.tenants import Tenant
from milepost.embedded.autostart import Use, use_servers
from milepost.embedded.datadir import DataDir
from milepost.embedded.trust import Untrusted

CONNECTIONS = 10
"""The most that one process holds for one tenant: ten such processes fit beside what the embedded Postgres serves."""

_log = logging.getLogger("milepost")


class NotOpened(DatabaseAway):
    """There is no database to work with: its servers do not start, or its tables are not those of this version."""

    def __init__(self, why: str) -> None:
        MilepostError.__init__(self, why)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where goals are kept, and whose they are."""

    settings: Settings
    tenant: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What one process holds open; `use` is its hold on the embedded servers, None where the database is another."""

    pid: int
    engine: Engine
    writing: sessionmaker[Session]
    reading: sessionmaker[Session]
    tenant: Tenant
    read_cache: ReadCache
    use: Use | None

    def session(self, reading: bool) -> Session:
        """A session that has its connection; raises OperationalError."""
        session = (self.reading if reading else self.writing)()
        try:
            session.connection()
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        """Give all of it back."""
        self.engine.dispose()
        if self.use is not None:
            self.use.close()


class Opening:
    """A place as one process has it open, or not yet; any number of threads may begin sessions."""

    def __init__(self, server_config: ServerConfig) -> None:
        self.server_config = server_config
        self._opened: Opened | None = None
        # The garbage collector may close a place at any line, also of the thread that has the lock.
        self._lock = RLock()

    def begin(self, reading: bool) -> tuple[Opened, Session]:
        """A session with its connection; where the embedded servers are others by now, of those.

        Raises OperationalError, NotOpened and NoSuchTenant.
        """
        opened = self._open()
        try:
            return opened, opened.session(reading)
        except OperationalError:
            if not self._has_moved(opened):
                raise
        self._close(opened)
        opened = self._open()
        return opened, opened.session(reading)

    def close(self) -> None:
        """Give back what is held open; the next session opens it again."""
        with self._lock:
            opened = self._opened
        if opened is not None:
            self._close(opened)

    def renew_lock(self) -> None:
        """For a fork: the thread that held the lock is not there any more."""
        self._lock = RLock()

    def _has_moved(self, opened: Opened) -> bool:
        """Whether the servers that were used have ended, or others run in their place."""
        if opened.use is None:
            return False
        try:
            running = DataDir(self.server_config.settings.data_dir).servers()
        except Untrusted:
            # Opening it anew refuses it with the reason.
            return True
        return running is None or running.supervisor_pid != opened.use.running.supervisor_pid

    def _close(self, opened: Opened) -> None:
        with self._lock:
            if self._opened is opened:
                self._opened = None
        # What a parent opened is the parent's to close.
        if opened.pid == os.getpid():
            opened.close()

    def _open(self) -> Opened:
        with self._lock:
            opened = self._opened
            if opened is not None and opened.pid != os.getpid():
                opened.engine.dispose(close=False)
                opened = None
            if opened is None:
                opened = self._opened = _open(self.server_config)
            return opened


def _open(server_config: ServerConfig) -> Opened:
    """Find or start the servers, and look up the tenant; raises OperationalError, NotOpened and NoSuchTenant."""
    use = None
    if server_config.settings.database_url is None:
        try:
            use = use_servers(server_config.settings, say=_log.info)
        except MilepostError as failure:
            raise NotOpened(str(failure)) from failure
    engine = make_engine(
        use.database_url if use is not None else server_config.settings,
        application_name="milepost-python",
        pool_size=CONNECTIONS // 2,
        max_overflow=CONNECTIONS - CONNECTIONS // 2,
    )
    try:
        tenant = _find_tenant(engine, server_config.tenant)
    except BaseException:
        engine.dispose()
        if use is not None:
            use.close()
        raise
    cache = ReadCache(server_config.settings.read_cache_seconds)
    return Opened(os.getpid(), engine, session_factory(engine), reading_sessions(engine), tenant, cache, use)


def _find_tenant(engine: Engine, name: str) -> Tenant:
    try:
        require_current(engine)
    except MilepostError as refusal:
        raise NotOpened(str(refusal)) from refusal
    with session_factory(engine)() as session:
        return require_tenant(session, name)
