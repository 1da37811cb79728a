"""The in-process transport: requests answered from the database, each done once, over shared connections."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any
from uuid import uuid4
from weakref import finalize

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from api.context import DatabaseAway, RequestContext, as_database_away
from api.errors import refusal_of
from api.idempotency import route_of
from core.errors import MilepostError, SettingsError
from core.services.idempotency import KeyedRequest, find_answer, keep_answer, keep_first_answer
from core.settings import load_settings
from core.store.engine import is_database_trouble, is_undone
from core.store.tenants import DEFAULT
from milepost.client.errors import InvalidField, Unavailable, refusal, with_key
from milepost.client.errors import MilepostError as FaceError
from milepost.client.operations import OPERATIONS
from milepost.client.server_config import Opening, ServerConfig
from milepost.client.transport import ApiRequest, ApiResponse, decode, encode
from milepost.embedded.trust import Untrusted, require_trusted_links

_TRIES = 3
# Servers that were killed are back within a few seconds.
_DOUBT_PATIENCE_S = 15.0
_DOUBT_PAUSE_S = 0.2
_GOALS = "/goals"
_log = logging.getLogger("milepost")


class CommitInDoubt(DatabaseAway):
    """The connection ended within the commit: whether it was done is not known."""


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A call under its key; one of its own, that was not sent yet, cannot have an answer."""

    call: ApiRequest
    request: KeyedRequest | None
    is_new: bool

    @classmethod
    def of(cls, call: ApiRequest) -> _Keyed:
        if call.method == "GET":
            return cls(call, None, is_new=False)
        key = call.idempotency_key or str(uuid4())
        route = route_of(call.method, "/".join((_GOALS, *call.path)))
        request = KeyedRequest(key, route, hashlib.sha256(call.raw_body).digest())
        return cls(call, request, is_new=call.idempotency_key is None)

    @property
    def key(self) -> str | None:
        return None if self.request is None else self.request.key


class InProcessTransport:
    """Answers calls from Postgres; opens at the first one, and anew in a fork or when its servers have gone."""

    def __init__(self, server_config: ServerConfig) -> None:
        self.server_config = server_config
        self.max_body_bytes = server_config.settings.max_body_bytes
        self._opening = Opening(server_config)

    def call(self, call: ApiRequest) -> ApiResponse:
        """The answer, in one transaction. Raises the errors of milepost.client.errors, made as a client makes them."""
        keyed = _Keyed.of(call)
        try:
            return ApiResponse(self._tried(keyed))
        except MilepostError as error:
            raise _refused(error, keyed) from None

    @contextmanager
    def context(self, *, reading: bool) -> Iterator[RequestContext]:
        """One transaction of the tenant, committed when the block ends well; `reading` cannot write.

        Raises DatabaseAway for trouble with the database, CommitInDoubt for such that came with the commit, NotOpened
        where there is no database to work with, and NoSuchTenant.
        """
        try:
            with as_database_away():
                opened, session = self._opening.begin(reading)
                with session:  # rolls back what was not committed
                    yield RequestContext(session, opened.tenant, datetime.now(UTC), opened.read_cache)
                    _commit(session)
        except DatabaseAway as trouble:
            # The callers of an application's routes are told that it is away, and only the log why.
            _log.warning("%s", _with_reason(trouble))
            raise

    def close(self) -> None:
        """Give back the connections and the hold on the servers; the next call opens them again."""
        self._opening.close()

    def renew_lock(self) -> None:
        """For a fork: the thread that held the lock is not there any more."""
        self._opening.renew_lock()

    def _tried(self, keyed: _Keyed) -> Any:
        undone, doubt_since = 0, None
        while True:
            try:
                return self._answer(keyed)
            except DatabaseAway as trouble:
                if isinstance(trouble, CommitInDoubt) and keyed.request is not None and doubt_since is None:
                    keyed, doubt_since = replace(keyed, is_new=False), time.monotonic()
                undone += is_undone(trouble.__cause__ or trouble)
                is_doubtful = doubt_since is not None and time.monotonic() - doubt_since < _DOUBT_PATIENCE_S
                if not is_doubtful and not (is_undone(trouble.__cause__ or trouble) and undone < _TRIES):
                    if doubt_since is not None:
                        raise CommitInDoubt from trouble.__cause__ or trouble
                    raise
                if is_doubtful:
                    time.sleep(_DOUBT_PAUSE_S)

    def _answer(self, keyed: _Keyed) -> Any:
        call, request = keyed.call, keyed.request
        with self.context(reading=request is None) as context:
            operation, status = OPERATIONS[call.operation]
            if request is None:
                return operation(context, call)
            if not keyed.is_new:
                found = find_answer(context.session, context.tenant, request, context.now)
                if found is not None:
                    return decode(found.body) if found.body else None
            body = operation(context, call)
            raw = b"" if body is None else encode(body)
            location = f"{_GOALS}/{body['id']}" if call.operation == "create_goal" else None
            if keyed.is_new:
                keep_first_answer(
                    context.session, context.tenant, request, context.now, status=status, location=location, body=raw
                )
            else:
                keep_answer(context.session, context.tenant, request, status=status, location=location, body=raw)
            return body


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        if is_database_trouble(error) and not is_undone(error):
            raise CommitInDoubt from error
        raise


