"""Orphan processes, which a crash left running in a directory: found by program and working directory, then ended."""

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from milepost.embedded.launch import OTHER_ID

_PROC = Path("/proc")
# The signal that makes each program end quickly; what still runs after the grace period is killed.
_END_SIGNAL = {"postgres": signal.SIGQUIT, "initdb": signal.SIGKILL, "valkey-server": signal.SIGTERM}
_GRACE_S = 2.0
_KILL_S = 5.0


def end_orphans(directory: Path) -> int:
    """End all servers that work in `directory` or below; returns their number. Take the directory's lock first."""
    found = sorted(find_servers(directory))
    for pid, program in found:
        with suppress(ProcessLookupError):
            os.kill(pid, _END_SIGNAL[program])
    end_processes([pid for pid, _ in found], grace_s=_GRACE_S)
    return len(found)


def can_see_processes() -> bool:
    """Whether orphan processes can be found; that is so only on Linux."""
    return _PROC.is_dir()


def kill_servers(directory: Path) -> None:
    """Kill the servers of `directory`, as a crash would."""
    end_processes([pid for pid, _ in find_servers(directory)], grace_s=0)


def end_processes(pids: Collection[int], *, grace_s: float) -> None:
    """Wait `grace_s` for `pids` to end, kill the rest, and wait until these have ended, at most for _KILL_S."""
    left = _wait_gone(pids, grace_s)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _wait_gone(left, _KILL_S)


def find_servers(directory: Path) -> Iterator[tuple[int, str]]:
    """Yield (pid, program) of the database and stream servers that work in `directory` or below."""
    for pid in _pids():
        program = _link(pid, "exe").name.removesuffix(" (deleted)")
        if program in _END_SIGNAL and is_alive(pid) and _link(pid, "cwd").is_relative_to(directory.resolve()):
            yield pid, program


def find_commands(directory: Path, marker: Collection[str], *, without: str | None = None) -> Iterator[int]:
    """Yield the processes that work in `directory` and whose arguments have all of `marker`, and not `without`."""
    for pid in _pids():
        arguments = set(_arguments(pid))
        if set(marker) <= arguments and without not in arguments and _link(pid, "cwd") == directory.resolve():
            yield pid


def is_alive(pid: int) -> bool:
    """Whether `pid` exists and is not a zombie."""
    try:
        state = (_PROC / str(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def _wait_gone(pids: Collection[int], timeout_s: float) -> list[int]:
    deadline = time.monotonic() + timeout_s
    left = [pid for pid in pids if is_alive(pid)]
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [pid for pid in left if is_alive(pid)]
    return left


def _pids() -> list[int]:
    if not can_see_processes():
        return []
    mine = os.getpid()
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and int(entry.name) != mine]


def _link(pid: int, name: str) -> Path:
    path = _PROC / str(pid) / name
    try:
        return Path(os.readlink(path))
    except PermissionError:
        # Another user's process, so not ours; unless we are root, started it as user 65534, and may not read its links.
        return _link_as_other_user(path) if os.geteuid() == 0 else Path()
    except OSError:
        return Path()


def _link_as_other_user(path: Path) -> Path:
    group = os.getegid()
    os.setegid(OTHER_ID)
    os.seteuid(OTHER_ID)
    try:
        return Path(os.readlink(path))
    except OSError:
        return Path()
    finally:
        os.seteuid(0)
        os.setegid(group)


def _arguments(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []
