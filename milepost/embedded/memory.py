"""How much memory the servers may fill, from what the machine, or the container, has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# A rewrite of the append-only file may need as much again, and everything else runs beside it.
_SHARE = 4
LEAST_BYTES = 256 * 2**20
# Pages that are in use stay at hand; a laptop keeps the rest, and most machines have few gigabytes in use.
_BUFFERS_SHARE = 8
BUFFERS_MOST_BYTES = 4 * 2**30


def stream_bytes(root: Path = Path("/")) -> int:
    """A quarter of the memory, but at least LEAST_BYTES. `root` is where proc and sys are."""
    return max(LEAST_BYTES, memory_bytes(root) // _SHARE)


def buffer_bytes(root: Path = Path("/")) -> int:
    """For Postgres' shared buffers: an eighth of the memory, from LEAST_BYTES to BUFFERS_MOST_BYTES.

    It is taken as it is used, not at the start.
    """
    return min(max(LEAST_BYTES, memory_bytes(root) // _BUFFERS_SHARE), BUFFERS_MOST_BYTES)


def memory_bytes(root: Path = Path("/")) -> int:
    """What the machine has, or the control groups of this process allow, where that is less and can be read."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """The limits of our group and of all above it; `max`, which is none, is passed over."""
    for file in _limit_files(root):
        with suppress(OSError, ValueError):
            yield int(file.read_text("ascii"))


def _limit_files(root: Path) -> Iterator[Path]:
    groups = root / "sys" / "fs" / "cgroup"
    for line in _group_lines(root):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (groups / "memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
        # A container often sees its own group as the top, though its path is told as seen from outside.
        ours = top / path.lstrip("/")
        yield from (folder / name for folder in (ours, *ours.parents) if folder.is_relative_to(top))


def _group_lines(root: Path) -> list[str]:
    with suppress(OSError):
        return (root / "proc" / "self" / "cgroup").read_text("utf-8", "replace").splitlines()
    return []
