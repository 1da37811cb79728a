"""The in-process transport: answers requests from the database, over connections that a process's managers share."""

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

import psycopg

from api.context import DatabaseAway, RequestContext, as_database_away
from api.errors import refusal_of
from api.idempotency import route_of
from core.errors import MilepostError, SettingsError
from core.services.idempotency import KeyedRequest, find_answer, keep_answer, keep_first_answer
from core.settings import load_settings
from core.store.database import is_database_trouble, is_undone
from core.store.driver import Session
from core.store.tenants import DEFAULT
from milepost.client.errors import InvalidField, Unavailable, refusal, with_key
from milepost.client.errors import MilepostError as ClientError
from milepost.client.operations import OPERATIONS
from milepost.client.server_config import Connector, ServerConfig
from milepost.client.transport import ApiRequest, ApiResponse, decode, encode
from milepost.embedded.trust import Untrusted, require_trusted_links

_TRIES = 3
# Killed servers are back within a few seconds.
_DOUBT_PATIENCE_S = 15.0
_DOUBT_PAUSE_S = 0.2
_GOALS = "/goals"
_log = logging.getLogger("milepost")
_CLOSED = "this manager is closed"
_transports: dict[ServerConfig, InProcessTransport] = {}
_handle_counts: Counter[ServerConfig] = Counter()
# Reentrant: the garbage collector may release a handle at any line, also while this thread has the lock.
_lock = RLock()


class CommitInDoubt(DatabaseAway):
    """The connection broke during the commit, so nobody knows whether the transaction was committed."""


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A request and its idempotency key. `is_new`: the key was made here just now, so no answer is stored for it."""

    request: ApiRequest
    keyed_request: KeyedRequest | None
    is_new: bool

    @classmethod
    def of(cls, request: ApiRequest) -> _Keyed:
        if request.method == "GET":
            return cls(request, None, is_new=False)
        key = request.idempotency_key or str(uuid4())
        route = route_of(request.method, "/".join((_GOALS, *request.path)))
        keyed_request = KeyedRequest(key, route, hashlib.sha256(request.raw_body).digest())
        return cls(request, keyed_request, is_new=request.idempotency_key is None)

    @property
    def key(self) -> str | None:
        return None if self.keyed_request is None else self.keyed_request.key


class InProcessTransport:
    """Answers requests from Postgres. Connects at the first one, again in a fork, and when servers were replaced."""

    def __init__(self, server_config: ServerConfig) -> None:
        self.server_config = server_config
        self.max_body_bytes = server_config.settings.max_body_bytes
        self._connector = Connector(server_config)

    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer, made in one transaction. Raises the errors that the client over HTTP raises."""
        keyed = _Keyed.of(request)
        try:
            return ApiResponse(self._answer_with_retries(keyed))
        except MilepostError as error:
            raise _error_for(error, keyed) from None

    @contextmanager
    def context(self, *, reading: bool) -> Iterator[RequestContext]:
        """One transaction of the tenant, committed if the block raises nothing; with `reading` it cannot write.

        Raises DatabaseAway for trouble with the database, CommitInDoubt if that came during the commit, CannotOpen
        if there is no database to work with, and NoSuchTenant.
        """
        try:
            with as_database_away(), self._connector.begin(reading) as (connections, session):
                yield RequestContext(session, connections.tenant, datetime.now(UTC), connections.read_cache)
                _commit(session)
        except DatabaseAway as trouble:
            # An application's callers only learn that the database is away; the log says why.
            _log.warning("%s", _with_reason(trouble))
            raise

    def close(self) -> None:
        """Close the connections and let the servers stop; the next request opens them again."""
        self._connector.close()

    def renew_lock(self) -> None:
        """To be called in a fork: the thread that had the lock does not exist there."""
        self._connector.renew_lock()

    def _answer_with_retries(self, keyed: _Keyed) -> Any:
        """The answer's body. Tries again what was certainly rolled back, and asks again after a commit in doubt.

        After a commit in doubt the key finds out: if its answer is stored, the first try was committed, else the work
        is done now.
        """
        rolled_back, doubt_since = 0, None
        while True:
            try:
                return self._answer_once(keyed)
            except DatabaseAway as trouble:
                if isinstance(trouble, CommitInDoubt) and keyed.keyed_request is not None and doubt_since is None:
                    keyed, doubt_since = replace(keyed, is_new=False), time.monotonic()
                rolled_back += is_undone(trouble.__cause__ or trouble)
                may_keep_asking = doubt_since is not None and time.monotonic() - doubt_since < _DOUBT_PATIENCE_S
                if not may_keep_asking and not (is_undone(trouble.__cause__ or trouble) and rolled_back < _TRIES):
                    if doubt_since is not None:
                        raise CommitInDoubt from trouble.__cause__ or trouble
                    raise
                if may_keep_asking:
                    time.sleep(_DOUBT_PAUSE_S)

    def _answer_once(self, keyed: _Keyed) -> Any:
        request, keyed_request = keyed.request, keyed.keyed_request
        with self.context(reading=keyed_request is None) as context:
            operation, status = OPERATIONS[request.operation]
            if keyed_request is None:
                return operation(context, request)
            if not keyed.is_new:
                found = find_answer(context.session, context.tenant, keyed_request, context.now)
                if found is not None:
                    return decode(found.body) if found.body else None
            body = operation(context, request)
            raw_body = b"" if body is None else encode(body)
            location = f"{_GOALS}/{body['id']}" if request.operation == "create_goal" else None
            if keyed.is_new:
                keep_first_answer(
                    context.session,
                    context.tenant,
                    keyed_request,
                    context.now,
                    status=status,
                    location=location,
                    body=raw_body,
                )
            else:
                keep_answer(
                    context.session, context.tenant, keyed_request, status=status, location=location, body=raw_body
                )
            return body


