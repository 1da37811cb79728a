"""The memory of processes, now and at their peak."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_rss_bytes() -> int:
    """The most memory that this process ever had."""
    # Not ru_maxrss: on Linux that starts with the memory that the parent had when it made this process.
    peak = peak_rss_bytes_of("self")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if peak is None else peak  # bytes on macOS


def peak_rss_bytes_of(process: int | str) -> int | None:
    """The most memory that a running process ever had, shared memory included; None where /proc does not say."""
    return _read_status(process, "VmHWM:")


def rss_bytes_of(process: int) -> int | None:
    """The memory that a running process has now; None if it is gone, or where /proc does not say."""
    return _read_status(process, "VmRSS:")


def _read_status(process: int | str, name: str) -> int | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    # A process that has ended and was not waited for has no memory any more.
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith(name)]
    return sizes[0] if sizes else None
