"""Which folders and files of a data directory may be trusted: those that no other user owns or may write.

Whoever can write a `key` there chooses the admin key, and with a `servers.json` the servers that commands talk to.
Every file of a data directory that Milepost acts on is therefore opened here and nowhere else:
1. Each symbolic link in the path of the folder has to be ours or root's.
2. The folder is opened, and its owner and mode are read from the descriptor.
3. The file is opened by its name in that descriptor, following no link, and its owner and mode are read from its own
   descriptor, by which the caller reads or writes it. A file that is exchanged in the meantime is never used.

The folders above are not checked, because /tmp and those above it would be refused: whoever may write there can only
put a folder of their own in the place of ours, and that is refused. The files below `postgres/data` belong to the user
that the server runs as (run_as.py), and the server itself refuses a folder that others may write.
"""

import errno
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from milepost.embedded.errors import DirectoryUnusable

_WRITABLE_BY_GROUP, _WRITABLE_BY_ALL = stat.S_IWGRP, stat.S_IWOTH
_ROOT = 0
_MOST_LINKS = 40  # the kernel's limit: beyond it, or in a circle, opening fails
# The errors of open(2) for a file of another user, a link, a folder, and a pipe that nobody reads.
_UNTRUSTED_ERRORS = {errno.EACCES, errno.ELOOP, errno.EISDIR, errno.ENXIO}
_ANOTHER = "choose another --data-dir"


class Untrusted(DirectoryUnusable):
    """Another user owns or may write a folder or file that Milepost would act on; `remedy` says what to do about it."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}; {remedy}")
        self.found = found
        self.remedy = remedy


@contextmanager
def trusted_folder(path: Path) -> Iterator[int]:
    """A descriptor of the folder. Raises Untrusted, and OSError if there is no such folder."""
    require_trusted_links(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as error:
        _require_ours(path, path.stat())
        raise Untrusted(f"cannot read {path}: {error.strerror}", f"run: chmod u+rwx {_quoted(path)}") from None
    try:
        _require_ours(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def open_trusted(path: Path, flags: int) -> int:
    """A descriptor of the file; one that O_CREAT makes has mode 600. Raises Untrusted, and OSError as os.open does."""
    # O_NONBLOCK: the file may be a pipe, and we must not wait for its other end.
    safe_flags = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with trusted_folder(path.parent) as folder:
        try:
            descriptor = os.open(path.name, safe_flags, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno not in _UNTRUSTED_ERRORS:
                raise
            _require_our_file(path, os.stat(path.name, dir_fd=folder, follow_symlinks=False))
            raise Untrusted(f"cannot open {path}: {error.strerror}", f"run: chmod 600 {_quoted(path)}") from None
    try:
        _require_our_file(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def read_trusted(path: Path) -> str:
    """The text of the file. Raises Untrusted, and FileNotFoundError."""
    with os.fdopen(open_trusted(path, os.O_RDONLY), encoding="utf-8") as file:
        return file.read()


def require_trusted(path: Path) -> None:
    """Raise Untrusted if the file, or the folder that it would be in, exists and must not be trusted."""
    with suppress(OSError):
        os.close(open_trusted(path, os.O_RDONLY))


def require_trusted_links(path: Path) -> None:
    """Raise Untrusted if `path`, or a folder above it, is a symbolic link that belongs to neither us nor root."""
    for link in _links(path.absolute(), _MOST_LINKS):
        owner = link.lstat().st_uid
        if owner not in {os.geteuid(), _ROOT}:
            raise Untrusted(f"{link} is a symbolic link that belongs to {_user(owner)}", f"remove it, or {_ANOTHER}")


def require_our_tree(folder: Path) -> None:
    """Raise Untrusted if anything below `folder` belongs to another user; modes are not checked."""
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            with suppress(FileNotFoundError):
                _require_owner(path, path.lstat())


def _require_our_file(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Untrusted(f"{path} is a symbolic link", f"put the file itself there, remove the link, or {_ANOTHER}")
    _require_ours(path, status)
    if not stat.S_ISREG(status.st_mode):
        raise Untrusted(f"{path} is no file", f"remove it, or {_ANOTHER}")


def _require_ours(path: Path, status: os.stat_result) -> None:
    """Raise Untrusted unless it is ours and nobody else may write it. For root, ours means root's."""
    _require_owner(path, status)
    if not status.st_mode & (_WRITABLE_BY_GROUP | _WRITABLE_BY_ALL):
        return
    whose = "every user" if status.st_mode & _WRITABLE_BY_ALL else "its group"
    mode = 700 if stat.S_ISDIR(status.st_mode) else 600
    what = "all that is in it" if stat.S_ISDIR(status.st_mode) else "what is in it"
    raise Untrusted(
        f"{path} can be written by {whose} (mode {stat.S_IMODE(status.st_mode):o})",
        f"if you trust {what}, run: chmod {mode} {_quoted(path)}; else {_ANOTHER}",
    )


def _require_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid == os.geteuid():
        return
    sudo = "" if os.geteuid() == _ROOT else "sudo "
    if stat.S_ISDIR(status.st_mode):
        remedy = f"run as that user or {_ANOTHER}; if you trust all that is in it, run: {sudo}chown -R"
    else:
        remedy = f"remove it or {_ANOTHER}; if you trust what is in it, run: {sudo}chown"
    raise Untrusted(f"{path} belongs to {_user(status.st_uid)}", f"{remedy} {os.geteuid()} {_quoted(path)}")


def _links(path: Path, most: int) -> Iterator[Path]:
    for part in (*reversed(path.parents), path):
        if part.is_symlink():
            yield part
            if most > 0:
                yield from _links(part.parent / part.readlink() / path.relative_to(part), most - 1)
            return


def _user(user_id: int) -> str:
    try:
        return f"user {pwd.getpwuid(user_id).pw_name}"
    except KeyError:
        return f"user {user_id}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