class ConnectionHandle:
    """One manager's use of a shared transport; ended by `close`, or when nothing refers to the manager any more."""

    def __init__(self, transport: InProcessTransport) -> None:
        self.transport = transport
        self._finalizer = finalize(self, _release, transport.server_config)

    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors, and RuntimeError after `close`."""
        return self._open_transport().send(request)

    def context(self, *, reading: bool) -> AbstractContextManager[RequestContext]:
        """A transaction for an application's route that serves the manager's goals; as InProcessTransport.context."""
        return self._open_transport().context(reading=reading)

    @property
    def max_body_bytes(self) -> int:
        """The longest body that such a route accepts."""
        return self.transport.max_body_bytes

    def close(self) -> None:
        """End this use of the transport; closing twice is harmless."""
        self._finalizer()

    def _open_transport(self) -> InProcessTransport:
        if not self._finalizer.alive:
            raise RuntimeError(_CLOSED)
        return self.transport


class BorrowedHandle:
    """Uses the transport that a manager keeps open; keeps it open itself only during a request."""

    def __init__(self, server_config: ServerConfig) -> None:
        self._server_config = server_config

    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors, and RuntimeError once the transport was closed."""
        with _lock:
            transport = _transports.get(self._server_config)
            if transport is None:
                raise RuntimeError(_CLOSED)
            _handle_counts[self._server_config] += 1
        try:
            return transport.send(request)
        finally:
            _release(self._server_config)

    def close(self) -> None:
        """Nothing to close: the transport is the manager's."""


def server_config_of(
    database_url: str | None, redis_url: str | None, tenant: str | None, data_dir: str | Path | None
) -> ServerConfig:
    """The server config of these arguments; what is not given comes from the environment. Raises InvalidField."""
    folder = None if data_dir is None else _resolved(Path(data_dir).expanduser())
    try:
        settings = load_settings(database_url=database_url, redis_url=redis_url, data_dir=folder)
    except SettingsError as error:
        raise InvalidField(str(error)) from None
    return ServerConfig(settings, DEFAULT if tenant is None else tenant)


def open_handle(server_config: ServerConfig) -> ConnectionHandle:
    """A handle on the shared transport of a server config; nothing is opened before the first request."""
    with _lock:
        transport = _transports.setdefault(server_config, InProcessTransport(server_config))
        _handle_counts[server_config] += 1
        return ConnectionHandle(transport)


def server_configs() -> list[ServerConfig]:
    """The server configs that are in use in this process."""
    with _lock:
        return list(_transports)


def borrow_handle() -> BorrowedHandle | None:
    """A handle on the only transport in use; None if there is none. Raises InvalidField if there are several."""
    found = server_configs()
    if len(found) > 1:
        raise InvalidField.of("manager", "several are open, so call a method of one of them, not the function")
    return BorrowedHandle(found[0]) if found else None


def _commit(session: Session) -> None:
    try:
        session.commit()
    except psycopg.Error as error:
        if is_database_trouble(error) and not is_undone(error):
            raise CommitInDoubt from error
        raise


def _error_for(error: MilepostError, keyed: _Keyed) -> Exception:
    if isinstance(error, DatabaseAway):
        return _unavailable_for(error, keyed)
    refused = refusal_of(error, method=keyed.request.method)
    if refused is None:
        return error
    found: ClientError = refusal(refused.status, refused.problem, refused.headers.get("Retry-After"))
    return with_key(found, keyed.key)


def _unavailable_for(trouble: DatabaseAway, keyed: _Keyed) -> ClientError:
    """The error for an application in this process: it says why, and after a commit in doubt that nobody knows."""
    found = Unavailable(_with_reason(trouble))
    if isinstance(trouble, CommitInDoubt):
        return with_key(found, keyed.key)
    found.idempotency_key = keyed.key
    return found


def _with_reason(trouble: DatabaseAway) -> str:
    """The trouble and the first line of the database's error, which holds no password."""
    text = str(trouble)
    reason = str(trouble.__cause__ or "").partition("\n")[0]
    return text if not reason or reason == text else f"{text}: {reason}"


def _resolved(folder: Path) -> Path:
    """The path without links, so that one folder is one server config however its path is written.

    A path through another user's link stays as it is; opening it refuses it later.
    """
    try:
        require_trusted_links(folder)
    except (Untrusted, OSError):
        return folder.absolute()
    return folder.resolve()


def _release(server_config: ServerConfig) -> None:
    with _lock:
        _handle_counts[server_config] -= 1
        if _handle_counts[server_config] > 0:
            return
        del _handle_counts[server_config]
        transport = _transports.pop(server_config)
    transport.close()


def _renew_locks() -> None:
    global _lock
    _lock = RLock()
    for transport in _transports.values():
        transport.renew_lock()


if hasattr(os, "register_at_fork"):
    # The threads that had these locks do not exist in a fork.
    os.register_at_fork(after_in_child=_renew_locks)
