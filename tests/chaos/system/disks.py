"""Small disks for the servers: files mounted as file systems, in a mount namespace that ends with our processes.

With them a fault can fill up a disk, or lose everything that was not synced to it yet. Where mounting is not allowed,
the servers' folders are plain ones, and the faults that need a disk are skipped with the reason.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import MilepostError

_CLONE_NEWNS = 0x00020000
_MEBIBYTE = 2**20
_TIMEOUT_S = 60
_TRIES = 50


class NoDisks(MilepostError):
    """No disk can be made here; the text says why."""


@dataclass(slots=True)
class Disk:
    """A file system in a file, mounted on a folder."""

    image: Path
    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no free space at all."""
        left = os.statvfs(self.folder)
        with self._ballast.open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_frsize)
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4_096))

    def free_space(self) -> None:
        """Free the space again."""
        self._ballast.unlink(missing_ok=True)

    def lose_power(self) -> None:
        """Set the disk back to what had reached it; every process with files open there must have ended.

        The image contains what was written back by now: a synced file is complete, another may lack its end.
        """
        synced = self.image.with_suffix(".synced")
        _copy_at_one_moment(self.image, synced)
        _run("umount", "--lazy", str(self.folder))
        synced.replace(self.image)
        _mount(self.image, self.folder)
        # The removal of the ballast may not have reached the disk yet either.
        self.free_space()

    def remove(self) -> None:
        """Unmount it."""
        with suppress(MilepostError):
            _run("umount", "--lazy", str(self.folder))


def enter_namespace() -> None:
    """Make mounts visible only to this process and its children; raises NoDisks. Call it before any thread."""
    if os.geteuid() != 0:
        raise NoDisks("only root can mount file systems")
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare") or libc.unshare(_CLONE_NEWNS) != 0:
        raise NoDisks(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    _run("mount", "--make-rprivate", "/")


def make_disk(folder: Path, megabytes: int) -> Disk:
    """Make `folder` and mount a new file system on it; raises NoDisks."""
    image = folder.with_suffix(".img")
    folder.mkdir(mode=0o700)
    with image.open("wb") as file:
        file.truncate(megabytes * _MEBIBYTE)
    # No space reserved for root, and no lost+found, since a server needs an empty folder.
    _run("mkfs.ext4", "-q", "-m", "0", "-F", str(image))
    _mount(image, folder)
    with suppress(FileNotFoundError):
        (folder / "lost+found").rmdir()
    folder.chmod(0o700)
    return Disk(image, folder)


def _copy_at_one_moment(image: Path, copy: Path) -> None:
    """Copy a file as it was at one moment, although the kernel writes to it: repeat until both are the same."""
    for _ in range(_TRIES):
        _run("cp", "--sparse=always", str(image), str(copy))
        if _is_same(image, copy):
            return
    raise NoDisks(f"{image} is being written to all the time")


def _is_same(image: Path, copy: Path) -> bool:
    """Whether a sparse file and its copy have the same content."""
    at, size = 0, image.stat().st_size
    with image.open("rb", buffering=0) as one, copy.open("rb", buffering=0) as other:
        while at < size:
            try:
                at = os.lseek(one.fileno(), at, os.SEEK_DATA)
            except OSError:
                return True  # a hole up to the end
            here = os.pread(one.fileno(), _MEBIBYTE, at)
            if here != os.pread(other.fileno(), _MEBIBYTE, at):
                return False
            at += len(here)
    return True


def _mount(image: Path, folder: Path) -> None:
    _run("mount", "-o", "loop", str(image), str(folder))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoDisks(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise NoDisks(f"{command[0]}: {done.stderr.decode('utf-8', 'replace').strip()}")
