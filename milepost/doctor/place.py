"""The data directory and the port: whose they are, and whether `milepost up` could use them."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from core.errors import MilepostError
from core.settings import Settings
from milepost.doctor.finding import Finding, ok, problem, warning
from milepost.doctor.listener import listener_of
from milepost.embedded.datadir import RunningServers
from milepost.embedded.lock import is_held
from milepost.embedded.ports import claim_port

FULL_BYTES = 2**30
TIGHT_BYTES = 5 * 2**30
# All but passing through for the group, which the server's other user may have been given.
_OPEN_TO_OTHERS = 0o067


def examine_place(settings: Settings, running: RunningServers | None) -> Iterator[Finding]:
    """Check the data directory and the port."""
    yield from _directory(settings.data_dir)
    yield _room(settings.data_dir)
    yield _runs_here(settings.data_dir)
    yield _port(settings, running)


def _directory(path: Path) -> Iterator[Finding]:
    check = "data directory"
    if not path.exists():
        above = _existing(path)
        if os.access(above, os.W_OK | os.X_OK):
            yield ok(check, f"{path} is not there yet; `milepost up` makes it")
        else:
            yield problem(check, f"{path} cannot be made: {above} is not yours to write", _ANOTHER)
        return
    if not path.is_dir():
        yield problem(check, f"{path} is no directory", _ANOTHER)
        return
    status = path.stat()
    if status.st_uid != os.geteuid():
        yield problem(check, f"{path} belongs to {_name(status.st_uid)}", f"run as that user, or {_ANOTHER}")
    elif status.st_mode & _OPEN_TO_OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        yield warning(check, f"{path} is open to others (mode {mode:o})", f"run: chmod 700 {path}")
    else:
        yield ok(check, f"{path} is yours alone")


_ANOTHER = "choose another place with --data-dir or MILEPOST_DATA_DIR"


def _room(path: Path) -> Finding:
    free = shutil.disk_usage(_existing(path)).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < FULL_BYTES:
        return problem("disk", found, "make room: with a full disk no event is accepted or applied")
    if free < TIGHT_BYTES:
        return warning("disk", found, "make room before it is needed")
    return ok("disk", found)


def _runs_here(path: Path) -> Finding:
    if path.is_dir() and is_held(path):
        return ok("milepost up", f"runs here as process {_holder(path)}")
    return ok("milepost up", "does not run here")


def _holder(path: Path) -> str:
    try:
        return (path / "lock").read_text("ascii", "replace").strip() or "unknown"
    except OSError:
        return "unknown"


def _port(settings: Settings, running: RunningServers | None) -> Finding:
    check = "port"
    if running is not None:
        return ok(check, f"the API of this data directory is at {running.api_url}")
    try:
        claim_port(settings.host, settings.port)
    except MilepostError as error:
        holder = listener_of(settings.port)
        whose = "" if holder is None else f" by {holder}"
        is_apart = settings.database_url is not None and settings.redis_url is not None
        if holder is not None and holder.is_milepost and is_apart:
            # `milepost api` as a process of its own, whose servers are not those of a supervisor.
            return ok(check, f"{settings.port} is taken{whose}")
        return problem(check, f"{error}{whose}", "choose another with --port or MILEPOST_PORT, 0 for any free one")
    return ok(check, f"{settings.port or 'any'} is free on {settings.host}")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _name(user_id: int) -> str:
    try:
        return f"user {pwd.getpwuid(user_id).pw_name}"
    except KeyError:
        return f"user {user_id}"
