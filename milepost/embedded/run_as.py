"""The user that PostgreSQL runs as: it refuses root, so root has to appear as, or become, another user.

1. A plain user needs nothing but a name: if it has none, as in some containers, 2 gives it one.
2. Root enters a user namespace in which it appears as user 65534. Files stay root's own, and folders that
   only root can enter stay closed.
3. Where namespaces are forbidden, as in many containers, root becomes user 65534. That user must be able to
   reach the program and the database; if it is not, the error names the folder that it cannot enter.
"""

import os
import pwd
import signal
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

from milepost.embedded.errors import DirectoryUnusable
from milepost.embedded.launch import AS_IS, NAMESPACE, OTHER_ID, OTHER_USER
from milepost.embedded.process import spawn

_PROBE_TIMEOUT_S = 20
_ROOT = 0


def choose_run_as(program: Path) -> str:
    """The first of AS_IS, NAMESPACE, OTHER_USER that can run `program` without being root."""
    is_root = os.geteuid() == _ROOT
    if not is_root and _has_name():
        return AS_IS
    if sys.platform == "linux" and _can_run(program, NAMESPACE):
        return NAMESPACE
    return OTHER_USER if is_root else AS_IS


def prepare_folder(folder: Path, run_as: str, *, home: Path) -> None:
    """Give `folder` to the user that the server runs as, with mode 700.

    `home` is the highest folder that is ours: from there down to `folder`, and no higher, the other user's
    group may pass through. Raises DirectoryUnusable with the folder that the user cannot enter.
    """
    owner = OTHER_ID if run_as == OTHER_USER else os.geteuid()
    found = folder.stat().st_uid
    if found not in {owner, _ROOT, OTHER_ID} or (found != owner and os.geteuid() != _ROOT):
        raise DirectoryUnusable(f"{folder} belongs to user {found}; start as that user, or choose another --data-dir")
    if run_as == OTHER_USER:
        _let_through(folder, home)
    if found != owner:
        _give(folder, owner)
    folder.chmod(0o700)


def require_passable(path: Path) -> None:
    """Raise DirectoryUnusable unless user 65534 can enter every folder above `path`."""
    for folder in reversed(path.parents):
        if not _lets_in(folder.stat()):
            raise DirectoryUnusable(
                f"PostgreSQL refuses to run as root, and as another user it cannot enter {folder}: start as "
                f"a plain user, allow user namespaces, or move away from {folder} (chmod o+x would do, too)"
            )


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


@cache
def _can_run(program: Path, run_as: str) -> bool:
    probe = spawn(
        [str(program), "--version"],
        death_signal=signal.SIGKILL,
        cwd=Path("/"),
        output=subprocess.DEVNULL,
        run_as=run_as,
    )
    return probe.wait(timeout=_PROBE_TIMEOUT_S) == 0


def _let_through(folder: Path, home: Path) -> None:
    for ours in folder.parents:
        if not ours.is_relative_to(home):
            break
        os.chown(ours, -1, OTHER_ID)
        ours.chmod(stat.S_IMODE(ours.stat().st_mode) | stat.S_IXGRP)
    require_passable(folder)


def _lets_in(status: os.stat_result) -> bool:
    if status.st_uid == OTHER_ID:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == OTHER_ID:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _give(folder: Path, owner: int) -> None:
    # The folder itself last: after a crash in between, its old owner makes the next start do all of it again.
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, owner, owner, follow_symlinks=False)
    os.chown(folder, owner, owner)
