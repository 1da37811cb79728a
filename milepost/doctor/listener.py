"""Which process listens on a TCP port of this machine, as far as Linux shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"
_COMMAND_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Listener:
    """A process and the beginning of its command."""

    pid: int
    arguments: tuple[str, ...]

    @property
    def is_milepost(self) -> bool:
        """Whether it is a Milepost API."""
        return "milepost" in {Path(argument).name for argument in self.arguments} and "api" in self.arguments

    def __str__(self) -> str:
        return f"process {self.pid} ({' '.join(self.arguments)[:_COMMAND_LONGEST]})"


def listener_of(port: int) -> Listener | None:
    """Who listens on `port`; None if nobody does, or if it is another user's and not shown."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    if not sockets:
        return None
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and sockets & set(_open_files(entry)):
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                return Listener(int(entry.name), tuple(part for part in command.split("\0") if part))
    return None


def _inodes(port: int) -> Iterator[str]:
    """The sockets that listen on a port: columns 2, 4 and 10 of /proc/net/tcp are address, state and inode."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text("ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]


def _open_files(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                yield os.readlink(file)
