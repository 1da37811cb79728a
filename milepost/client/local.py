"""What the managers of a process share, and their handles on it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING
from weakref import finalize

from core.errors import SettingsError
from core.settings import DEFAULT_TENANT, Settings, load_settings
from milepost.client import import_check
from milepost.client.background import BACKGROUND
from milepost.client.errors import Closed, InvalidField
from milepost.client.transport import Answer, Message
from milepost.embedded.trust import Untrusted, require_trusted_links
from milepost.embedded.users import UsersLock

if TYPE_CHECKING:
    from api.context import RequestContext
    from milepost.client.in_process import InProcess


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where goals are stored, and the tenant to which they belong."""

    settings: Settings
    tenant: str


class Shared:
    """What all managers of a server config share; it is made at the first request, and so are the imports it needs."""

    def __init__(self, server_config: ServerConfig) -> None:
        self.server_config = server_config
        self.lock = RLock()
        self._in_process: InProcess | None = None

    def in_process(self) -> InProcess:
        """What answers. Raises ImportConflict where a package of the application hides one of Milepost's."""
        with self.lock:
            if self._in_process is None:
                settings = self.server_config.settings
                idle_lock = UsersLock.hold_idle(settings.data_dir) if settings.database_url is None else None
                try:
                    # The imports take longer than all else, and idle servers might stop meanwhile.
                    module = import_check.load("milepost.client.in_process")
                    self._in_process = module.InProcess(self.server_config, idle_lock)
                except BaseException:
                    if idle_lock is not None:
                        idle_lock.release()
                    raise
            return self._in_process

    async def answer(self, message: Message) -> Answer:
        """The answer to a message; runs on the background loop."""
        # Made in a thread, since the imports take a while.
        in_process = self._in_process
        if in_process is None:
            in_process = await BACKGROUND.in_thread(self.in_process)
        return await in_process.answer(message)

    def close(self) -> None:
        """Close what is open."""
        if self._in_process is not None:
            self._in_process.close()

    def forget(self) -> None:
        """To be called in a fork: the threads that had locks do not exist there."""
        self.lock = RLock()
        if self._in_process is not None:
            self._in_process.forget()


_shared: dict[ServerConfig, Shared] = {}
_handle_counts: Counter[ServerConfig] = Counter()
# Reentrant: the garbage collector may release a handle at any line, also while this thread has the lock.
_lock = RLock()


class ConnectionHandle:
    """One manager's use; ended by `close`, or when nothing refers to the manager any more."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._finalizer = finalize(self, _release_and_close, shared.server_config)

    def answer(self, message: Message) -> Future[Answer]:
        """As Handle.answer."""
        return BACKGROUND.submit(self._open().answer(message))

    def context(self, *, reading: bool) -> AbstractContextManager[RequestContext]:
        """A transaction for an application's route that serves the manager's goals; as InProcess.context."""
        return self._open().in_process().context(reading=reading)

    @property
    def max_body_bytes(self) -> int:
        """The longest body that a route of an application may read for it."""
        return self._shared.server_config.settings.max_body_bytes

    def end(self) -> Callable[[], None]:
        """As Handle.end; the last one of a process closes the connections. Ending it twice is harmless."""
        return _release(self._shared.server_config) if self._finalizer.detach() else _nothing

    def _open(self) -> Shared:
        if not self._finalizer.alive:
            raise Closed
        return self._shared


class BorrowedHandle:
    """Uses what a manager keeps open; keeps it open itself only during a request."""

    def __init__(self, server_config: ServerConfig) -> None:
        self._server_config = server_config

    def answer(self, message: Message) -> Future[Answer]:
        """As Handle.answer; raises Closed once the manager was closed."""
        with _lock:
            shared = _shared.get(self._server_config)
            if shared is None:
                raise Closed
            _handle_counts[self._server_config] += 1
        try:
            answer = BACKGROUND.submit(shared.answer(message))
        except BaseException:
            _release_and_close(self._server_config)
            raise
        answer.add_done_callback(lambda _: BACKGROUND.threads.submit(_release(self._server_config)))
        return answer

    def end(self) -> Callable[[], None]:
        """Nothing to end: it is the manager's."""
        return _nothing


def server_config_of(
    database_url: str | None, redis_url: str | None, tenant: str | None, data_dir: str | Path | None
) -> ServerConfig:
    """The server config of these arguments; what is not given comes from the environment. Raises InvalidField."""
    folder = None if data_dir is None else _resolved(Path(data_dir).expanduser())
    try:
        settings = load_settings(database_url=database_url, redis_url=redis_url, data_dir=folder)
    except SettingsError as error:
        raise InvalidField(str(error)) from None
    return ServerConfig(settings, DEFAULT_TENANT if tenant is None else tenant)


def open_handle(server_config: ServerConfig) -> ConnectionHandle:
    """A handle on what the process shares for a server config; nothing is opened before the first request."""
    with _lock:
        shared = _shared.setdefault(server_config, Shared(server_config))
        _handle_counts[server_config] += 1
        return ConnectionHandle(shared)


def server_configs() -> list[ServerConfig]:
    """The server configs that are in use in this process."""
    with _lock:
        return list(_shared)


def borrow_handle() -> BorrowedHandle | None:
    """A handle on the only server config in use; None if there is none. Raises InvalidField if there are several."""
    found = server_configs()
    if len(found) > 1:
        raise InvalidField.of("manager", "several are open, so call a method of one of them, not the function")
    return BorrowedHandle(found[0]) if found else None


def _resolved(folder: Path) -> Path:
    """The path without links, so that one folder is one server config however its path is written.

    A path through another user's link stays as it is; opening it refuses it later.
    """
    try:
        require_trusted_links(folder)
    except (Untrusted, OSError):
        return folder.absolute()
    return folder.resolve()


def _release(server_config: ServerConfig) -> Callable[[], None]:
    """End one use, and return the function that closes what nobody uses any more."""
    with _lock:
        _handle_counts[server_config] -= 1
        if _handle_counts[server_config] > 0:
            return _nothing
        del _handle_counts[server_config]
        return _shared.pop(server_config).close


def _release_and_close(server_config: ServerConfig) -> None:
    _release(server_config)()


def _nothing() -> None:
    pass


def _forget() -> None:
    global _lock
    _lock = RLock()
    for shared in _shared.values():
        shared.forget()


if hasattr(os, "register_at_fork"):
    # The threads that had these locks do not exist in a fork.
    os.register_at_fork(after_in_child=_forget)
