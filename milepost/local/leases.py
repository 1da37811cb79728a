"""Who uses which place in this process: managers of one place share its door, which closes with the last of them."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from threading import RLock
from weakref import finalize

from api.doors import Visit
from core.errors import SettingsError
from core.settings import load_settings
from core.store.tenants import DEFAULT
from milepost.errors import InvalidField
from milepost.local.door import LocalDoor
from milepost.local.place import Place
from milepost.wire import Answer, Call

_CLOSED = "this manager is closed"
_doors: dict[Place, LocalDoor] = {}
_leases: Counter[Place] = Counter()
_lock = RLock()  # a lease may be given back by the garbage collector, at any line


class Lease:
    """One manager's share of a door; given back by `close`, at the latest when nobody has the manager any more."""

    def __init__(self, door: LocalDoor) -> None:
        self.door = door
        self._give_back = finalize(self, _release, door.place)

    def call(self, call: Call) -> Answer:
        """The answer; raises the errors of milepost.errors, and RuntimeError after `close`."""
        return self._open_door().call(call)

    def visit(self, *, reading: bool) -> AbstractContextManager[Visit]:
        """A transaction for a route of an application that serves the manager's goals; as LocalDoor.visit."""
        return self._open_door().visit(reading=reading)

    @property
    def max_body_bytes(self) -> int:
        """The longest body that such a route takes."""
        return self.door.max_body_bytes

    def close(self) -> None:
        """Give the share back; closing twice is harmless."""
        self._give_back()

    def _open_door(self) -> LocalDoor:
        if not self._give_back.alive:
            raise RuntimeError(_CLOSED)
        return self.door


class Loan:
    """The door of a place that a manager keeps open; it keeps it open too, but only while it is called."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def call(self, call: Call) -> Answer:
        """The answer; raises the errors of milepost.errors, and RuntimeError once the place was closed."""
        with _lock:
            door = _doors.get(self._place)
            if door is None:
                raise RuntimeError(_CLOSED)
            _leases[self._place] += 1
        try:
            return door.call(call)
        finally:
            _release(self._place)

    def close(self) -> None:
        """There is nothing to give back."""


def place_of(database_url: str | None, redis_url: str | None, tenant: str | None, data_dir: str | Path | None) -> Place:
    """The place that these name; what is not given comes from the environment. Raises InvalidField."""
    # One folder is one place, however its path is written.
    folder = None if data_dir is None else Path(data_dir).expanduser().resolve()
    try:
        settings = load_settings(database_url=database_url, redis_url=redis_url, data_dir=folder)
    except SettingsError as error:
        raise InvalidField(str(error)) from None
    return Place(settings, DEFAULT if tenant is None else tenant)


def lease(place: Place) -> Lease:
    """A share of the door of a place; nothing is opened before the first call."""
    with _lock:
        door = _doors.setdefault(place, LocalDoor(place))
        _leases[place] += 1
        return Lease(door)


def places() -> list[Place]:
    """The places that are in use in this process."""
    with _lock:
        return list(_doors)


def loan() -> Loan | None:
    """The door of the only place that is in use; None if none is. Raises InvalidField if several are."""
    found = places()
    if len(found) > 1:
        raise InvalidField.of("manager", "several are open, so call a method of one of them, not the function")
    return Loan(found[0]) if found else None


def _release(place: Place) -> None:
    with _lock:
        _leases[place] -= 1
        if _leases[place] > 0:
            return
        del _leases[place]
        door = _doors.pop(place)
    door.close()


def _renew_locks() -> None:
    global _lock
    _lock = RLock()
    for door in _doors.values():
        door.renew_lock()


if hasattr(os, "register_at_fork"):
    # The threads that held these locks are not there in a fork.
    os.register_at_fork(after_in_child=_renew_locks)
