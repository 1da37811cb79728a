"""The door to one tenant in this process: its servers, its connections, and the transaction of each call."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from api.backends import reading_sessions
from api.doors import DatabaseAway, Visit, database_trouble_told
from api.errors import refusal_of
from api.read_cache import ReadCache
from core.errors import MilepostError
from core.requests.answer_once import KeyedRequest, find_answer, keep_answer
from core.requests.tenants import require_tenant
from core.settings import Settings
from core.store.engine import is_undone, make_engine, session_factory
from core.store.migrate import is_current
from core.store.tenants import Tenant
from milepost.embedded.begin import Use, use_servers
from milepost.errors import refusal
from milepost.local.acts import ACTS
from milepost.wire import Answer, Call, decode, encode

CONNECTIONS = 20
"""The most that one process holds to the database for one tenant."""
_TRIES = 3
_GOALS = "/goals"
_log = logging.getLogger("milepost")


class NotOpened(DatabaseAway):
    """There is no database to work with: its servers do not start, or its tables are not those of this version."""

    def __init__(self, why: str) -> None:
        MilepostError.__init__(self, why)


@dataclass(frozen=True, slots=True)
class Place:
    """Where goals are kept, and whose they are."""

    settings: Settings
    tenant: str


@dataclass(frozen=True, slots=True)
class _Opened:
    """What one process holds open; `use` is its hold on the embedded servers, None where the database is another."""

    pid: int
    engine: Engine
    writing: sessionmaker[Session]
    reading: sessionmaker[Session]
    tenant: Tenant
    read_cache: ReadCache
    use: Use | None

    def session(self, reading: bool) -> Session:
        return (self.reading if reading else self.writing)()

    def close(self) -> None:
        self.engine.dispose()
        if self.use is not None:
            self.use.close()


class LocalDoor:
    """Answers calls from Postgres; opens at the first one, and anew in a fork or when its servers have gone."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.max_body_bytes = place.settings.max_body_bytes
        self._opened: _Opened | None = None
        self._lock = Lock()

    def call(self, call: Call) -> Answer:
        """The answer, in one transaction. Raises the errors of milepost.errors, made as a client makes them."""
        for left in reversed(range(_TRIES)):
            try:
                return Answer(self._answer(call))
            except DatabaseAway as trouble:
                # A deadlock or a failed serialization has left nothing behind, so the same call can be made again.
                if left == 0 or not is_undone(trouble.__cause__ or trouble):
                    raise self._refused(trouble, call) from trouble
            except MilepostError as error:
                raise self._refused(error, call) from None
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def visit(self, *, reading: bool) -> Iterator[Visit]:
        """One transaction of the tenant, committed when the block ends well; `reading` cannot write.

        Raises DatabaseAway for trouble with the database, NotOpened where there is none to work with, and NoSuchTenant.
        """
        try:
            with database_trouble_told():
                opened, session = self._begin(reading)
                with session:  # rolls back what was not committed
                    yield Visit(session, opened.tenant, datetime.now(UTC), opened.read_cache)
                    session.commit()
        except DatabaseAway as trouble:
            # Callers are told that it is away, and only the log why.
            _log.warning("%s: %s", trouble, trouble.__cause__ or "")
            raise

    def close(self) -> None:
        """Give back the connections and the hold on the servers; the next call opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.close()

    def _answer(self, call: Call) -> Any:
        with self.visit(reading=call.method == "GET") as visit:
            act, status = ACTS[call.act]
            if call.idempotency_key is None:
                return act(visit, call)
            route = f"{call.method} {_GOALS}{call.address}"
            request = KeyedRequest(call.idempotency_key, route, hashlib.sha256(call.raw_body).digest())
            found = find_answer(visit.session, visit.tenant, request, visit.now)
            if found is not None:
                return decode(found.body) if found.body else None
            body = act(visit, call)
            location = f"{_GOALS}/{body['id']}" if call.act == "create_goal" else None
            raw = b"" if body is None else encode(body)
            keep_answer(visit.session, visit.tenant, request, status=status, location=location, body=raw)
            return body

    def _begin(self, reading: bool) -> tuple[_Opened, Session]:
        """A session that has its connection. Where the embedded servers have gone, they are started once more."""
        opened = self._open()
        session = opened.session(reading)
        try:
            session.connection()
        except OperationalError:
            session.close()
            if opened.use is None:
                raise
            self.close()
            opened = self._open()
            session = opened.session(reading)
            session.connection()
        return opened, session

    def _open(self) -> _Opened:
        with self._lock:
            opened = self._opened
            if opened is not None and opened.pid != os.getpid():
                # A fork has the parent's connections, which are the parent's to close.
                opened.engine.dispose(close=False)
                opened = None
            if opened is None:
                opened = self._opened = _open(self.place)
            return opened

    def _refused(self, error: MilepostError, call: Call) -> Exception:
        refused = refusal_of(error, method=call.method)
        return error if refused is None else refusal(refused.status, refused.problem)


def _open(place: Place) -> _Opened:
    """Find or start the servers, and look up the tenant; raises NotOpened and NoSuchTenant."""
    url, use = place.settings.database_url, None
    if url is None:
        try:
            use = use_servers(place.settings, say=_log.info)
        except MilepostError as failure:
            raise NotOpened(str(failure)) from failure
    engine = make_engine(
        use.database_url if use is not None else place.settings,
        application_name="milepost-python",
        pool_size=CONNECTIONS // 2,
        max_overflow=CONNECTIONS - CONNECTIONS // 2,
    )
    try:
        tenant = _find_tenant(engine, place.tenant)
    except BaseException:
        engine.dispose()
        if use is not None:
            use.close()
        raise
    cache = ReadCache(place.settings.read_cache_seconds)
    return _Opened(os.getpid(), engine, session_factory(engine), reading_sessions(engine), tenant, cache, use)


def _find_tenant(engine: Engine, name: str) -> Tenant:
    if not is_current(engine):
        raise NotOpened("The database does not have the tables of this version: run `milepost migrate`")
    with session_factory(engine)() as session:
        return require_tenant(session, name)