def _refused(error: MilepostError, keyed: _Keyed) -> Exception:
    if isinstance(error, DatabaseAway):
        return _unavailable(error, keyed)
    refused = refusal_of(error, method=keyed.call.method)
    if refused is None:
        return error
    found: FaceError = refusal(refused.status, refused.problem, refused.headers.get("Retry-After"))
    return with_key(found, keyed.key)


def _unavailable(trouble: DatabaseAway, keyed: _Keyed) -> FaceError:
    """What an application is told in its own process: why, and after a commit in doubt that nobody knows."""
    found = Unavailable(_with_reason(trouble))
    if isinstance(trouble, CommitInDoubt):
        return with_key(found, keyed.key)
    found.idempotency_key = keyed.key
    return found


def _with_reason(trouble: DatabaseAway) -> str:
    """The trouble and the first line of what the database said; there is no password in it."""
    text = str(trouble)
    reason = str(trouble.__cause__ or "").partition("\n")[0].removeprefix("(psycopg.OperationalError) ")
    return text if not reason or reason == text else f"{text}: {reason}"


_CLOSED = "this manager is closed"
_transports: dict[ServerConfig, InProcessTransport] = {}
_handles: Counter[ServerConfig] = Counter()
_lock = RLock()  # a lease may be given back by the garbage collector, at any line


class ConnectionHandle:
    """One manager's share of a door; given back by `close`, at the latest when nobody has the manager any more."""

    def __init__(self, transport: InProcessTransport) -> None:
        self.transport = transport
        self._give_back = finalize(self, _release, transport.server_config)

    def call(self, call: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors, and RuntimeError after `close`."""
        return self._open_transport().call(call)

    def context(self, *, reading: bool) -> AbstractContextManager[RequestContext]:
        """A transaction for a route of an application that serves the manager's goals; as InProcessTransport.visit."""
        return self._open_transport().context(reading=reading)

    @property
    def max_body_bytes(self) -> int:
        """The longest body that such a route takes."""
        return self.transport.max_body_bytes

    def close(self) -> None:
        """Give the share back; closing twice is harmless."""
        self._give_back()

    def _open_transport(self) -> InProcessTransport:
        if not self._give_back.alive:
            raise RuntimeError(_CLOSED)
        return self.transport


class BorrowedHandle:
    """The door of a place that a manager keeps open; it keeps it open too, but only while it is called."""

    def __init__(self, server_config: ServerConfig) -> None:
        self._server_config = server_config

    def call(self, call: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors, and RuntimeError once the place was closed."""
        with _lock:
            transport = _transports.get(self._server_config)
            if transport is None:
                raise RuntimeError(_CLOSED)
            _handles[self._server_config] += 1
        try:
            return transport.call(call)
        finally:
            _release(self._server_config)

    def close(self) -> None:
        """There is nothing to give back."""


def server_config_of(
    database_url: str | None, redis_url: str | None, tenant: str | None, data_dir: str | Path | None
) -> ServerConfig:
    """The place that these name; what is not given comes from the environment. Raises InvalidField."""
    folder = None if data_dir is None else _resolved(Path(data_dir).expanduser())
    try:
        settings = load_settings(database_url=database_url, redis_url=redis_url, data_dir=folder)
    except SettingsError as error:
        raise InvalidField(str(error)) from None
    return ServerConfig(settings, DEFAULT if tenant is None else tenant)


def _resolved(folder: Path) -> Path:
    """One folder is one place, however its path is written; with a link of another user in it, it is refused later."""
    try:
        require_trusted_links(folder)
    except (Untrusted, OSError):
        return folder.absolute()
    return folder.resolve()


def open_handle(server_config: ServerConfig) -> ConnectionHandle:
    """A share of the door of a place; nothing is opened before the first call."""
    with _lock:
        transport = _transports.setdefault(server_config, InProcessTransport(server_config))
        _handles[server_config] += 1
        return ConnectionHandle(transport)


def server_configs() -> list[ServerConfig]:
    """The places that are in use in this process."""
    with _lock:
        return list(_transports)


def borrow_handle() -> BorrowedHandle | None:
    """The door of the only place that is in use; None if none is. Raises InvalidField if several are."""
    found = server_configs()
    if len(found) > 1:
        raise InvalidField.of("manager", "several are open, so call a method of one of them, not the function")
    return BorrowedHandle(found[0]) if found else None


def _release(server_config: ServerConfig) -> None:
    with _lock:
        _handles[server_config] -= 1
        if _handles[server_config] > 0:
            return
        del _handles[server_config]
        transport = _transports.pop(server_config)
    transport.close()


def _renew_locks() -> None:
    global _lock
    _lock = RLock()
    for transport in _transports.values():
        transport.renew_lock()


if hasattr(os, "register_at_fork"):
    # The threads that held these locks are not there in a fork.
    os.register_at_fork(after_in_child=_renew_locks)
